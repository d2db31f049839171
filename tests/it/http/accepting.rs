//! Requests whose client takes no JSON: refused before anything of them is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use awc::http::Method;
use callboard::Domain;
use callboard::http::{Info, Route, Routes};
use serde_json::{Value, json};

use super::{Answer, Server, answer, by, events, until};

events! {
    "user.find" => FindUser { id: u32 } -> UserFound;
    "user.found" => UserFound { id: u32 };
    "user.forget" => ForgetUser { id: u32 } -> UserForgotten;
    "user.forgotten" => UserForgotten { id: u32 };
    "user.see" => SeeUser { id: u32 };
}

fn routes() -> Routes {
    Routes::new()
        .get::<FindUser>("/users/{id}")
        .route(Route::delete::<ForgetUser>("/users/{id}").status(204))
        .publish::<SeeUser>("/seen")
}

/// The server, and how many events came through.
async fn serve() -> (Server, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = {
        let seen = Arc::clone(&seen);
        move || seen.fetch_add(1, Ordering::Relaxed)
    };
    let (find, forget, see) = (count.clone(), count.clone(), count);
    let domain = Domain::new("user")
        .handler(answer(move |FindUser { id }| {
            find();
            Ok(UserFound { id })
        }))
        .handler(answer(move |ForgetUser { id }| {
            forget();
            Ok(UserForgotten { id })
        }))
        .handler(by(move |_: SeeUser, _| {
            see();
            async { Ok(()) }
        }));
    (Server::start(domain, routes()).await, seen)
}

impl Server {
    async fn accepting(&self, method: Method, path: &str, accept: &str, body: &Value) -> Answer {
        let request = self.request(method, path).insert_header(("accept", accept));
        Answer::of(request.send_json(body).await.unwrap()).await
    }
}

#[actix_web::test]
async fn a_client_that_takes_no_json_is_refused_before_its_event_is_one() {
    let (server, seen) = serve().await;
    for accept in ["text/html", "application/xml, text/*;q=0.5", "*/*, application/json;q=0"] {
        let found = server.accepting(Method::GET, "/users/7", accept, &Value::Null).await;
        let problem = found.problem(406, "not_acceptable");
        assert!(problem["detail"].as_str().unwrap().contains("application/json"), "{problem}");
        // Not even that it is no event is found out.
        let seen = server.accepting(Method::POST, "/seen", accept, &json!({ "id": "x" })).await;
        seen.problem(406, "not_acceptable");
        let head = server.accepting(Method::HEAD, "/users/7", accept, &Value::Null).await;
        assert_eq!(head.status, 406);
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

#[actix_web::test]
async fn every_wish_that_leaves_room_for_json_is_met_with_it() {
    let (server, seen) = serve().await;
    for accept in [
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/*",
        "*/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "*/*;q=0, application/json;q=0.001",
        "nonsense",
    ] {
        let found = server.accepting(Method::GET, "/users/7", accept, &Value::Null).await;
        assert_eq!(found.ok(200), json!({ "id": 7 }), "{accept}");
    }
    assert_eq!(seen.load(Ordering::Relaxed), 8);
    let without = "GET /users/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(server.raw(without).await.starts_with("HTTP/1.1 200 "));
    let seen_by = server.accepting(Method::POST, "/seen", "*/*", &json!({ "id": 1 })).await;
    assert_eq!(seen_by.status, 202);
    until("the last event", || seen.load(Ordering::Relaxed) == 10).await;
}

#[actix_web::test]
async fn an_answer_without_a_body_and_a_problem_are_for_everybody() {
    let (server, seen) = serve().await;
    let gone = server.accepting(Method::DELETE, "/users/7", "text/html", &Value::Null).await;
    assert_eq!((gone.status, gone.text()), (204, ""));
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    let wrong = server.accepting(Method::DELETE, "/users/x", "text/html", &Value::Null).await;
    wrong.problem(422, "invalid");
    let nowhere = server.accepting(Method::GET, "/nowhere", "text/html", &Value::Null).await;
    nowhere.problem(404, "unknown_path");
    let answer = server.accepting(Method::PUT, "/users/7", "text/html", &Value::Null).await;
    answer.problem(405, "method_not_allowed");
}

#[test]
fn the_refusal_is_described_where_it_can_come() {
    let document = routes().openapi(&Info::default());
    let refusal = |path: &str, method: &str| {
        let responses = &document["paths"][path][method]["responses"];
        responses.get("406").is_some()
    };
    assert!(refusal("/users/{id}", "get") && refusal("/seen", "post"));
    assert!(!refusal("/users/{id}", "delete"));
}
