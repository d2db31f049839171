//! A handler that panics every third event, in an application that serves: its neighbours and the
//! server do not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use callboard::prelude::*;
use callboard::settings::Settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Count {
    n: u32,
}

impl Event for Count {
    const NAME: &'static str = "counter.count";
}

impl Replies for Count {
    type Reply = Counted;
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Counted {
    n: u32,
}

impl Event for Counted {
    const NAME: &'static str = "counter.counted";
}

/// Panics every third time.
#[derive(Clone)]
struct Shaky {
    times: Arc<AtomicU32>,
}

impl EventHandler for Shaky {
    type Input = Count;
    type Output = Counted;

    async fn handle(&self, event: &Count, _: &EventContext) -> HandlerResult<Counted> {
        assert!(self.times.fetch_add(1, Ordering::Relaxed) % 3 != 2, "every third");
        Ok(Counted { n: event.n })
    }

    fn policy(&self) -> Policy {
        Policy::default().concurrency(1)
    }
}

/// Hears the same events.
#[derive(Clone)]
struct Neighbour {
    heard: Arc<AtomicU32>,
}

impl EventHandler for Neighbour {
    type Input = Count;
    type Output = ();

    async fn handle(&self, _: &Count, _: &EventContext) -> HandlerResult<()> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

async fn call(method: &str, url: &str, body: Value) -> (u16, Value) {
    let request = awc::Client::new().request(method.parse().unwrap(), url);
    let sent = if body.is_null() { request.send() } else { request.send_json(&body) };
    let mut response = sent.await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[actix_web::test]
async fn the_server_answers_and_the_metrics_show_the_restarts() {
    let heard = Arc::new(AtomicU32::new(0));
    let domain = Domain::new("counter").handler(Shaky { times: Arc::default() });
    let ears = Domain::new("ears").handler(Neighbour { heard: Arc::clone(&heard) });
    let settings = Settings::from_vars([("SERVER_PORT", "0"), ("LOG_LEVEL", "off")]).unwrap();
    let app = App::new(settings).mount(domain).mount(ears);
    let app = app.routes(Routes::new().post::<Count>("/counts")).start().await.unwrap();
    let url = |path: &str| format!("http://{}{path}", app.addresses()[0]);

    // Thirty at once: while the actor is rebuilt the others wait in its queue.
    let counts = (0..30).map(|n| {
        let url = url("/counts");
        async move { call("POST", &url, json!({ "n": n })).await }
    });
    let answers = futures_util::future::join_all(counts).await;
    let failed = answers.iter().filter(|(status, problem)| {
        *status == 500 && problem["code"] == "panic" && !problem.to_string().contains("third")
    });
    assert_eq!(failed.count(), 10, "every third panics, and its text stays inside: {answers:?}");
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 20);
    assert_eq!(heard.load(Ordering::Relaxed), 30);

    let (status, metrics) = call("GET", &url("/metrics"), Value::Null).await;
    assert_eq!(status, 200);
    let shaky = &metrics["handlers"]["counter.Shaky"];
    assert_eq!((&shaky["processed"], &shaky["errors"]), (&json!(30), &json!(10)), "{shaky}");
    assert_eq!(shaky["restarts"], 10, "{shaky}");
    assert_eq!(metrics["handlers"]["ears.Neighbour"]["errors"], 0);
    assert_eq!(call("GET", &url("/health"), Value::Null).await.0, 200);
    app.stop().await.unwrap();
}
