//! A handler that panics every third event, in an application that serves: its neighbours and the
//! server do not notice.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use callboard::prelude::*;
use callboard::settings::Settings;
use callboard::testing::TestApp;
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

#[actix_web::test]
async fn the_server_answers_and_the_metrics_show_the_restarts() {
    let heard = Arc::new(AtomicU32::new(0));
    let domain = Domain::new("counter").handler(Shaky { times: Arc::default() });
    let ears = Domain::new("ears").handler(Neighbour { heard: Arc::clone(&heard) });
    let app = App::new(Settings::for_tests()).mount(domain).mount(ears);
    let app = app.routes(Routes::new().post::<Count>("/counts"));
    let app = TestApp::start(app).await.unwrap();

    // Thirty at once: while the actor is rebuilt the others wait in its queue.
    let counts = (0..30).map(|n| app.post("/counts").json(&Count { n }).into_future());
    let answers = futures_util::future::join_all(counts).await;
    let failed = answers.iter().filter(|answer| {
        answer.status() == 500
            && answer.problem()["code"] == "panic"
            && !answer.text().contains("third")
    });
    assert_eq!(failed.count(), 10, "every third panics, and its text stays inside: {answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 20);
    assert_eq!(heard.load(Ordering::Relaxed), 30);

    let metrics = app.get("/metrics").await.json::<Value>();
    let shaky = &metrics["handlers"]["counter.Shaky"];
    assert_eq!((&shaky["processed"], &shaky["errors"]), (&json!(30), &json!(10)), "{shaky}");
    assert_eq!(shaky["restarts"], 10, "{shaky}");
    assert_eq!(metrics["handlers"]["ears.Neighbour"]["errors"], 0);
    app.get("/health").await.expect_status(200);
    app.stop().await;
}
