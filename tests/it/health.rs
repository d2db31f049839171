//! Health over real sockets: what is looked at, what of it clients are told, and when an application
//! says that it is not ready.

use std::future::pending;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callboard::health::HealthCheck;
use callboard::http::{Problem, Routes};
use callboard::settings::Settings;
use callboard::{
    App, Domain, Event, EventContext, EventHandler, HandlerResult, Policy, Replies, Restart,
    Running, millis, secs,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Ask {
    how: String,
}

impl Event for Ask {
    const NAME: &'static str = "oracle.ask";
}

impl Replies for Ask {
    type Reply = Asked;
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Asked {}

impl Event for Asked {
    const NAME: &'static str = "oracle.asked";
}

/// Answers, ends in a panic, or thinks until it is told to stop.
#[derive(Clone)]
struct Oracle(Arc<Notify>);

impl EventHandler for Oracle {
    type Input = Ask;
    type Output = Asked;

    async fn handle(&self, event: &Ask, _: &EventContext) -> HandlerResult<Asked> {
        match event.how.as_str() {
            "badly" => panic!("no oracle"),
            "slowly" => self.0.notified().await,
            _ => {}
        }
        Ok(Asked {})
    }

    fn policy(&self) -> Policy {
        Policy::default().restart(Restart::Never).queue_max(10).stuck_after(millis(20))
    }
}

struct Watched {
    running: Running,
    client: awc::Client,
    enough: Arc<Notify>,
}

fn app(variables: &[(&str, &str)]) -> (App, Arc<Notify>) {
    let variables = [("SERVER_PORT", "0")].into_iter().chain(variables.iter().copied());
    let enough = Arc::new(Notify::new());
    let domain = Domain::new("oracle").handler(Oracle(Arc::clone(&enough)));
    let app = App::new(Settings::from_vars(variables).unwrap()).mount(domain);
    (app.routes(Routes::new().get::<Ask>("/ask")), enough)
}

impl Watched {
    async fn start(checks: impl IntoIterator<Item = (&'static str, HealthCheck)>) -> Self {
        Self::start_with(&[], checks).await
    }

    async fn start_with(
        variables: &[(&str, &str)],
        checks: impl IntoIterator<Item = (&'static str, HealthCheck)>,
    ) -> Self {
        let (app, enough) = app(variables);
        let checks = checks.into_iter();
        let app = checks.fold(app, |app, (name, check)| app.health_check(name, check));
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        Self { running: app.start().await.unwrap(), client, enough }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.addresses()[0])
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let mut response = self.client.get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// What one check found, without how long it took.
    async fn finding(&self, name: &str) -> (u16, Value) {
        let (status, report) = self.get("/health/ready").await;
        let mut checks = report["checks"].as_array().unwrap().iter();
        let found = checks.find(|check| check["name"] == name);
        let mut found = found.unwrap_or_else(|| panic!("no {name} in {report}")).clone();
        found.as_object_mut().unwrap().remove("name");
        found.as_object_mut().unwrap().remove("duration_ms");
        (status, found)
    }
}

#[track_caller]
fn is_found((found_status, found): (u16, Value), status: u16, finding: &Value) {
    assert_eq!((found_status, &found), (status, finding));
}

#[actix_web::test]
async fn a_healthy_application_says_so_in_full() {
    let fine = HealthCheck::call(|| async { Ok::<(), String>(()) });
    let watched = Watched::start([("fine", fine)]).await;
    for path in ["/health", "/health/ready"] {
        let (status, report) = watched.get(path).await;
        assert_eq!((status, &report["status"]), (200, &json!("healthy")), "{report}");
        assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
        assert!(report["uptime_seconds"].is_u64(), "{report}");
        let timestamp = report["timestamp"].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(timestamp).is_ok(), "{timestamp}");
        let checks = report["checks"].as_array().unwrap();
        let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["runtime", "handlers", "queues", "fine"]);
        for check in checks {
            assert!(check["duration_ms"].is_u64(), "{check}");
            assert_eq!((check["status"].as_str(), check.get("code")), (Some("healthy"), None));
        }
    }
    let (status, report) = watched.get("/health/live").await;
    assert_eq!(
        (status, &report["status"], &report["checks"]),
        (200, &json!("healthy"), &json!([]))
    );
    watched.running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_check_of_a_connection_tells_whether_there_is_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let closed = {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        gone.local_addr().unwrap()
    };
    let watched = Watched::start([
        ("open", HealthCheck::tcp(open.to_string())),
        ("closed", HealthCheck::tcp(closed.to_string())),
    ])
    .await;
    is_found(watched.finding("open").await, 503, &json!({"status": "healthy"}));
    let unreachable = json!({"status": "unhealthy", "code": "unreachable"});
    is_found(watched.finding("closed").await, 503, &unreachable);
    assert_eq!(watched.get("/health/live").await.0, 200, "a restart would not help");
    watched.running.stop().await.unwrap();
}

#[cfg(feature = "client")]
#[actix_web::test]
async fn a_check_over_http_wants_success() {
    let other = Watched::start([]).await;
    let closed = {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", gone.local_addr().unwrap())
    };
    let watched = Watched::start([
        ("good", HealthCheck::http(other.url("/health"))),
        ("bad", HealthCheck::http(other.url("/nowhere")).optional()),
        ("gone", HealthCheck::http(closed).optional()),
    ])
    .await;
    is_found(watched.finding("good").await, 200, &json!({"status": "healthy"}));
    let bad = json!({"status": "degraded", "code": "bad_status"});
    is_found(watched.finding("bad").await, 200, &bad);
    let gone = json!({"status": "degraded", "code": "unreachable"});
    is_found(watched.finding("gone").await, 200, &gone);
    assert_eq!(watched.get("/health").await.1["status"], "degraded");
    other.running.stop().await.unwrap();
    watched.running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_function_that_fails_is_told_by_a_code_and_never_by_its_text() {
    let secret = "the password is swordfish";
    let failing = HealthCheck::call(move || async move { Err(secret) });
    let panicking = HealthCheck::call(move || async move {
        assert_eq!(secret, "");
        Ok::<(), String>(())
    });
    let waiting = HealthCheck::call(pending::<Result<(), String>>).timeout(millis(50));
    let watched = Watched::start([
        ("failing", failing.optional()),
        ("panicking", panicking.liveness()),
        ("waiting", waiting),
    ])
    .await;
    for (name, status, code) in [
        ("failing", "degraded", "failed"),
        ("panicking", "unhealthy", "panicked"),
        ("waiting", "unhealthy", "timeout"),
    ] {
        is_found(watched.finding(name).await, 503, &json!({"status": status, "code": code}));
    }
    let (status, report) = watched.get("/health/live").await;
    assert_eq!(status, 503);
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(1), "only what is for liveness");
    assert!(!report.to_string().contains("swordfish"));
    assert!(!watched.get("/health").await.1.to_string().contains("swordfish"));
    watched.running.stop().await.unwrap();
}

#[actix_web::test]
async fn checks_are_made_at_once() {
    let barrier = Arc::new(Barrier::new(3));
    let meeting = || {
        let barrier = Arc::clone(&barrier);
        HealthCheck::call(move || {
            let barrier = Arc::clone(&barrier);
            async move {
                barrier.wait().await;
                Ok::<(), String>(())
            }
        })
    };
    let checks = ["one", "two", "three"].map(|name| (name, meeting()));
    let watched = Watched::start(checks).await;
    let (status, report) = watched.get("/health").await;
    assert_eq!(status, 200, "one after the other they would wait for good: {report}");
    watched.running.stop().await.unwrap();
}

#[actix_web::test]
async fn many_probes_cost_what_one_costs() {
    let (calls, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let check = {
        let (calls, gate) = (Arc::clone(&calls), Arc::clone(&gate));
        HealthCheck::call(move || {
            calls.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                Ok::<(), String>(())
            }
        })
    };
    let check = check.timeout(PATIENCE).fresh_for(secs(60));
    let watched = Watched::start([("slow", check)]).await;
    // One hangs up while its check is made, which goes on.
    let hasty = watched.client.get(watched.url("/health")).timeout(millis(100)).send().await;
    assert!(hasty.is_err());
    let probes = (0..20).map(|_| watched.get("/health"));
    let probes = futures_util::future::join_all(probes);
    gate.notify_one();
    for (status, _) in probes.await {
        assert_eq!(status, 200);
    }
    assert_eq!(watched.get("/health").await.0, 200);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    watched.running.stop().await.unwrap();
}

#[actix_web::test]
async fn what_is_not_fresh_is_looked_at_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let check = HealthCheck::call(move || {
        let is_first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        async move { if is_first { Err("not yet") } else { Ok(()) } }
    });
    let watched = Watched::start([("late", check.fresh_for(Duration::ZERO))]).await;
    assert_eq!(watched.get("/health/ready").await.0, 503);
    assert_eq!(watched.get("/health/ready").await.0, 200);
    watched.running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_handler_that_is_down_is_named() {
    let watched = Watched::start([]).await;
    let (status, _) = watched.get("/ask?how=badly").await;
    assert_eq!(status, 500);
    until("the handler is down", || !watched.running.runtime().health().down.is_empty()).await;
    let down = json!({"status": "unhealthy", "code": "down", "handlers": ["oracle.Oracle"]});
    is_found(watched.finding("handlers").await, 503, &down);
    assert_eq!(watched.get("/health").await.0, 503);
    watched.running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_handler_that_is_stuck_or_has_a_full_queue_degrades() {
    let watched = Watched::start([]).await;
    let bus = watched.running.bus();
    bus.publish(Ask { how: "slowly".into() }).await.unwrap();
    until("the handler is stuck", || !bus.health().stuck.is_empty()).await;
    let stuck = json!({"status": "degraded", "code": "stuck", "handlers": ["oracle.Oracle"]});
    is_found(watched.finding("handlers").await, 200, &stuck);
    watched.enough.notify_one();
    until("it is done", || bus.health().stuck.is_empty()).await;

    let oracle = bus.handler("oracle.Oracle").unwrap();
    oracle.pause();
    let is_waiting = |n| {
        let oracle = &oracle;
        move || oracle.metrics().queue_depth == n
    };
    for n in 0..10 {
        let found = watched.finding("queues").await;
        match n {
            9 => {
                let handlers = ["oracle.Oracle"];
                let full = json!({"status": "degraded", "code": "saturated", "handlers": handlers});
                is_found(found, 200, &full);
            }
            _ => is_found(found, 200, &json!({"status": "healthy"})),
        }
        bus.publish(Ask { how: "well".into() }).await.unwrap();
        until("it waits", is_waiting(n + 1)).await;
    }
    oracle.resume();
    until("nothing waits", is_waiting(0)).await;
    watched.running.stop().await.unwrap();
}

#[actix_web::test]
async fn an_application_is_not_ready_before_it_closes_its_listener() {
    let watched = Watched::start_with(&[("SERVER_STOP_DELAY", "1")], []).await;
    let Watched { running, client, .. } = watched;
    let url = |path: &str| format!("http://{}{path}", running.addresses()[0]);
    let (ready, live, ask) = (url("/health/ready"), url("/health/live"), url("/ask?how=well"));
    assert_eq!(client.get(&ready).send().await.unwrap().status(), 200);
    let stopping = actix_web::rt::spawn(running.stop());
    let report: Value = loop {
        // A connection of its own each time.
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        let mut response = client.get(&ready).send().await.expect("the listener is open");
        if response.status() == 503 {
            break response.json().await.unwrap();
        }
    };
    let runtime = &report["checks"][0];
    assert_eq!((&runtime["name"], &runtime["code"]), (&json!("runtime"), &json!("draining")));
    let client = awc::Client::builder().timeout(PATIENCE).finish();
    assert_eq!(client.get(&live).send().await.unwrap().status(), 200);
    let answered = client.get(&ask).send().await.unwrap().status();
    assert_eq!(answered, 204, "what comes all the same is answered");
    stopping.await.unwrap().unwrap();
    assert!(client.get(&ready).send().await.is_err(), "it has stopped");
}

#[actix_web::test]
async fn faulty_checks_stop_the_start_all_at_once() {
    let fine = || HealthCheck::call(|| async { Ok::<(), Problem>(()) });
    let (app, _) = app(&[]);
    let app = app
        .health_check("", fine())
        .health_check("runtime", fine())
        .health_check("twice", fine())
        .health_check("twice", fine().timeout(Duration::ZERO))
        .health_check("nowhere", HealthCheck::tcp("nowhere"))
        .health_check("portless", HealthCheck::tcp("a:0"));
    let error = app.start().await.unwrap_err().to_string();
    let expected = [
        "a health check has no name",
        "health check `runtime` has the name of a built-in check",
        "health check `twice` is there twice",
        "health check `twice` has a timeout of 0",
        "health check `nowhere` has the address \"nowhere\"; it needs the form host:port",
        "health check `portless` has the address \"a:0\"; it needs the form host:port",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[cfg(feature = "client")]
#[actix_web::test]
async fn a_url_that_cannot_be_asked_stops_the_start() {
    for url in ["https://user:secret@a/", "a/b", "", "http:///x"] {
        let (app, _) = app(&[]);
        let error = app.health_check("other", HealthCheck::http(url)).start().await.unwrap_err();
        let expected = "health check `other` has a URL that is not of the form http://host/path";
        assert_eq!(error.to_string(), expected);
    }
}

/// Waits until something holds that no signal tells of.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}
