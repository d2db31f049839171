//! What the order domain takes and publishes.

use callboard::prelude::*;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::schema::order_items;
use super::status::OrderStatus;

/// The most lines of one order.
pub const ITEMS_MAX: usize = 100;

/// The most of one thing in one order.
pub const QUANTITY_MAX: i64 = 10_000;

/// So many of one thing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Item {
    /// No two items of an order have the same.
    pub sku: String,
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: i64,
}

/// So many of one thing, and what one of them costs, in cents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Queryable, Selectable)]
#[diesel(table_name = order_items)]
pub struct PricedItem {
    pub sku: String,
    pub quantity: i64,
    pub price: i64,
}

/// An order as the world sees it; the total is in cents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_field_names)] // in JSON it stands beside `user_id`
pub struct Order {
    pub order_id: i64,
    pub user_id: i64,
    pub items: Vec<PricedItem>,
    pub total: i64,
    pub status: OrderStatus,
    pub created_at: DateTime<Utc>,
}

/// Orders goods; the answer is the confirmed order, from the end of the chain.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({ "user_id": 1, "items": [{ "sku": "BOOK", "quantity": 2 }] }))]
pub struct PlaceOrder {
    pub user_id: i64,
    #[schemars(length(min = 1, max = ITEMS_MAX))]
    pub items: Vec<Item>,
}

/// The order is written down; nothing is reserved yet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrderPlaced {
    pub order_id: i64,
    pub user_id: i64,
    pub items: Vec<PricedItem>,
    pub total: i64,
}

/// The order is paid, and this is on the disk.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrderConfirmed(pub Order);

impl Event for PlaceOrder {
    const NAME: &'static str = "order.place";
}
impl Event for OrderPlaced {
    const NAME: &'static str = "order.placed";
}
impl Event for OrderConfirmed {
    const NAME: &'static str = "order.confirmed";
}
impl Replies for PlaceOrder {
    type Reply = OrderConfirmed;
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FindOrder {
    pub order_id: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrderFound(pub Order);

impl Event for FindOrder {
    const NAME: &'static str = "order.find";
}
impl Event for OrderFound {
    const NAME: &'static str = "order.found";
}
impl Replies for FindOrder {
    type Reply = OrderFound;
}

/// Settles the orders that nobody works on any more; the clock publishes it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrderSweep {}

impl Event for OrderSweep {
    const NAME: &'static str = "order.sweep";
}
