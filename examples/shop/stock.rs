//! The stock domain: what things cost, and how many there are.

use std::collections::HashMap;

use callboard::http::Routes;
use callboard::{
    db::{Db, SqliteConn},
    prelude::*,
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    orders::{
        Item, OrderPlaced, OrderStatus, PricedItem,
        ledger::{self, Reservation},
    },
    schema::stock,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FindStock {
    pub sku: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StockFound {
    pub sku: String,
    pub available: i64,
}

impl Event for FindStock {
    const NAME: &'static str = "stock.find";
}
impl Event for StockFound {
    const NAME: &'static str = "stock.found";
}
impl Replies for FindStock {
    type Reply = StockFound;
}

/// Asks what things cost.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PriceItems {
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ItemsPriced {
    pub items: Vec<PricedItem>,
}

impl Event for PriceItems {
    const NAME: &'static str = "stock.price";
}
impl Event for ItemsPriced {
    const NAME: &'static str = "stock.priced";
}
impl Replies for PriceItems {
    type Reply = ItemsPriced;
}

/// All items of the order have been taken out of the stock.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StockReserved {
    pub order_id: i64,
    pub items: Vec<PricedItem>,
    pub total: i64,
}

impl Event for StockReserved {
    const NAME: &'static str = "stock.reserved";
}

/// Gives back what is reserved for an order whose payment was refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseStock {
    pub order_id: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StockReleased {
    pub order_id: i64,
}

impl Event for ReleaseStock {
    const NAME: &'static str = "stock.release";
}
impl Event for StockReleased {
    const NAME: &'static str = "stock.released";
}
impl Replies for ReleaseStock {
    type Reply = StockReleased;
}

pub fn domain(db: &Db) -> Domain {
    Domain::new("stock")
        .handler(Find { db: db.clone() })
        .handler(Price { db: db.clone() })
        .handler(Reserve { db: db.clone() })
        .handler(Release { db: db.clone() })
}

pub fn routes() -> Routes {
    Routes::new().get::<FindStock>("/stock/{sku}")
}

#[derive(Clone)]
struct Find {
    db: Db,
}

impl EventHandler for Find {
    type Input = FindStock;
    type Output = StockFound;

    async fn handle(&self, wanted: &FindStock, _: &EventContext) -> HandlerResult<StockFound> {
        let sku = wanted.sku.clone();
        self.db
            .read(async move |conn: &mut SqliteConn| {
                let available = stock::table.find(&sku).select(stock::available);
                match available.first(conn).await.optional()? {
                    Some(available) => Ok(StockFound { sku, available }),
                    None => Err(unknown(&sku)),
                }
            })
            .await
    }
}

#[derive(Clone)]
struct Price {
    db: Db,
}

impl EventHandler for Price {
    type Input = PriceItems;
    type Output = ItemsPriced;

    async fn handle(&self, wanted: &PriceItems, _: &EventContext) -> HandlerResult<ItemsPriced> {
        let items = wanted.items.clone();
        self.db
            .read(async move |conn: &mut SqliteConn| {
                let known = stock::table.filter(stock::sku.eq_any(items.iter().map(|i| &i.sku)));
                let prices = known.select((stock::sku, stock::price)).load(conn).await?;
                let prices: HashMap<String, i64> = prices.into_iter().collect();
                let price = |Item { sku, quantity }| match prices.get(&sku) {
                    Some(&price) => Ok(PricedItem { sku, quantity, price }),
                    None => Err(unknown(&sku)),
                };
                let items = items.into_iter().map(price).collect::<HandlerResult<_>>()?;
                Ok(ItemsPriced { items })
            })
            .await
    }
}

#[derive(Clone)]
struct Reserve {
    db: Db,
}

impl EventHandler for Reserve {
    type Input = OrderPlaced;
    type Output = StockReserved;

    async fn handle(&self, placed: &OrderPlaced, _: &EventContext) -> HandlerResult<StockReserved> {
        let OrderPlaced { order_id, items, total, .. } = placed.clone();
        let reserve = async move |conn: &mut SqliteConn| ledger::reserve(conn, order_id).await;
        match self.db.transaction(reserve).await? {
            Reservation::Made => Ok(StockReserved { order_id, items, total }),
            Reservation::Short(sku) => {
                let refused = HandlerError::conflict(format!("there is not enough {sku} in stock"));
                let details = json!({ "sku": sku, "order_id": order_id });
                Err(refused.code("out_of_stock").details(details))
            }
        }
    }

    fn policy(&self) -> Policy {
        Policy::default().attempts_max(3)
    }
}

#[derive(Clone)]
struct Release {
    db: Db,
}

impl EventHandler for Release {
    type Input = ReleaseStock;
    type Output = StockReleased;

    async fn handle(
        &self,
        refused: &ReleaseStock,
        _: &EventContext,
    ) -> HandlerResult<StockReleased> {
        let order_id = refused.order_id;
        self.db
            .transaction(async move |conn: &mut SqliteConn| {
                ledger::close(conn, order_id, OrderStatus::Declined).await?;
                Ok(StockReleased { order_id })
            })
            .await
    }

    fn policy(&self) -> Policy {
        Policy::default().attempts_max(3)
    }
}

fn unknown(sku: &str) -> HandlerError {
    let error = HandlerError::not_found(format!("the shop has no {sku}"));
    error.code("unknown_sku").details(json!({ "sku": sku }))
}
