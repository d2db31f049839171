//! The work that each system does alike: an order enters, a total leaves, and a tally knows when the
//! last of many was handled.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use callboard::{Event, Replies};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// What is sent.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) quantity: u32,
    /// Empty but where its size is the subject; an empty one allocates nothing.
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Serialize, Deserialize, JsonSchema, kameo::Reply)]
pub(crate) struct Total {
    pub(crate) id: u64,
    pub(crate) price: u64,
    /// Where the handler saw the body, which shows whether it was copied on its way.
    pub(crate) body_at: usize,
}

/// An order that is kept in line with the others of its key.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Keyed {
    pub(crate) order: Order,
}

/// An order that has passed the first handler of a chain.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Checked {
    pub(crate) order: Order,
}

/// An order that has passed the second handler of a chain.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Stocked {
    pub(crate) order: Order,
}

impl Event for Order {
    const NAME: &'static str = "bench.order";
}
impl Replies for Order {
    type Reply = Total;
}
impl Event for Total {
    const NAME: &'static str = "bench.total";
}
impl Event for Checked {
    const NAME: &'static str = "bench.checked";
}
impl Event for Stocked {
    const NAME: &'static str = "bench.stocked";
}
impl Event for Keyed {
    const NAME: &'static str = "bench.keyed";

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&KEYS[self.order.key()]))
    }
}

/// How many keys the orders have.
const KEY_COUNT: usize = 100;

static KEYS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..KEY_COUNT).map(|key| format!("customer-{key}")).collect());

impl Order {
    /// An order with a body of so many bytes.
    pub(crate) fn new(id: u64, body_len: usize) -> Self {
        Self { id, quantity: 3, body: vec![0; body_len] }
    }

    /// What every handler does with it.
    pub(crate) fn total(&self) -> Total {
        let price = u64::from(self.quantity) * 7;
        Total { id: self.id, price, body_at: self.body.as_ptr().addr() }
    }

    /// Which of the keys it has.
    pub(crate) fn key(&self) -> usize {
        usize::try_from(self.id).unwrap_or(usize::MAX) % KEY_COUNT
    }
}

/// Counts what was handled, and wakes who waits for the last.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    handled: AtomicU64,
    awaited: AtomicU64,
    last: Notify,
}

impl Tally {
    /// Says how many more will be handled before [`last`](Self::last) is over. Nothing may be under
    /// way.
    pub(crate) fn expect(&self, more: u64) {
        let handled = self.0.handled.load(Ordering::Acquire);
        self.0.awaited.store(handled + more, Ordering::Release);
    }

    /// One was handled.
    pub(crate) fn count(&self) {
        let handled = self.0.handled.fetch_add(1, Ordering::AcqRel) + 1;
        if handled == self.0.awaited.load(Ordering::Acquire) {
            self.0.last.notify_one();
        }
    }

    /// Waits for the last of those that were expected.
    pub(crate) async fn last(&self) {
        self.0.last.notified().await;
    }
}
