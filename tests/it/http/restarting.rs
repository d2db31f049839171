//! Requests that come again after a restart, or to another process: what a database remembers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use callboard::db::{Db, DbError, SqliteConn};
use callboard::http::{DbIdempotency, Route, Routes};
use callboard::settings::Settings;
use callboard::{App, Domain, HandlerError, Running};
use diesel_async::SimpleAsyncConnection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::repeating::is_replay_of;
use super::{Answer, by, events};

events! {
    "order.place" => Place { sku: String } -> Placed;
    "order.placed" => Placed { sku: String, number: u64 };
}

/// What two processes have in common: a database, and work that is counted.
struct Shared {
    folder: TempDir,
    placed: Arc<AtomicU64>,
}

/// An application with its own handle to the database.
struct Process {
    db: Db,
    running: Running,
}

impl Shared {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), placed: Arc::default() }
    }

    fn settings(&self) -> Settings {
        let dsn = format!("sqlite://{}/shop.db", self.folder.path().display());
        let vars = [("SERVER_PORT", "0"), ("LOG_LEVEL", "error"), ("DB_DSN", &dsn)];
        Settings::from_vars(vars).unwrap()
    }

    async fn start(&self) -> Process {
        let settings = self.settings();
        let db = Db::connect(&settings.db).await.unwrap();
        let outcomes = DbIdempotency::open(&db, &settings.server.idempotency).await.unwrap();
        let placed = Arc::clone(&self.placed);
        let place = by(move |Place { sku }, _| {
            let number = placed.fetch_add(1, SeqCst) + 1;
            std::future::ready(match sku.as_str() {
                "none" => Err(HandlerError::not_found("there is no such thing")),
                "flaky" => Err(HandlerError::retry("the shelf fell")),
                _ => Ok(Placed { sku, number }),
            })
        });
        let routes = Routes::new().route(Route::post::<Place>("/orders").status(201).idempotent());
        let app = App::new(settings).mount(Domain::new("order").handler(place)).routes(routes);
        let running = app.idempotency_store(outcomes).start().await.unwrap();
        Process { db, running }
    }

    fn count(&self) -> u64 {
        self.placed.load(SeqCst)
    }
}

impl Process {
    async fn post(&self, key: &str, sku: &str) -> Answer {
        let url = format!("http://{}/orders", self.running.addresses()[0]);
        let request = awc::Client::new().post(url).insert_header(("idempotency-key", key));
        Answer::of(request.send_json(&json!({ "sku": sku })).await.unwrap()).await
    }

    async fn stop(self) {
        self.running.stop().await.unwrap();
        self.db.close().await;
    }
}

#[actix_web::test]
async fn a_restart_forgets_no_outcome() {
    let shared = Shared::new();
    let process = shared.start().await;
    let first = process.post("hat", "hat").await;
    assert_eq!(first.ok(201), json!({ "sku": "hat", "number": 1 }));
    let refused = process.post("none", "none").await;
    refused.problem(404, "not_found");
    process.post("flaky", "flaky").await.problem(500, "handler_error");
    process.stop().await;
    let process = shared.start().await;
    is_replay_of(&process.post("hat", "hat").await, &first);
    is_replay_of(&process.post("none", "none").await, &refused);
    process.post("hat", "cap").await.problem(422, "idempotency_key_reused");
    assert_eq!(shared.count(), 3, "nothing was done again");
    process.post("flaky", "flaky").await.problem(500, "handler_error");
    assert_eq!(shared.count(), 4, "what failed is tried again");
    process.stop().await;
}

#[actix_web::test]
async fn processes_on_one_database_do_a_thing_once() {
    let shared = Shared::new();
    let [one, other] = [shared.start().await, shared.start().await];
    let first = one.post("hat", "hat").await;
    is_replay_of(&other.post("hat", "hat").await, &first);
    for number in 2..12 {
        let key = format!("key-{number}");
        let (a, b) = tokio::join!(one.post(&key, "hat"), other.post(&key, "hat"));
        let done: Vec<Value> =
            [&a, &b].iter().filter(|a| a.status == 201).map(|a| a.json()).collect();
        assert!(!done.is_empty(), "{a:?} {b:?}");
        for answer in [&a, &b] {
            match answer.status {
                201 => assert_eq!(answer.json()["number"], number),
                _ => drop(answer.problem(409, "idempotency_in_progress")),
            }
        }
    }
    assert_eq!(shared.count(), 11);
    one.stop().await;
    other.stop().await;
}

#[actix_web::test]
async fn without_its_database_nothing_is_begun() {
    let shared = Shared::new();
    let process = shared.start().await;
    process.post("hat", "hat").await.ok(201);
    let drop_table = async |conn: &mut SqliteConn| {
        Ok::<_, DbError>(conn.batch_execute("DROP TABLE callboard_idempotency").await?)
    };
    process.db.transaction(drop_table).await.unwrap();
    let without_table = process.post("cap", "cap").await;
    process.db.close().await;
    let closed = process.post("cap", "cap").await;
    for refused in [without_table, closed] {
        refused.problem(503, "idempotency_unavailable");
        let text = refused.text();
        assert!(!text.contains("callboard_") && !text.contains("database"), "{text}");
    }
    assert_eq!(shared.count(), 1);
    process.stop().await;
}
