//! The payment domain: charges the customer's card, or is refused.

use callboard::{
    db::{Db, SqliteConn},
    prelude::*,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    orders::{PricedItem, ledger},
    stock::{ReleaseStock, StockReserved},
};

/// What no bank pays for: the way to see a payment fail.
const REFUSED_SKU: &str = "DECLINE";

/// The order is paid.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCharged {
    pub order_id: i64,
    /// In cents.
    pub amount: i64,
}

impl Event for PaymentCharged {
    const NAME: &'static str = "payment.charged";
}

pub fn domain(db: &Db) -> Domain {
    Domain::new("payment").requests::<ReleaseStock>().handler(Charge { db: db.clone() })
}

#[derive(Clone)]
struct Charge {
    db: Db,
}

impl EventHandler for Charge {
    type Input = StockReserved;
    type Output = PaymentCharged;

    async fn handle(
        &self,
        reserved: &StockReserved,
        ctx: &EventContext,
    ) -> HandlerResult<PaymentCharged> {
        let (order_id, amount) = (reserved.order_id, reserved.total);
        if !bank_pays(&reserved.items) {
            // First: whoever reads the refusal finds the items back in stock.
            ctx.request(ReleaseStock { order_id }).await?;
            let refused = HandlerError::conflict("the bank refused the payment");
            return Err(refused.code("payment_declined").details(json!({ "order_id": order_id })));
        }
        self.db
            .transaction(async move |conn: &mut SqliteConn| {
                ledger::charge(conn, order_id, amount).await?;
                Ok(PaymentCharged { order_id, amount })
            })
            .await
    }

    fn policy(&self) -> Policy {
        Policy::default().attempts_max(3)
    }
}

fn bank_pays(items: &[PricedItem]) -> bool {
    items.iter().all(|item| item.sku != REFUSED_SKU)
}
