//! Successes: the reply, its status, and what is published without one.

use callboard::http::{Route, Routes};
use callboard::{Domain, EventQuery, TraceId};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Server, answer, by, events};

events! {
    "user.create" => CreateUser { name: String } -> UserCreated;
    "user.created" => UserCreated { id: u32, name: String };
    "user.find" => FindUser { id: u32 } -> UserFound;
    "user.found" => UserFound { name: String };
    "user.forget" => ForgetUser { id: u32 } -> UserForgotten;
    "user.forgotten" => UserForgotten {};
    "user.mark" => MarkUser {} -> UserMarkCreated;
    "mark.created" => UserMarkCreated {};
    "user.source" => WhoAsks {} -> UserFound;
    "user.seen" => UserSeen { id: u32 };
}

fn users() -> Domain {
    Domain::new("user")
        .handler(answer(|CreateUser { name }| Ok(UserCreated { id: 7, name })))
        .handler(answer(|FindUser { id }| Ok(UserFound { name: format!("user {id}") })))
        .handler(answer(|_: ForgetUser| Ok(UserForgotten {})))
        .handler(by(|_: WhoAsks, source| async { Ok(UserFound { name: source }) }))
}

#[actix_web::test]
async fn the_reply_is_the_body_and_its_name_gives_the_status() {
    let routes = Routes::new()
        .post::<CreateUser>("/users")
        .get::<FindUser>("/users/{id}")
        .delete::<ForgetUser>("/users/{id}");
    let server = Server::start(users(), routes).await;

    let created = server.post("/users", &json!({ "name": "Ada" })).await;
    assert_eq!(created.ok(201), json!({ "id": 7, "name": "Ada" }));
    let found = server.get("/users/3").await;
    assert_eq!(found.ok(200), json!({ "name": "user 3" }));
    let forgotten = server.send(awc::http::Method::DELETE, "/users/3").await;
    assert_eq!((forgotten.status, forgotten.text()), (204, ""));
    assert_eq!(forgotten.header("content-type"), "");

    let mut trace_ids: Vec<TraceId> = [&created, &found, &forgotten]
        .map(|answer| answer.header("x-trace-id").parse().unwrap())
        .into();
    trace_ids.dedup();
    assert_eq!(trace_ids.len(), 3, "each exchange is a chain of its own");
}

#[actix_web::test]
async fn a_status_that_a_route_names_wins() {
    let routes = Routes::new()
        .route(Route::post::<CreateUser>("/users").status(202))
        .route(Route::get::<FindUser>("/users/{id}").status(204))
        .route(Route::delete::<ForgetUser>("/users/{id}").status(200));
    let server = Server::start(users(), routes).await;
    let created = server.post("/users", &json!({ "name": "Ada" })).await;
    assert_eq!(created.ok(202)["id"], 7);
    let found = server.get("/users/3").await;
    assert_eq!((found.status, found.text()), (204, ""));
    let forgotten = server.send(awc::http::Method::DELETE, "/users/3").await;
    assert_eq!(forgotten.ok(200), json!({}));
}

#[actix_web::test]
async fn an_empty_fact_of_creation_is_still_201() {
    let domain = Domain::new("mark").handler(answer(|_: MarkUser| Ok(UserMarkCreated {})));
    let server = Server::start(domain, Routes::new().post::<MarkUser>("/marks")).await;
    let marked = server.post("/marks", &json!({})).await;
    assert_eq!(marked.ok(201), json!({}));
}

#[actix_web::test]
async fn handlers_see_where_an_event_comes_from() {
    let server = Server::start(users(), Routes::new().get::<WhoAsks>("/who")).await;
    assert_eq!(server.get("/who").await.ok(200), json!({ "name": "http" }));
}

#[actix_web::test]
async fn publishing_answers_with_the_trace_and_waits_for_no_handler() {
    let (seen, mut sights) = mpsc::channel(1);
    let domain = Domain::new("user").handler(by(move |UserSeen { id }, source| {
        let seen = seen.clone();
        async move { Ok(seen.send((id, source)).await?) }
    }));
    let routes = Routes::new()
        .publish::<UserSeen>("/sights")
        .route(Route::publish::<UserSeen>("/glimpses/{id}").status(204));
    let server = Server::start(domain, routes).await;

    let answer = server.post("/sights", &json!({ "id": 5 })).await;
    let accepted = answer.ok(202);
    assert_eq!(accepted, json!({ "trace_id": answer.header("x-trace-id") }));
    assert_eq!(sights.recv().await, Some((5, "http".to_owned())));
    let trace_id = answer.header("x-trace-id").parse().unwrap();
    let events = || server.runtime.events(&EventQuery::default().trace_id(trace_id));
    super::until("the delivery is in the log", || !events().is_empty()).await;
    assert_eq!(events()[0].event_type, "user.seen");

    let answer = server.post("/glimpses/6", &json!({})).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    assert_eq!(answer.header("content-type"), "");
    assert_eq!(sights.recv().await, Some((6, "http".to_owned())));
    let wrong = server.post("/sights", &json!({})).await.wrong_field();
    assert_eq!(wrong.0, "id");
}
