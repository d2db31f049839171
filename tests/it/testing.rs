//! The client of an application for tests, as users of the framework type it.

use std::env;
use std::process::Command;
use std::time::Duration;

use callboard::auth::{JwtIssuer, JwtKey, JwtProvider};
use callboard::http::Routes;
use callboard::settings::Settings;
use callboard::testing::TestApp;
use callboard::ws::Ws;
use callboard::{
    App, Domain, Event, EventContext, EventHandler, HandlerError, HandlerResult, Replies,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const SECRET: &str = "a secret of the tests, long enough";
const IN_CHILD: &str = "CALLBOARD_TEST_CASE";

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Rename {
    id: i64,
    name: String,
    #[serde(default)]
    note: Option<String>,
}

impl Event for Rename {
    const NAME: &'static str = "user.rename";
}

impl Replies for Rename {
    type Reply = Renamed;
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Renamed {
    id: i64,
    name: String,
    by: Option<String>,
    note: Option<String>,
}

impl Event for Renamed {
    const NAME: &'static str = "user.renamed";
}

#[derive(Clone)]
struct Registry;

impl EventHandler for Registry {
    type Input = Rename;
    type Output = Renamed;

    async fn handle(&self, event: &Rename, ctx: &EventContext) -> HandlerResult<Renamed> {
        if event.name == "nobody" {
            return Err(HandlerError::conflict("that is no name").code("no_name"));
        }
        let by = ctx.identity().map(|identity| identity.subject.clone());
        let Rename { id, name, note } = event.clone();
        Ok(Renamed { id, name, by, note })
    }
}

fn app() -> App {
    let routes = Routes::new()
        .put::<Rename>("/users/{id}/{name}")
        .patch::<Rename>("/users/{id}")
        .get::<Rename>("/rename");
    App::new(Settings::for_tests())
        .mount(Domain::new("user").handler(Registry))
        .routes(routes)
        .ws("/ws", Ws::new().listen::<Renamed>().publish::<Rename>())
}

fn private() -> (App, String) {
    let provider = JwtProvider::new([JwtKey::hs256(SECRET).unwrap()]).unwrap();
    let token = JwtIssuer::hs256(SECRET).unwrap().token("ada").sign().unwrap();
    (app().auth(provider), token)
}

async fn start() -> TestApp {
    TestApp::start(app()).await.unwrap()
}

#[actix_web::test]
async fn each_part_of_a_request_arrives() {
    let (app, token) = private();
    let app = TestApp::start(app).await.unwrap();
    let note = json!({ "note": "as a body" });
    let renamed = app.put("/users/7/Ada").json(&note).bearer(&token).await.expect_status(200);
    let renamed = renamed.json::<Renamed>();
    assert_eq!((renamed.id, renamed.name.as_str()), (7, "Ada"));
    assert_eq!((renamed.by.as_deref(), renamed.note.as_deref()), (Some("ada"), Some("as a body")));

    let query = Rename { id: 8, name: "B & C".into(), note: Some("as a query".into()) };
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = app
        .get("/rename")
        .query(&query)
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .header("authorization", format!("Bearer {token}"))
        .await;
    assert_eq!((answer.status(), answer.trace_id()), (200, Some(trace)));
    assert_eq!(answer.json::<Value>()["name"], "B & C");
    assert_eq!(answer.header("content-type"), Some("application/json"));

    let bytes = br#"{"name": "Grace"}"#;
    let request = app.patch("/users/9").header("content-type", "application/json").body(*bytes);
    assert_eq!(request.bearer(&token).await.json::<Renamed>().name, "Grace");
    let malformed = app.patch("/users/9").header("content-type", "application/json").body("{");
    assert_eq!(malformed.bearer(&token).await.problem()["status"], 400);

    let head = app.head("/health").await.expect_status(200);
    assert!(head.body().is_empty(), "{head:?}");
    app.get("/rename").await.expect_problem(401, "unauthorized");
    app.delete("/rename").await.expect_status(405);
    app.post("/nowhere").await.expect_status(404);
    let preflight = app.request("OPTIONS", "/rename").await.expect_status(204);
    assert_eq!(preflight.headers().get("allow").unwrap(), "GET, HEAD, OPTIONS");
    assert!(app.get("/metrics").bearer(&token).await.text().starts_with('{'));
    app.stop().await;
}

#[actix_web::test]
async fn a_session_hears_what_is_published() {
    let (app, token) = private();
    let app = TestApp::start(app).await.unwrap();
    let mut session = app.ws("/ws").bearer(&token).await;
    session.subscribe::<Renamed>().await;
    app.bus().publish(Rename { id: 1, name: "Ada".into(), note: None }).await.unwrap();
    assert_eq!(session.receive_event::<Renamed>().await.name, "Ada");
    session.publish(&Rename { id: 2, name: "Grace".into(), note: None }).await;
    let heard = session.receive_event::<Renamed>().await;
    assert_eq!((heard.id, heard.by.as_deref()), (2, Some("ada")));
    let refused = session.ask(&json!({ "subscribe": ["user.rename"] })).await;
    assert_eq!(refused["error"]["code"], "not_permitted");
    session.send(&json!({ "join": "lobby" })).await;
    assert_eq!(session.receive().await, json!({ "joined": "lobby" }));
    session.close().await;

    let mut session = app.ws("/ws").header("authorization", format!("Bearer {token}")).await;
    session.ask(&json!({ "join": "lobby" })).await;
    app.stop().await;
    assert_eq!(session.close_code().await, 1001);
}

#[actix_web::test]
async fn two_run_beside_each_other_and_a_dropped_one_leaves_nothing_behind() {
    let mut settings = Settings::for_tests();
    settings.server.port = 1; // which nobody may take
    let (one, other) = (TestApp::start(App::new(settings)).await.unwrap(), start().await);
    let url = one.url("/health");
    assert_ne!(url, other.url("/health"));
    let mut session = other.ws("/ws").await;
    session.ask(&json!({ "join": "lobby" })).await;
    let bus = other.bus();
    let url = other.url("/health");
    drop(other);
    let gone = async {
        while awc::Client::new().get(&url).send().await.is_ok() || bus.health().is_running {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it ends");
    one.get("/health").await.expect_status(200);
    one.stop().await;
}

/// What fails, and the line that is named.
async fn fail(case: &str) {
    let app = start().await;
    match case {
        "status" => {
            let taken = app.patch("/users/1").json(&json!({ "name": "nobody" })).await;
            taken.expect_status(200); // line: status
        }
        "json" => {
            let _: Renamed = app.get("/nowhere").await.json(); // line: json
        }
        "shape" => {
            let _: Renamed = app.get("/health").await.json(); // line: shape
        }
        "connection" => {
            let request = app.get("/health"); // line: connection
            app.stop().await;
            request.await;
        }
        "handshake" => {
            app.ws("/nowhere").await; // line: handshake
        }
        _ => {
            let mut session = app.ws("/ws").await;
            session.ask(&json!({ "subscribe": ["user.renamed"] })).await;
            app.bus().publish(Rename { id: 1, name: "Ada".into(), note: None }).await.unwrap();
            session.receive_event::<Rename>().await; // line: session
        }
    }
}

#[actix_web::test]
async fn a_failure_says_where_what_was_sent_and_what_came() {
    if let Ok(case) = env::var(IN_CHILD) {
        return fail(&case).await;
    }
    let here = include_str!("testing.rs");
    for (case, expected) in [
        ("status", &["PATCH /users/1 {\"name\":\"nobody\"}", "409", "`no_name`", "trace "][..]),
        ("json", &["expected a success", "GET /nowhere", "404", "`unknown_path`"]),
        ("shape", &["the body is no ", "Renamed", "missing field", "\"uptime_seconds\""]),
        ("connection", &["no answer: ", "GET /health"]),
        ("handshake", &["no session", "handshake /nowhere", "404"]),
        ("session", &["expected user.rename, came {", "\"user.renamed\""]),
    ] {
        let test = "testing::a_failure_says_where_what_was_sent_and_what_came";
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", test, "--nocapture"]).env(IN_CHILD, case);
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"");
        assert!(!output.status.success(), "{case}: {said}");
        let mark = format!("// line: {case}");
        let line = here.lines().position(|line| line.ends_with(&mark)).unwrap() + 1;
        let place = format!("tests/it/testing.rs:{line}:");
        for expected in expected.iter().chain([&place.as_str()]) {
            assert!(said.contains(expected), "{case}: `{expected}` is missing in {said}");
        }
    }
}
