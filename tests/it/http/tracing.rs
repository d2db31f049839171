//! The headers that tie requests together: the trace that a request continues, and its sender's own
//! id for it.

use std::sync::Arc;

use awc::http::Method;
use callboard::http::{Route, Routes};
use callboard::settings::Settings;
use callboard::{App, Domain, EventContext, EventHandler, EventQuery, HandlerResult};
use parking_lot::Mutex;
use serde_json::json;

use super::{Answer, PATIENCE, Server, events, until};

events! {
    "post.send" => Send {} -> Sent;
    "post.sent" => Sent { correlation_id: Option<String> };
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Tells the correlation id that came along, and hears what it told.
#[derive(Clone, Default)]
struct Post;

impl EventHandler for Post {
    type Input = Send;
    type Output = Sent;

    async fn handle(&self, _: &Send, ctx: &EventContext) -> HandlerResult<Sent> {
        Ok(Sent { correlation_id: ctx.header("x-correlation-id").map(str::to_owned) })
    }
}

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<Option<String>>>>);

impl EventHandler for Listener {
    type Input = Sent;
    type Output = ();

    async fn handle(&self, _: &Sent, ctx: &EventContext) -> HandlerResult<()> {
        self.0.lock().push(ctx.header("x-correlation-id").map(str::to_owned));
        Ok(())
    }
}

async fn server() -> (Server, Listener) {
    let listener = Listener::default();
    let domain = Domain::new("post").handler(Post).handler(listener.clone());
    let routes = Routes::new().get::<Send>("/send").route(Route::publish::<Send>("/publish"));
    (Server::start(domain, routes).await, listener)
}

async fn send(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = server.request(method, path);
    let with = |request: awc::ClientRequest, header: &(&str, &str)| request.insert_header(*header);
    let request = headers.iter().fold(request, with);
    Answer::of(request.send().await.unwrap()).await
}

#[actix_web::test]
async fn a_trace_that_somebody_began_goes_on() {
    let (server, _) = server().await;
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let headers = [("traceparent", traceparent.as_str())];
    for (method, path, status) in [
        (Method::GET, "/send", 200),
        (Method::POST, "/publish", 202),
        (Method::GET, "/publish", 405),
        (Method::GET, "/nowhere", 404),
    ] {
        let answer = send(&server, method, path, &headers).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-trace-id"), TRACE, "{path}");
        assert_eq!(answer.header("x-correlation-id"), TRACE, "{path}");
    }
    let of_trace = EventQuery::default().trace_id(TRACE.parse().unwrap());
    until("both chains are in the log", || server.runtime.events(&of_trace).len() >= 4).await;
}

#[actix_web::test]
async fn a_trace_that_nobody_could_have_begun_does_not() {
    let (server, _) = server().await;
    let nobody = format!("00-{TRACE}-0000000000000000-01");
    for traceparent in ["", TRACE, &nobody] {
        let answer = send(&server, Method::GET, "/send", &[("traceparent", traceparent)]).await;
        assert_eq!(answer.ok(200), json!({ "correlation_id": null }));
        let trace_id = answer.header("x-trace-id");
        assert_eq!(trace_id.len(), 32);
        assert_ne!(trace_id, TRACE);
        assert_eq!(answer.header("x-correlation-id"), trace_id);
    }
}

#[actix_web::test]
async fn a_correlation_id_comes_back_and_travels_with_the_chain() {
    let (server, listener) = server().await;
    let headers = [("x-correlation-id", "Order-7")];
    let answer = send(&server, Method::GET, "/send", &headers).await;
    assert_eq!(answer.ok(200), json!({ "correlation_id": "Order-7" }));
    assert_eq!(answer.header("x-correlation-id"), "Order-7");
    for (method, path) in [(Method::POST, "/publish"), (Method::GET, "/nowhere")] {
        let answer = send(&server, method, path, &headers).await;
        assert_eq!(answer.header("x-correlation-id"), "Order-7", "{path}");
    }
    until("both were heard", || listener.0.lock().len() == 2).await;
    assert!(listener.0.lock().iter().all(|id| id.as_deref() == Some("Order-7")));
    let bad = send(&server, Method::GET, "/send", &[("x-correlation-id", "a b")]).await;
    assert_eq!(bad.ok(200), json!({ "correlation_id": null }));
    assert_eq!(bad.header("x-correlation-id"), bad.header("x-trace-id"));
}

#[actix_web::test]
async fn answers_are_safe_in_browsers() {
    let own = |config: &mut actix_web::web::ServiceConfig| {
        let frame = || async {
            let mut response = actix_web::HttpResponse::Ok();
            response.insert_header(("x-frame-options", "SAMEORIGIN")).finish()
        };
        config.route("/frame", actix_web::web::get().to(frame));
    };
    let settings = Settings::from_vars([("SERVER_PORT", "0")]).unwrap();
    let app = App::new(settings).mount(Domain::new("post").handler(Post)).configure(own);
    let running = app.routes(Routes::new().get::<Send>("/send")).start().await.unwrap();
    let client = awc::Client::builder().timeout(PATIENCE).finish();
    for (method, path, framing) in [
        (Method::GET, "/send", "DENY"),
        (Method::DELETE, "/send", "DENY"),
        (Method::GET, "/nowhere", "DENY"),
        (Method::GET, "/metrics", "DENY"),
        (Method::GET, "/frame", "SAMEORIGIN"),
    ] {
        let url = format!("http://{}{path}", running.addresses()[0]);
        let answer = Answer::of(client.request(method, url).send().await.unwrap()).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", framing),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", ""),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
    }
    running.stop().await.unwrap();
}
