//! What crosses the sockets, and the plain function behind every server: a purchase enters, a receipt
//! leaves.

use callboard::{Event, Replies};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a client sends.
#[derive(Clone, Serialize, Deserialize, JsonSchema, Validate)]
pub(crate) struct Purchase {
    #[garde(skip)]
    pub(crate) id: u64,
    #[garde(length(min = 1, max = 40))]
    pub(crate) sku: String,
    #[garde(range(min = 1, max = 1_000))]
    pub(crate) quantity: u32,
}

/// What it is answered.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Receipt {
    pub(crate) id: u64,
    pub(crate) price: u64,
    pub(crate) text: String,
}

/// What is told to everybody.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct News {
    pub(crate) text: String,
}

impl Event for Purchase {
    const NAME: &'static str = "bench.purchase";
}
impl Replies for Purchase {
    type Reply = Receipt;
}
impl Event for Receipt {
    const NAME: &'static str = "bench.receipt";
}
impl Event for News {
    const NAME: &'static str = "bench.news";
}

/// The work of every server.
#[allow(clippy::unused_async)] // work that could wait, as that of a handler
pub(crate) async fn sell(purchase: &Purchase) -> Receipt {
    let Purchase { id, sku, quantity } = purchase;
    Receipt { id: *id, price: u64::from(*quantity) * 7, text: format!("{quantity} of {sku}") }
}

/// With which tokens are signed.
pub(crate) const SECRET: &str = "a secret of the benchmark, which is long enough";

/// What a buyer may do.
pub(crate) const PERMISSION: &str = "goods.buy";

/// From whose pages buyers come.
pub(crate) const ORIGIN: &str = "https://shop.example";

/// The purchase of the load.
pub(crate) const PURCHASE: &str = r#"{"id":7,"sku":"BOOK-1234","quantity":3}"#;

/// It, in the frame of a WebSocket.
pub(crate) fn purchase_frame() -> String {
    format!(r#"{{"event_type":"{}","payload":{PURCHASE},"id":1}}"#, Purchase::NAME)
}

/// What everybody is told.
pub(crate) fn news_frame() -> String {
    format!(r#"{{"event_type":"{}","payload":{{"text":"the shop is open"}}}}"#, News::NAME)
}
