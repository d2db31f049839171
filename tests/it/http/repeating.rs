//! Requests that come again with an `Idempotency-Key`: what is done once, and what each is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use awc::http::Method;
use callboard::auth::{Authenticating, Credentials, Provider};
use callboard::http::{
    Begun, IdempotencyAttempt, IdempotencyError, IdempotencyFuture, IdempotencyStore, Info, Route,
    RouteFault, Routes, StoredResponse,
};
use callboard::settings::{ServerSettings, Settings};
use callboard::{App, Domain, HandlerError, Identity, Runtime, secs};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Answer, Server, by, events, until};

events! {
    "order.place" => Place { sku: String, count: u64 } -> Placed;
    "order.placed" => Placed { sku: String, number: u64 };
    "order.cancel" => Cancel { sku: String } -> Cancelled;
    "order.cancelled" => Cancelled { number: u64 };
    "order.note" => Note { sku: String };
    "order.find" => Find { sku: String } -> Placed;
}

/// What handlers have done, and when they may go on.
#[derive(Clone)]
struct Desk {
    begun: Arc<AtomicU64>,
    gate: Arc<Semaphore>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { begun: Arc::default(), gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)) }
    }
}

impl Desk {
    /// Whose handlers wait until the gate is opened.
    fn shut() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), ..Self::default() }
    }

    fn open(&self) {
        self.gate.add_permits(1_000);
    }

    fn count(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    async fn number(&self) -> u64 {
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        self.gate.acquire().await.unwrap().forget();
        number
    }

    fn domain(&self) -> Domain {
        let (place, cancel, note) = (self.clone(), self.clone(), self.clone());
        let place = by(move |Place { sku, .. }, _| {
            let desk = place.clone();
            async move {
                let number = desk.number().await;
                match sku.as_str() {
                    "rejected" => Err(HandlerError::not_found("there is no such thing")),
                    "flaky" if number == 1 => Err(HandlerError::retry("the shelf fell")),
                    "panic" if number == 1 => panic!("the shelf fell"),
                    "slow" if number == 1 => std::future::pending().await,
                    _ => Ok(Placed { sku, number }),
                }
            }
        });
        let cancel = by(move |Cancel { .. }, _| {
            let desk = cancel.clone();
            async move { Ok(Cancelled { number: desk.number().await }) }
        });
        let note = by(move |Note { .. }, _| {
            let desk = note.clone();
            async move {
                desk.number().await;
                Ok(())
            }
        });
        Domain::new("order").handler(place).handler(cancel).handler(note)
    }
}

fn routes() -> Routes {
    Routes::new()
        .route(Route::post::<Place>("/orders").timeout(secs(1)).idempotent())
        .route(Route::put::<Place>("/orders/{sku}").idempotent())
        .route(Route::delete::<Cancel>("/orders/{sku}").idempotency_key_required())
        .route(Route::publish::<Note>("/notes").idempotent())
        .post::<Place>("/plain")
}

async fn serve(desk: &Desk) -> Server {
    Server::start(desk.domain(), routes()).await
}

async fn send(server: &Server, method: Method, path: &str, key: &str, body: &Value) -> Answer {
    let request = server.request(method, path).insert_header(("idempotency-key", key));
    Answer::of(request.send_json(body).await.unwrap()).await
}

async fn post(server: &Server, path: &str, key: &str, body: &Value) -> Answer {
    send(server, Method::POST, path, key, body).await
}

fn order(sku: &str) -> Value {
    json!({ "sku": sku, "count": 1 })
}

#[track_caller]
pub(super) fn is_replay_of(again: &Answer, first: &Answer) {
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.header("idempotency-replayed"), "true", "{again:?}");
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_ne!(again.header("x-trace-id"), first.header("x-trace-id"));
}

#[actix_web::test]
async fn the_same_request_is_done_once() {
    let desk = Desk::default();
    let server = serve(&desk).await;
    let first = post(&server, "/orders", "\"a key\"", &order("hat")).await;
    assert_eq!(first.ok(200)["number"], 1);
    for _ in 0..3 {
        is_replay_of(&post(&server, "/orders", "\"a key\"", &order("hat")).await, &first);
    }
    assert_eq!(desk.count(), 1);
    let other = post(&server, "/orders", "another-key", &order("hat")).await;
    assert_eq!(other.ok(200)["number"], 2);
}

#[actix_web::test]
async fn without_a_key_each_request_is_done() {
    let desk = Desk::default();
    let server = serve(&desk).await;
    for number in 1..=2 {
        assert_eq!(server.post("/orders", &order("hat")).await.ok(200)["number"], number);
    }
    for number in 3..=4 {
        let plain = post(&server, "/plain", "key", &order("hat")).await;
        assert_eq!(plain.ok(200)["number"], number, "this route knows no keys");
    }
    let without = server.send(Method::DELETE, "/orders/hat").await;
    without.problem(400, "idempotency_key_missing");
    assert_eq!(desk.count(), 4);
}

#[actix_web::test]
async fn other_methods_and_events_without_a_reply_are_done_once_too() {
    let desk = Desk::default();
    let server = serve(&desk).await;
    for (method, path, status) in [
        (Method::PUT, "/orders/hat", 200),
        (Method::DELETE, "/orders/hat", 200),
        (Method::POST, "/notes", 202),
    ] {
        let before = desk.count();
        let key = format!("{method}");
        let first = send(&server, method.clone(), path, &key, &order("hat")).await;
        first.ok(status);
        is_replay_of(&send(&server, method, path, &key, &order("hat")).await, &first);
        until("one more is done", || desk.count() == before + 1).await;
    }
    assert_eq!(desk.count(), 3);
}

#[actix_web::test]
async fn a_key_that_is_none_is_refused() {
    let desk = Desk::default();
    let server = serve(&desk).await;
    for key in ["", "\"", "two words", "a,b", &"x".repeat(256)] {
        let refused = post(&server, "/orders", key, &order("hat")).await;
        refused.problem(400, "bad_idempotency_key");
    }
    assert_eq!(desk.count(), 0);
}

#[actix_web::test]
async fn a_key_belongs_to_one_request() {
    let desk = Desk::default();
    let server = serve(&desk).await;
    post(&server, "/orders", "key", &order("hat")).await.ok(200);
    for (method, path, sku) in [
        (Method::POST, "/orders", "cap"),
        (Method::POST, "/orders?count=2", "hat"),
        (Method::PUT, "/orders/hat", "hat"),
        (Method::POST, "/notes", "hat"),
    ] {
        let refused = send(&server, method, path, "key", &order(sku)).await;
        refused.problem(422, "idempotency_key_reused");
    }
    assert_eq!(desk.count(), 1);
}

#[actix_web::test]
async fn what_is_under_way_is_not_begun_again() {
    let desk = Desk::shut();
    let server = serve(&desk).await;
    let body = order("hat");
    let (first, ()) = tokio::join!(post(&server, "/orders", "key", &body), async {
        until("it is begun", || desk.count() == 1).await;
        for _ in 0..3 {
            let early = post(&server, "/orders", "key", &body).await;
            early.problem(409, "idempotency_in_progress");
            assert_eq!(early.header("retry-after"), "1");
        }
        let other = post(&server, "/orders", "key", &order("cap")).await;
        other.problem(422, "idempotency_key_reused");
        desk.open();
    });
    first.ok(200);
    is_replay_of(&post(&server, "/orders", "key", &body).await, &first);
    assert_eq!(desk.count(), 1);
}

#[actix_web::test]
async fn what_may_come_right_is_tried_again() {
    for (sku, status, code) in
        [("flaky", 500, "handler_error"), ("panic", 500, "panic"), ("slow", 504, "timeout")]
    {
        let desk = Desk::default();
        let server = serve(&desk).await;
        post(&server, "/orders", "key", &order(sku)).await.problem(status, code);
        let again = loop {
            let again = post(&server, "/orders", "key", &order(sku)).await;
            // A handler that panicked comes back after a moment.
            if again.status != 503 {
                break again;
            }
        };
        assert_eq!(again.header("idempotency-replayed"), "", "{sku}");
        assert_eq!(again.ok(200)["number"], desk.count(), "{sku}");
    }
}

#[actix_web::test]
async fn what_a_handler_rejects_is_rejected_for_good() {
    let desk = Desk::default();
    let server = serve(&desk).await;
    let first = post(&server, "/orders", "key", &order("rejected")).await;
    let problem = first.problem(404, "not_found");
    let again = post(&server, "/orders", "key", &order("rejected")).await;
    is_replay_of(&again, &first);
    assert_eq!(again.json()["trace_id"], problem["trace_id"], "under which the log tells more");
    assert_eq!(desk.count(), 1);
}

#[actix_web::test]
async fn what_the_edge_refuses_uses_no_key_up() {
    let desk = Desk::default();
    let server = serve(&desk).await;
    let wrong = json!({ "sku": "hat", "count": "many" });
    for _ in 0..2 {
        post(&server, "/orders", "key", &wrong).await.problem(422, "invalid");
    }
    let key = ("idempotency-key", "key");
    let request = server.request(Method::POST, "/orders").insert_header(key);
    let request = request.content_type("application/json").send_body("{");
    Answer::of(request.await.unwrap()).await.problem(400, "malformed_json");
    assert_eq!(post(&server, "/orders", "key", &order("hat")).await.ok(200)["number"], 1);
}

#[actix_web::test]
async fn a_client_that_goes_away_finds_the_outcome_when_it_comes_back() {
    let desk = Desk::shut();
    let server = serve(&desk).await;
    let body = order("hat").to_string();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: x\r\nidempotency-key: key\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    until("it is begun", || desk.count() == 1).await;
    // With a reset: who only says that no more comes may still be listening.
    stream.set_zero_linger().unwrap();
    drop(stream);
    let early = server.request(Method::POST, "/orders").insert_header(("idempotency-key", "key"));
    let early = early.content_type("application/json").send_body(body.clone()).await.unwrap();
    Answer::of(early).await.problem(409, "idempotency_in_progress");
    desk.open();
    let again = loop {
        let request = server.request(Method::POST, "/orders");
        let request = request.insert_header(("idempotency-key", "key"));
        let request = request.content_type("application/json").send_body(body.clone());
        let again = Answer::of(request.await.unwrap()).await;
        if again.status != 409 {
            break again;
        }
    };
    assert_eq!(again.ok(200)["number"], 1);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(desk.count(), 1);
}

/// Knows whoever says their name.
struct Names;

impl Provider for Names {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
        Box::pin(async { Ok(Identity::new(credentials.token()).into()) })
    }
}

#[actix_web::test]
async fn nobody_gets_the_answer_of_another() {
    let desk = Desk::default();
    let vars =
        [("SERVER_PORT", "0"), ("SERVER_TRUSTED_PROXIES", "127.0.0.1"), ("LOG_LEVEL", "error")];
    let open = Route::post::<Cancel>("/open").public().idempotent();
    let app = App::new(Settings::from_vars(vars).unwrap()).mount(desk.domain()).auth(Names);
    let running = app.routes(routes().route(open)).start().await.unwrap();
    let send = async |path: &str, token: &str, address: &str| {
        let url = format!("http://{}{path}", running.addresses()[0]);
        let request = awc::Client::new().post(url).insert_header(("idempotency-key", "key"));
        let request = request.insert_header(("authorization", format!("Bearer {token}")));
        let request = request.insert_header(("x-forwarded-for", address));
        let answer = Answer::of(request.send_json(&order("hat")).await.unwrap()).await;
        answer.ok(200)["number"].as_u64().unwrap()
    };
    let (here, there) = ("192.0.2.1", "192.0.2.2");
    assert_eq!(send("/orders", "ada", here).await, 1);
    assert_eq!(send("/orders", "bob", here).await, 2);
    assert_eq!(send("/orders", "ada", there).await, 1, "wherever she is");
    assert_eq!(send("/orders", "192.0.2.1", here).await, 3);
    assert_eq!(send("/open", "ada", here).await, 4, "nobody is known here");
    assert_eq!(send("/open", "bob", here).await, 4);
    assert_eq!(send("/open", "ada", there).await, 5);
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn where_no_more_keys_are_kept_nothing_is_begun() {
    let desk = Desk::shut();
    let mut settings = ServerSettings::default();
    settings.idempotency.entries_max = 1;
    let runtime = Runtime::new().mount(desk.domain());
    let server = Server::start_with(runtime, &routes(), &settings).await;
    let body = order("hat");
    let (first, ()) = tokio::join!(post(&server, "/orders", "first", &body), async {
        until("it is begun", || desk.count() == 1).await;
        let refused = post(&server, "/orders", "second", &body).await;
        refused.problem(503, "idempotency_full");
        assert_eq!(refused.header("retry-after"), "1");
        desk.open();
    });
    first.ok(200);
    assert_eq!(post(&server, "/orders", "second", &body).await.ok(200)["number"], 2);
}

/// Does what it is told, and notes what it is asked.
#[derive(Clone, Default)]
struct Shared {
    is_down: Arc<AtomicU64>,
    finished: Arc<AtomicU64>,
    released: Arc<AtomicU64>,
}

impl IdempotencyStore for Shared {
    fn begin<'a>(&'a self, attempt: &'a IdempotencyAttempt) -> IdempotencyFuture<'a, Begun> {
        assert_eq!(attempt.token.len(), 32);
        let is_down = self.is_down.load(SeqCst) > 0;
        Box::pin(async move {
            if is_down {
                return Err(IdempotencyError { reason: "password=hunter2".into() });
            }
            Ok(Begun::First)
        })
    }

    fn finish<'a>(
        &'a self,
        _: &'a IdempotencyAttempt,
        outcome: StoredResponse,
    ) -> IdempotencyFuture<'a, bool> {
        assert_eq!(outcome.status, 200);
        self.finished.fetch_add(1, SeqCst);
        Box::pin(async { Ok(true) })
    }

    fn release<'a>(&'a self, _: &'a IdempotencyAttempt) -> IdempotencyFuture<'a, ()> {
        self.released.fetch_add(1, SeqCst);
        Box::pin(async { Ok(()) })
    }
}

#[actix_web::test]
async fn a_table_keeps_its_own_store_and_without_it_nothing_is_begun() {
    let (desk, shared) = (Desk::default(), Shared::default());
    let table = routes().idempotency_store(shared.clone());
    let server = Server::start(desk.domain(), Routes::new().merge(table)).await;
    post(&server, "/orders", "key", &order("flaky")).await.problem(500, "handler_error");
    post(&server, "/orders", "key", &order("flaky")).await.ok(200);
    let count = |counter: &AtomicU64| counter.load(SeqCst);
    assert_eq!((count(&shared.finished), count(&shared.released)), (1, 1));
    shared.is_down.store(1, SeqCst);
    let refused = post(&server, "/orders", "key", &order("hat")).await;
    refused.problem(503, "idempotency_unavailable");
    assert!(!refused.text().contains("hunter2"), "{}", refused.text());
    assert_eq!(desk.count(), 2);
}

#[test]
fn a_key_is_described() {
    let document = routes().openapi(&Info::default());
    let operation = &document["paths"]["/orders"]["post"];
    let key = &operation["parameters"][0];
    assert_eq!((&key["in"], &key["name"]), (&json!("header"), &json!("Idempotency-Key")));
    assert_eq!((&key["required"], &key["schema"]["maxLength"]), (&json!(false), &json!(255)));
    let said = |status: &str| operation["responses"][status]["description"].as_str().unwrap();
    assert!(said("409").contains("idempotency_in_progress"));
    assert!(said("422").contains("idempotency_key_reused"));
    assert!(said("400").contains("bad_idempotency_key"));
    let delete = &document["paths"]["/orders/{sku}"]["delete"];
    assert_eq!(delete["parameters"][1]["required"], true);
    assert_eq!(document["paths"]["/plain"]["post"]["parameters"], Value::Null);
    let reading = Routes::new().route(Route::get::<Find>("/orders/{sku}").idempotent());
    let faults = reading.faults();
    assert!(matches!(&faults[..], [RouteFault::NeedlessKey { .. }]), "{faults:?}");
}
