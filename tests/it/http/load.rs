//! Pressure: full queues, clients that go away, and requests beside each other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use callboard::http::{Route, Routes};
use callboard::settings::ServerSettings;
use callboard::{
    Breaker, Domain, EventHandler, HandlerError, Overflow, Policy, RateLimit, Runtime, millis, secs,
};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Server, by_policy, events, until};

events! {
    "work.do" => Work { id: u32 } -> Worked;
    "work.done" => Worked { id: u32 };
}

/// A gate before which each handler waits; permits let them pass.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    fn open(&self) {
        self.0.add_permits(1000);
    }

    async fn pass(self) {
        self.0.acquire_owned().await.unwrap().forget();
    }

    fn worker(&self, policy: Policy) -> impl EventHandler<Input = Work, Output = Worked> + use<> {
        let gate = self.clone();
        by_policy(policy, move |Work { id }, _| {
            let passed = gate.clone().pass();
            async move {
                passed.await;
                Ok(Worked { id })
            }
        })
    }
}

fn one_at_once(overflow: Overflow) -> Policy {
    Policy::default().concurrency(1).queue_max(1).overflow(overflow)
}

fn in_flight(server: &Server) -> u64 {
    let handlers = server.runtime.metrics().handlers;
    handlers.values().map(|handler| handler.in_flight).sum()
}

fn queued(server: &Server) -> usize {
    let handlers = server.runtime.metrics().handlers;
    handlers.values().map(|handler| handler.queue_depth).sum()
}

/// One request in work and one that waits; the future is ready when both are answered.
async fn fill(server: &Server) -> impl Future<Output = Vec<u16>> + use<> {
    let send = |id| {
        let request = server.request(awc::http::Method::POST, "/work");
        let sent = request.send_json(&json!({ "id": id }));
        actix_web::rt::spawn(async move { sent.await.unwrap().status().as_u16() })
    };
    let first = send(1);
    until("one is in work", || in_flight(server) == 1).await;
    let second = send(2);
    until("one waits", || queued(server) == 1).await;
    async { join_all([first, second]).await.into_iter().map(Result::unwrap).collect() }
}

#[actix_web::test]
async fn a_full_queue_is_503_with_retry_after_and_at_once() {
    for overflow in [Overflow::Reject, Overflow::Wait] {
        let gate = Gate::shut();
        let domain = Domain::new("work").handler(gate.worker(one_at_once(overflow)));
        let routes = Routes::new().post::<Work>("/work").publish::<Work>("/later");
        let server = Server::start(domain, routes).await;
        let filled = fill(&server).await;

        for path in ["/work", "/later"] {
            let answer = server.post(path, &json!({ "id": 3 })).await;
            let problem = answer.problem(503, "full");
            assert_eq!(answer.header("retry-after"), "1", "{overflow:?}");
            assert_eq!(problem.get("detail"), None, "{problem}");
        }

        gate.open();
        assert_eq!(filled.await, [200, 200]);
        server.post("/work", &json!({ "id": 4 })).await.ok(200);
    }
}

/// parity: W20
#[actix_web::test]
async fn over_the_rate_limit_is_429_and_says_when_to_come_again() {
    let gate = Gate::shut();
    gate.open();
    let limit = RateLimit::new(1, secs(90)).refusing();
    let domain = Domain::new("work").handler(gate.worker(Policy::default().rate_limit(limit)));
    let routes = Routes::new().post::<Work>("/work");
    let server = Server::start(domain, routes).await;
    server.post("/work", &json!({ "id": 1 })).await.ok(200);
    let answer = server.post("/work", &json!({ "id": 2 })).await;
    answer.problem(429, "rate_limited");
    assert!((80..=90).contains(&answer.header("retry-after").parse().unwrap()));
}

/// parity: W20
#[actix_web::test]
async fn an_open_breaker_is_503_and_says_when_to_come_again() {
    let breaker = Breaker::consecutive(1).open_for(secs(90));
    let failing = by_policy(Policy::default().breaker(breaker), |_: Work, _| async {
        Err::<Worked, _>(HandlerError::retry("it is broken"))
    });
    let routes = Routes::new().post::<Work>("/work");
    let server = Server::start(Domain::new("work").handler(failing), routes).await;
    server.post("/work", &json!({ "id": 1 })).await.problem(500, "handler_error");
    let answer = server.post("/work", &json!({ "id": 2 })).await;
    answer.problem(503, "breaker_open");
    assert!((80..=90).contains(&answer.header("retry-after").parse().unwrap()));
}

#[actix_web::test]
async fn a_request_that_takes_too_long_is_504() {
    let gate = Gate::shut();
    let domain = Domain::new("work").handler(gate.worker(Policy::default()));
    let route = Route::post::<Work>("/work").timeout(millis(50));
    let server = Server::start(domain, Routes::new().route(route)).await;
    server.post("/work", &json!({ "id": 1 })).await.problem(504, "timeout");
    gate.open();
    server.post("/work", &json!({ "id": 2 })).await.ok(200);
}

#[actix_web::test]
async fn a_timeout_without_end_is_a_long_one() {
    let gate = Gate::shut();
    gate.open();
    let domain = Domain::new("work").handler(gate.worker(Policy::default()));
    let routes = Routes::new().post::<Work>("/work");
    let mut settings = ServerSettings::default();
    settings.request_timeout = Duration::MAX;
    let runtime = Runtime::new().mount(domain);
    let server = Server::start_with(runtime, &routes, &settings).await;
    server.post("/work", &json!({ "id": 1 })).await.ok(200);
}

#[actix_web::test]
async fn a_client_that_goes_away_does_no_harm() {
    let gate = Gate::shut();
    let domain = Domain::new("work").handler(gate.worker(Policy::default()));
    let server = Server::start(domain, Routes::new().post::<Work>("/work")).await;
    for (id, resets) in [(1, false), (2, true)] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let body = format!("{{\"id\": {id}}}");
        let request = format!(
            "POST /work HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        until("it is in work", || in_flight(&server) == id).await;
        if resets {
            stream.set_zero_linger().unwrap();
        }
    }
    // In the middle of a body.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /work HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{\"id\"";
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);

    gate.open();
    let done = || server.runtime.metrics().handlers.values().any(|handler| handler.processed == 2);
    until("both are done all the same", done).await;
    assert_eq!(server.post("/work", &json!({ "id": 9 })).await.ok(200), json!({ "id": 9 }));
}

#[actix_web::test]
async fn replies_find_their_own_requests() {
    let gate = Gate::shut();
    let domain = Domain::new("work").handler(gate.worker(Policy::default()));
    let server = Server::start(domain, Routes::new().post::<Work>("/work")).await;
    let bodies: Vec<_> = (0..50).map(|id| json!({ "id": id })).collect();
    let answers = join_all(bodies.iter().map(|body| server.post("/work", body)));
    let release = async {
        until("many are in work", || in_flight(&server) == 50).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(answers, release);
    for (body, answer) in bodies.iter().zip(answers) {
        assert_eq!(&answer.ok(200), body);
    }
}

#[actix_web::test]
async fn one_connection_serves_many_requests() {
    let gate = Gate::shut();
    gate.open();
    let domain = Domain::new("work").handler(gate.worker(Policy::default()));
    let server = Server::start(domain, Routes::new().post::<Work>("/work")).await;
    let one = |id: u32, connection: &str| {
        let body = format!("{{\"id\": {id}}}");
        format!(
            "POST /work HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let pipelined = one(1, "keep-alive") + &one(2, "keep-alive") + &one(3, "close");
    let response = server.raw(pipelined).await;
    assert_eq!(response.matches("HTTP/1.1 200 OK").count(), 3, "{response}");
    let order: Vec<_> =
        response.match_indices("{\"id\":").map(|(at, _)| &response[at + 6..=at + 6]).collect();
    assert_eq!(order, ["1", "2", "3"]);
}
