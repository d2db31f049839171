//! Errors: which status each has, what it tells, and what it never tells.

use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use callboard::http::{Route, Routes};
use callboard::settings::ServerSettings;
use callboard::{
    Domain, Event, EventQuery, HandlerError, Policy, Replies, Restart, Runtime, TraceId, millis,
    secs,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Server, answer, by, by_policy, events, until};

/// What no client may ever read.
const SECRET: &str = "password=hunter2";

events! {
    "shop.fail" => Fail { how: String } -> Done;
    "shop.done" => Done { how: String };
    "shop.other" => Other {};
    "shop.loop" => Loop {} -> Done;
    "shop.again" => Again {};
    "shop.nobody" => Nobody {} -> Done;
    "shop.twice" => Twice {} -> Done;
}

/// Another type under the name of [`Fail`].
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Impostor {}
impl Event for Impostor {
    const NAME: &'static str = Fail::NAME;
}
impl Replies for Impostor {
    type Reply = Done;
}

async fn fail(Fail { how }: Fail) -> Result<Done, HandlerError> {
    Err(match how.as_str() {
        "invalid" => HandlerError::reject("the name is empty"),
        "coded" => HandlerError::reject("no money")
            .code("payment_declined")
            .details(json!({ "balance": 3 })),
        "not_found" => HandlerError::not_found("no such user"),
        "conflict" => HandlerError::conflict("it is taken"),
        "forbidden" => HandlerError::forbidden("not yours"),
        "unauthorized" => HandlerError::unauthorized("who are you"),
        "retry" => HandlerError::retry(SECRET),
        "details" => HandlerError::retry(SECRET).code("broken").details(json!({ "dsn": SECRET })),
        "library" => std::io::Error::other(SECRET).into(),
        "snooze" => HandlerError::snooze(secs(60)),
        "decline" => HandlerError::decline(),
        "panic" => panic!("{SECRET}"),
        "slow" => std::future::pending().await,
        _ => return Ok(Done { how }),
    })
}

fn failing() -> Domain {
    let policy = Policy::default().timeout(millis(50));
    Domain::new("shop").handler(by_policy(policy, |event: Fail, _| fail(event)))
}

fn routes() -> Routes {
    Routes::new().get::<Fail>("/fail/{how}")
}

#[actix_web::test]
async fn each_kind_of_error_has_its_status() {
    let server = Server::start(failing(), routes()).await;
    for (how, status, code, detail) in [
        ("invalid", 422, "invalid", Some("the name is empty")),
        ("coded", 422, "payment_declined", Some("no money")),
        ("not_found", 404, "not_found", Some("no such user")),
        ("conflict", 409, "conflict", Some("it is taken")),
        ("forbidden", 403, "forbidden", Some("not yours")),
        ("unauthorized", 401, "unauthorized", Some("who are you")),
        ("retry", 500, "handler_error", None),
        ("details", 500, "broken", None),
        ("library", 500, "handler_error", None),
        ("panic", 500, "panic", None),
        ("slow", 504, "timeout", None),
        ("decline", 501, "no_handler", None),
    ] {
        let answer = server.get(&format!("/fail/{how}")).await;
        let problem = answer.problem(status, code);
        assert_eq!(problem.get("detail").and_then(|d| d.as_str()), detail, "{how}");
        assert!(!answer.text().contains("hunter2"), "{problem}");
        let details = (how == "coded").then(|| json!({ "balance": 3 }));
        assert_eq!(problem.get("details"), details.as_ref(), "{how}");
        let challenge = answer.headers.contains_key(WWW_AUTHENTICATE);
        assert_eq!(challenge, status == 401, "{how}");
        assert!(!answer.headers.contains_key(RETRY_AFTER), "{how}");
    }
    assert_eq!(server.get("/fail/unauthorized").await.header("www-authenticate"), "Bearer");
    assert_eq!(server.get("/fail/not").await.ok(200), json!({ "how": "not" }));
}

#[actix_web::test]
async fn a_snoozing_handler_is_waited_for_until_the_timeout() {
    let routes = Routes::new().route(Route::get::<Fail>("/fail/{how}").timeout(millis(50)));
    let server = Server::start(failing(), routes).await;
    let answer = server.get("/fail/snooze").await;
    answer.problem(504, "timeout");
}

#[actix_web::test]
async fn developers_see_internal_texts_where_the_settings_say_so() {
    let mut settings = ServerSettings::default();
    settings.debug = true;
    let server = Server::start_with(Runtime::new().mount(failing()), &routes(), &settings).await;
    let problem = server.get("/fail/retry").await.problem(500, "handler_error");
    assert!(problem["detail"].as_str().unwrap().contains("hunter2"), "{problem}");
    let problem = server.get("/fail/invalid").await.problem(422, "invalid");
    assert_eq!(problem["detail"], "the name is empty");
}

#[actix_web::test]
async fn a_route_gives_codes_of_handlers_a_status_of_their_own() {
    let route = Route::get::<Fail>("/fail/{how}")
        .error_status("payment_declined", 402)
        .error_status("panic", 503)
        .error_status("invalid", 400);
    let server = Server::start(failing(), Routes::new().route(route)).await;
    let problem = server.get("/fail/coded").await.problem(402, "payment_declined");
    assert_eq!(problem["detail"], "no money");
    let answer = server.get("/fail/panic").await;
    assert_eq!(answer.problem(503, "panic").get("detail"), None);
    assert_eq!(answer.header("retry-after"), "1");
    server.get("/fail/invalid").await.problem(400, "invalid");
    server.get("/fail/conflict").await.problem(409, "conflict");
}

#[actix_web::test]
async fn the_trace_id_leads_to_the_failed_delivery() {
    let server = Server::start(failing(), routes()).await;
    let answer = server.get("/fail/conflict").await;
    let trace_id: TraceId = answer.header("x-trace-id").parse().unwrap();
    let query = EventQuery::default().trace_id(trace_id).event_type("shop.fail");
    let logged = || server.runtime.events(&query);
    until("the delivery is in the log", || !logged().is_empty()).await;
    let records = logged();
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record.source, "http");
    assert_eq!(record.error.as_deref(), Some("conflict"));
}

#[actix_web::test]
async fn nobody_to_handle_it_is_501() {
    let runtime = Runtime::new().mount(failing());
    let routes = Routes::new().get::<Nobody>("/nobody");
    let server = Server::start_with(runtime, &routes, &ServerSettings::default()).await;
    server.get("/nobody").await.problem(501, "no_handler");
}

#[actix_web::test]
async fn mistakes_of_the_program_are_500() {
    let domain = Domain::new("shop")
        .handler(answer(|_: Fail| Ok(Done { how: String::new() })))
        .handler(by(|_: Nobody, _| async { Ok(()) }))
        .handler(answer(|_: Twice| Ok(Done { how: "one".into() })))
        .handler(answer(|_: Twice| Ok(Done { how: "two".into() })))
        .handler(by(|_: Loop, _| async { Ok(Again {}) }))
        .handler(by(|_: Again, _| async { Ok(Again {}) }));
    let routes = Routes::new()
        .get::<Nobody>("/no_reply")
        .get::<Twice>("/ambiguous")
        .get::<Impostor>("/type_clash")
        .get::<Loop>("/too_many_hops");
    let runtime = Runtime::new().mount(domain).hops_max(4);
    let server = Server::start_with(runtime, &routes, &ServerSettings::default()).await;
    for code in ["no_reply", "ambiguous", "type_clash", "too_many_hops"] {
        let answer = server.get(&format!("/{code}")).await;
        let problem = answer.problem(500, code);
        assert_eq!(problem.get("detail"), None, "{problem}");
        assert!(!answer.text().contains("shop."), "{problem}");
    }
}

#[actix_web::test]
async fn a_handler_that_is_down_is_503() {
    let policy = Policy::default().restart(Restart::Never);
    let domain = Domain::new("shop").handler(by_policy(policy, |event: Fail, _| fail(event)));
    let server = Server::start(domain, routes()).await;
    server.get("/fail/panic").await.problem(500, "panic");
    until("the handler is down", || !server.runtime.health().down.is_empty()).await;
    let answer = server.get("/fail/not").await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.text().contains("shop."), "{}", answer.text());
}

#[actix_web::test]
async fn a_runtime_that_has_stopped_is_503() {
    let routes = routes().publish::<Other>("/other");
    let server = Server::start(failing(), routes).await;
    server.runtime.stop().await;
    let answer = server.get("/fail/not").await;
    answer.problem(503, "shutdown");
    assert_eq!(answer.header("retry-after"), "1");
    let answer = server.post("/other", &json!({})).await;
    answer.problem(503, "shutdown");
}

#[actix_web::test]
async fn publishing_under_a_foreign_name_is_500() {
    let routes = Routes::new().publish::<Impostor>("/impostor");
    let runtime = Runtime::new().mount(failing());
    let server = Server::start_with(runtime, &routes, &ServerSettings::default()).await;
    server.post("/impostor", &json!({})).await.problem(500, "type_clash");
}
