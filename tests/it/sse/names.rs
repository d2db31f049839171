//! Who hears what: permitted names, rooms, and lists that contradict themselves.

use awc::http::Method;
use callboard::sse::{Permit, Sse, SseFault};
use callboard::{App, AppError, Event};
use serde_json::json;

use super::{Blob, Placed, Purged, Said, Server, Shipped, serve, serve_with, settings};

#[actix_web::test]
async fn a_stream_has_the_events_that_it_names_and_no_others() {
    let server = serve().await;
    let mut placed = server.open("?type=order.placed").await;
    let mut both = server.open("?type=order.shipped&type=order.placed&type=order.placed").await;
    let mut all = server.open("?_=123").await;
    for stream in [&mut placed, &mut both, &mut all] {
        stream.begin().await;
    }
    server.running.bus().publish(Purged { id: 0 }).await.unwrap();
    server.ship(1).await;
    server.place(2).await;
    assert_eq!(placed.next().await.order(), ("order.placed", 2));
    for stream in [&mut both, &mut all] {
        assert_eq!(stream.next().await.order(), ("order.shipped", 1));
        assert_eq!(stream.next().await.order(), ("order.placed", 2));
    }
    let data = "x".to_owned();
    server.running.bus().publish(Blob { data }).await.unwrap();
    server.place(3).await;
    assert_eq!(all.next().await.json(), json!({ "data": "x" }));
    assert_eq!(all.next().await.order(), ("order.placed", 3));
    assert_eq!(both.next().await.order(), ("order.placed", 3));
}

#[actix_web::test]
async fn what_is_not_permitted_is_refused_whether_it_exists_or_not() {
    let server = serve().await;
    for query in [
        "?type=order.purged",
        "?type=order.placed&type=order.purged",
        "?type=no.such",
        "?type=order.*",
        "?type=",
        "?type=gap",
    ] {
        let answer = server.ask(Method::GET, query, &[]).await;
        answer.refused(403, "not_permitted");
        assert!(!answer.body.contains("purged"), "{query}");
    }
    for query in ["?type=%", "?type=%ff", "?%zz=1"] {
        server.ask(Method::GET, query, &[]).await.refused(400, "bad_encoding");
    }
    assert_eq!(server.sse.stats().streams, 0);
}

#[actix_web::test]
async fn events_of_a_room_are_for_those_who_are_in_it() {
    let server = serve_with(&[("SSE_ROOMS_MAX", "2")]).await;
    let mut nowhere = server.open("?type=chat.said&type=order.placed").await;
    let mut lobby = server.open("?type=chat.said&room=lobby").await;
    let mut both = server.open("?room=lobby&room=wine+cellar").await;
    for stream in [&mut nowhere, &mut lobby, &mut both] {
        stream.begin().await;
    }
    for (room, text) in [("wine cellar", "a"), ("attic", "b"), ("lobby", "c")] {
        let (room, text) = (room.to_owned(), text.to_owned());
        server.running.bus().publish(Said { room, text }).await.unwrap();
    }
    server.place(1).await;
    assert_eq!(lobby.next().await.json()["text"], "c");
    assert_eq!(both.next().await.json()["text"], "a");
    let heard = both.next().await;
    assert_eq!(heard.json()["text"], "c");
    assert_eq!(nowhere.next().await.order(), ("order.placed", 1));
    // So it is for those who come back.
    let mut back = server.come_back("?type=chat.said&room=attic", &lobby.last_id).await;
    back.begin().await;
    let first = format!("{}-0", heard.id.split_once('-').unwrap().0);
    let mut back = server.come_back("?type=chat.said&room=attic", &first).await;
    assert_eq!(back.next().await.json()["text"], "b");

    let problem = server.ask(Method::GET, "?room=a&room=b&room=c", &[]).await;
    let problem = problem.refused(422, "invalid");
    assert_eq!(problem["errors"][0]["field"], "room", "{problem}");
    for room in ["", &"x".repeat(129)] {
        let query = format!("?room={room}");
        server.ask(Method::GET, &query, &[]).await.refused(422, "invalid");
    }
    server.open(&format!("?room={}", "x".repeat(128))).await.begin().await;
}

/// Another type of a name that is taken.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct AlsoPlaced {}

impl Event for AlsoPlaced {
    const NAME: &'static str = "order.placed";
}

#[actix_web::test]
async fn a_list_that_contradicts_itself_does_not_start() {
    let list = Sse::new()
        .listen::<Placed>()
        .listen::<Placed>()
        .listen_in_room::<Placed>(|_| "x")
        .listen::<AlsoPlaced>()
        .permit(Permit::listen::<Shipped>().permissions_all(["a"]));
    let faults = list.check().unwrap_err().faults;
    let event = "order.placed";
    assert_eq!(faults[0], SseFault::TwoAudiences { event });
    assert!(matches!(faults[1], SseFault::TypeClash { event: "order.placed", .. }), "{faults:?}");
    let SseFault::BadPermit { event: "order.shipped", reason } = &faults[2] else {
        panic!("{faults:?}");
    };
    assert!(reason.contains("AUTH_SECRET"), "{reason}");
    assert_eq!(faults.len(), 3);
    let twice = Sse::new().listen::<Placed>();
    let twice = twice.permit(Permit::listen::<Placed>().permissions_all(["a"])).public();
    assert_eq!(twice.check().unwrap_err().faults.len(), 1);
    for (path, sse, part) in [
        (super::PATH, list, "two rules"),
        ("no/slash", Sse::new().listen::<Placed>(), "no/slash"),
        (super::PATH, Sse::new().permissions_all(["a"]), "the streams"),
    ] {
        let error = App::new(settings(&[])).sse(path, sse).start().await.unwrap_err();
        assert!(matches!(error, AppError::Sse(_)), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[actix_web::test]
async fn an_empty_list_is_silent() {
    let server = Server::start(App::new(settings(&[])), Sse::new()).await;
    let mut stream = server.open("").await;
    stream.begin().await;
    assert_eq!(stream.block().await.unwrap(), ":\n");
}
