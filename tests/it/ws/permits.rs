//! What clients may do, on whose behalf, and what is told before anything starts.

use std::sync::atomic::Ordering;

use callboard::ws::{Ws, WsFault};
use callboard::{Event, Runtime, StartFault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::peer::{Client, code};
use super::server::{Find, Said, Say, Tick, find, permits, say, serve};

#[actix_web::test]
async fn what_is_not_permitted_does_not_exist() {
    let server = serve().await;
    let mut client = server.client().await;
    let mut refused = Vec::new();
    // There, but not permitted; permitted to be heard only; not there at all.
    for name in ["user.purge", "clock.tick", "no.such"] {
        let mut answer = client.ask(json!({"event_type": name, "id": 1, "payload": {}})).await;
        assert_eq!(answer["event_type"].take(), name);
        answer["trace_id"].take();
        refused.push(answer);
    }
    assert_eq!(code(&refused[0]), "not_permitted");
    assert!(refused.iter().all(|answer| *answer == refused[0]), "{refused:?}");
    for name in ["user.purge", "user.find", "user.find.error", "no.such", "*"] {
        let answer = client.ask(json!({"subscribe": ["clock.tick", name]})).await;
        assert_eq!((code(&answer), &answer["event_type"]), ("not_permitted", &json!(name)));
    }
    server.tick(1).await;
    client.assert_alive().await;
    assert_eq!(server.purged.load(Ordering::Relaxed), 0);
}

#[actix_web::test]
async fn a_request_is_answered_under_its_id() {
    let server = serve().await;
    let mut client = server.client().await;
    client.send(find("slow", "first")).await;
    let second = client.ask(find("Ada", 2)).await;
    server.release.add_permits(1);
    let first = client.next().await;
    for (answer, id, name) in [(first, json!("first"), "slow"), (second, json!(2), "Ada")] {
        assert_eq!(answer["event_type"], "user.found");
        assert_eq!((&answer["id"], &answer["payload"]["name"]), (&id, &json!(name)));
        assert_eq!(answer["error"], Value::Null);
        assert_eq!(answer["trace_id"], answer["payload"]["trace_id"]);
        let keys: Vec<_> = answer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error", "event_type", "id", "payload", "trace_id"]);
    }
    client.send(json!({"event_type": "user.find", "payload": {"name": "Ada"}})).await;
    assert_eq!(client.next().await.get("id"), None, "none was given");
}

#[actix_web::test]
async fn a_client_can_name_the_frame_that_answers_it() {
    let server = serve().await;
    let mut client = server.client().await;
    let mut frame = find("Ada", 1);
    frame["reply_event"] = "ada.is.here".into();
    let answer = client.ask(frame.clone()).await;
    assert_eq!(answer["event_type"], "ada.is.here");
    assert_eq!(answer["payload"]["name"], "Ada");
    frame["reply_event"] = 5.into();
    assert_eq!(client.refusal(frame).await, "malformed");
}

#[actix_web::test]
async fn a_published_event_is_acknowledged_when_it_has_an_id() {
    let server = serve().await;
    let mut client = server.client().await;
    client.send(say("lobby", "hello")).await;
    let mut frame = say("lobby", "hello");
    frame["id"] = "b".into();
    let mut answer = client.ask(frame).await;
    assert_eq!(answer["trace_id"].take().as_str().map(str::len), Some(32));
    let expected = json!({
        "id": "b", "event_type": "chat.say", "payload": null, "trace_id": null, "error": null,
    });
    assert_eq!(answer, expected);
}

#[actix_web::test]
async fn a_client_hears_an_event_while_it_is_subscribed() {
    let server = serve().await;
    let (mut client, mut witness) = (server.client().await, server.client().await);
    witness.subscribe("clock.tick").await;
    server.tick(0).await;
    assert_eq!(witness.next().await["payload"]["n"], 0);
    let answer = client.ask(json!({"subscribe": ["clock.tick", "blob.grown"], "id": 1})).await;
    assert_eq!(answer, json!({"subscribed": ["clock.tick", "blob.grown"], "id": 1}));
    server.tick(1).await;
    let mut heard = client.next().await;
    assert_eq!(heard["trace_id"].take().as_str().map(str::len), Some(32));
    let expected = json!({
        "event_type": "clock.tick", "payload": {"n": 1}, "trace_id": null, "error": null,
    });
    assert_eq!(heard, expected);
    // Twice is once.
    client.subscribe("clock.tick").await;
    for n in 2..50 {
        server.tick(n).await;
    }
    for n in 2..50 {
        assert_eq!(client.next().await["payload"]["n"], n, "in order");
    }
    for n in 1..50 {
        assert_eq!(witness.next().await["payload"]["n"], n, "to each");
    }
    let answer = client.ask(json!({"unsubscribe": ["clock.tick", "no.such"]})).await;
    assert_eq!(answer, json!({"unsubscribed": ["clock.tick", "no.such"]}));
    server.tick(50).await;
    assert_eq!(witness.next().await["payload"]["n"], 50);
    client.assert_alive().await;
}

#[actix_web::test]
async fn an_event_of_a_room_reaches_those_who_are_in_it_and_listen() {
    let server = serve().await;
    let [mut both, mut member, mut listener] =
        [server.client().await, server.client().await, server.client().await];
    both.join("lobby").await;
    both.subscribe("chat.said").await;
    member.join("lobby").await;
    listener.subscribe("chat.said").await;
    listener.join("cellar").await;
    member.send(say("lobby", "one")).await;
    assert_eq!(both.next().await["payload"], json!({"room": "lobby", "text": "one", "by": null}));
    both.send(say("cellar", "two")).await;
    assert_eq!(listener.next().await["payload"]["text"], "two");
    let answer = both.ask(json!({"leave": "lobby"})).await;
    assert_eq!(answer, json!({"left": "lobby"}));
    member.send(say("lobby", "three")).await;
    member.send(say("cellar", "four")).await;
    assert_eq!(listener.next().await["payload"]["text"], "four");
    for client in [&mut both, &mut member, &mut listener] {
        client.assert_alive().await;
    }
}

#[actix_web::test]
async fn a_room_rule_that_panics_silences_nobody() {
    let server = serve().await;
    let mut client = server.client().await;
    client.subscribe("chat.said").await;
    client.join("lobby").await;
    client.send(say("cursed", "one")).await;
    client.send(say("lobby", "two")).await;
    assert_eq!(client.next().await["payload"]["text"], "two");
    let restarts = server.bus().metrics().handlers["ws.Hub"].restarts;
    assert_eq!(restarts, 1, "the hub was rebuilt");
}

#[actix_web::test]
async fn a_client_cannot_say_who_it_is() {
    let server = serve().await;
    let mut frame = find("Ada", 1);
    frame["user_id"] = "admin".into();
    frame["identity"] = json!({"subject": "admin"});
    let mut nobody = server.client().await;
    assert_eq!(nobody.ask(frame.clone()).await["payload"]["subject"], Value::Null);
    let mut eve = Client::connect_with(server.addr, &[("x-user", "eve")]).await;
    assert_eq!(eve.ask(frame).await["payload"]["subject"], "eve");
    let mut listener = server.client().await;
    listener.subscribe("chat.said").await;
    listener.join("lobby").await;
    for (client, by) in [(&mut nobody, Value::Null), (&mut eve, "eve".into())] {
        let mut frame = say("lobby", "hello");
        frame["payload"]["by"] = "admin".into();
        frame["user_id"] = "admin".into();
        client.send(frame).await;
        assert_eq!(listener.next().await["payload"]["by"], by);
    }
}

#[actix_web::test]
async fn the_source_of_an_event_is_its_session() {
    let server = serve().await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    let first = first.ask(find("Ada", 1)).await["payload"]["source"].take();
    let second = second.ask(find("Ada", 1)).await["payload"]["source"].take();
    assert_eq!((first, second), (json!("ws:1"), json!("ws:2")));
}

#[actix_web::test]
async fn a_trace_is_continued() {
    let server = serve().await;
    let mut client = server.client().await;
    client.subscribe("chat.said").await;
    client.join("lobby").await;
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let mut frame = find("Ada", 1);
    frame["trace_id"] = trace_id.into();
    let answer = client.ask(frame.clone()).await;
    assert_eq!(
        (&answer["trace_id"], &answer["payload"]["trace_id"]),
        (&json!(trace_id), &json!(trace_id))
    );
    let mut said = say("lobby", "hello");
    said["trace_id"] = trace_id.into();
    assert_eq!(client.ask(said).await["trace_id"], trace_id);
    let asked = server.asked.load(Ordering::Relaxed);
    for bad in [json!("xyz"), json!("0".repeat(32)), json!(7), json!("0AF7")] {
        frame["trace_id"] = bad;
        let answer = client.ask(frame.clone()).await;
        assert_eq!((code(&answer), &answer["id"]), ("malformed", &json!(1)));
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), asked);
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct OtherTick {}
impl Event for OtherTick {
    const NAME: &'static str = Tick::NAME;
}

#[test]
fn contradictions_are_told_all_at_once() {
    let twice = permits().publish::<Say>().request::<Find>().listen::<Tick>();
    assert_eq!(twice.check(), Ok(()), "the same again is no contradiction");
    let wrong = permits()
        .publish::<Find>()
        .listen::<Said>()
        .listen_in_room::<Said>(|said| &said.text)
        .listen::<OtherTick>();
    let faults = wrong.check().unwrap_err().faults;
    let expected = |fault: &WsFault| match fault {
        WsFault::PublishAndRequest { event } | WsFault::TwoAudiences { event } => (*event, ""),
        WsFault::TypeClash { event, second, .. } => (*event, *second),
        other => panic!("{other}"),
    };
    let faults: Vec<_> = faults.iter().map(expected).collect();
    let other = std::any::type_name::<OtherTick>();
    assert_eq!(faults, [(Find::NAME, ""), (Said::NAME, ""), (Said::NAME, ""), (Tick::NAME, other)]);
    let refused = wrong.declare(Runtime::new()).err().unwrap();
    assert_eq!(refused.to_string().lines().count(), 4, "{refused}");
}

#[actix_web::test]
async fn the_graph_knows_what_clients_do() {
    let ws = Ws::new().request::<Find>().listen::<Tick>();
    let error = ws.declare(Runtime::new()).unwrap().start().await.unwrap_err();
    assert_eq!(error.faults, [StartFault::NoResponder { event: Find::NAME }]);
    let nothing = Ws::new().declare(Runtime::new()).unwrap();
    nothing.start().await.unwrap();
    let server = serve().await;
    let graph = server.runtime.graph().await.to_json().to_string();
    assert!(graph.contains("ws.Hub"), "{graph}");
}

#[actix_web::test]
async fn two_servers_know_nothing_of_each_other() {
    let (one, two) = (serve().await, serve().await);
    let (mut first, mut second) = (one.client().await, two.client().await);
    first.subscribe("clock.tick").await;
    second.subscribe("clock.tick").await;
    one.tick(1).await;
    assert_eq!(first.next().await["payload"]["n"], 1);
    second.assert_alive().await;
    assert_eq!((one.ws.stats().sessions, two.ws.stats().sessions), (1, 1));
}
