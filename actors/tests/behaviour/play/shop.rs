//! Events with keys, a shop with one handler of them, and a log of what happened.

use std::borrow::Cow;
use std::sync::Arc;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{HandlerMetrics, RequestError};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::on;

/// An event with a key; the empty one is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    pub(crate) key: String,
    pub(crate) n: i64,
}

impl Event for Order {
    const NAME: &'static str = "shop.order";

    fn key(&self) -> Option<Cow<'_, str>> {
        (!self.key.is_empty()).then(|| Cow::Borrowed(&*self.key))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Receipt {
    pub(crate) n: i64,
}

impl Event for Receipt {
    const NAME: &'static str = "shop.receipt";
}

impl Replies for Order {
    type Reply = Receipt;
}

pub(crate) fn order(key: &str, n: i64) -> Order {
    Order { key: key.to_owned(), n }
}

/// What happened, in words and in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// What was written since the last look, in one line.
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock()).join(" ")
    }

    pub(crate) fn add(&self, entry: impl Into<String>) {
        self.0.lock().push(entry.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// A bus with one handler of orders, `shop.On`.
pub(crate) async fn shop<F>(policy: Policy, work: F) -> TestBus
where
    F: AsyncFn(&Order, &EventContext) -> HandlerResult<Receipt> + Clone + Send + 'static,
{
    TestBus::start([Domain::new("shop").handler(on(work).with(policy))]).await.unwrap()
}

/// The counters of the handler of that name.
pub(crate) fn metrics(bus: &TestBus, handler: &str) -> HandlerMetrics {
    bus.metrics().handlers[handler].clone()
}

/// A request for an order that goes on beside the test.
pub(crate) fn send(bus: &TestBus, key: &str, n: i64) -> JoinHandle<Result<Receipt, RequestError>> {
    actix::spawn(bus.request(order(key, n)).into_future())
}

/// Lets everything go on that needs no time.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
