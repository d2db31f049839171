//! The order domain: begins the chain that reserves and charges, and ends it in one way or another.
//!
//! ```text
//! order.place ─▶ order.placed ─▶ stock.reserved ─▶ payment.charged ─▶ order.confirmed
//! ```
//!
//! **Invariant:** what is in stock, what is reserved for `placed` orders and what `confirmed` orders
//! took add up to what was ever put in. An order leaves `placed` once, in the transaction that also
//! hands its reservation over or gives it back, so that neither a crash nor a deadline between two
//! steps can lose an item or sell it twice.
//!
//! **Invariant:** `order.confirmed` is published after its commit: whoever was told 201 finds the
//! order after a power cut. Whoever was told nothing has an order that is confirmed with a payment,
//! or not confirmed and with nothing reserved, because everything that breaks a chain settles it:
//!
//! | what broke it | who settles |
//! |---|---|
//! | a step failed, panicked, or met the requester's deadline | [`Settler`], told by the error fact |
//! | the event of the next step was not delivered | [`Sweep`], by the clock |
//! | the process died | [`recover`], before anything is served |

mod events;
mod settler;
mod status;

pub mod ledger;

use std::collections::HashSet;

use callboard::http::{Route, Routes};
use callboard::{
    db::{Db, SqliteConn},
    prelude::*,
};

pub use events::{
    FindOrder, Item, Order, OrderConfirmed, OrderFound, OrderPlaced, OrderSweep, PlaceOrder,
    PricedItem,
};
pub use settler::recover;
pub use status::OrderStatus;

use super::{
    invalid::invalid,
    payments::PaymentCharged,
    stock::{ItemsPriced, PriceItems},
    users::FindUser,
};
use events::{ITEMS_MAX, QUANTITY_MAX};
use ledger::NewOrder;
use settler::{Settler, Sweep};

pub fn domain(db: &Db) -> Domain {
    Domain::new("order")
        .requests::<FindUser>()
        .requests::<PriceItems>()
        .handler(Place { db: db.clone() })
        .handler(Confirm { db: db.clone() })
        .handler(Find { db: db.clone() })
        .handler(Sweep { db: db.clone() })
        .actor(Settler::subscriber(db))
}

pub fn routes() -> Routes {
    let place = Route::post::<PlaceOrder>("/orders").status(201);
    Routes::new()
        .route(place.error_status("payment_declined", 402).idempotent())
        .get::<FindOrder>("/orders/{order_id}")
}

#[derive(Clone)]
struct Place {
    db: Db,
}

impl EventHandler for Place {
    type Input = PlaceOrder;
    type Output = OrderPlaced;

    async fn handle(&self, order: &PlaceOrder, ctx: &EventContext) -> HandlerResult<OrderPlaced> {
        check(&order.items)?;
        let user_id = order.user_id;
        ctx.request(FindUser { user_id }).await?;
        let ItemsPriced { items } = ctx.request(PriceItems { items: order.items.clone() }).await?;
        let total = items.iter().map(|item| item.quantity * item.price).sum();
        let order = NewOrder {
            placed_by: ctx.event_id().to_string(),
            user_id,
            total,
            created_at: ctx.timestamp().into(),
        };
        self.db
            .transaction(async move |conn: &mut SqliteConn| {
                let order_id = ledger::place(conn, &order, &items).await?;
                Ok(OrderPlaced { order_id, user_id, items, total })
            })
            .await
    }

    fn policy(&self) -> Policy {
        // As every step of the chain, it changes nothing when it is run again.
        Policy::default().attempts_max(3)
    }
}

#[derive(Clone)]
struct Confirm {
    db: Db,
}

impl EventHandler for Confirm {
    type Input = PaymentCharged;
    type Output = OrderConfirmed;

    async fn handle(
        &self,
        charged: &PaymentCharged,
        _: &EventContext,
    ) -> HandlerResult<OrderConfirmed> {
        let order_id = charged.order_id;
        self.db
            .transaction(async move |conn: &mut SqliteConn| {
                ledger::confirm(conn, order_id).await?;
                match ledger::find(conn, order_id).await? {
                    Some(order) if order.status == OrderStatus::Confirmed => {
                        Ok(OrderConfirmed(order))
                    }
                    Some(order) => Err(ledger::too_late(order_id, order.status)),
                    None => Err(ledger::not_found(order_id)),
                }
            })
            .await
    }

    fn policy(&self) -> Policy {
        Policy::default().attempts_max(3)
    }
}

#[derive(Clone)]
struct Find {
    db: Db,
}

impl EventHandler for Find {
    type Input = FindOrder;
    type Output = OrderFound;

    async fn handle(&self, wanted: &FindOrder, _: &EventContext) -> HandlerResult<OrderFound> {
        let order_id = wanted.order_id;
        self.db
            .read(async move |conn: &mut SqliteConn| {
                let order = ledger::find(conn, order_id).await?;
                order.map(OrderFound).ok_or_else(|| ledger::not_found(order_id))
            })
            .await
    }
}

fn check(items: &[Item]) -> HandlerResult<()> {
    if items.is_empty() {
        return Err(invalid("items", "an order has at least one item"));
    }
    if items.len() > ITEMS_MAX {
        return Err(invalid("items", format!("an order has at most {ITEMS_MAX} items")));
    }
    let mut skus = HashSet::new();
    for (line, item) in items.iter().enumerate() {
        if !(1..=QUANTITY_MAX).contains(&item.quantity) {
            let field = format!("items[{line}].quantity");
            return Err(invalid(field, format!("a quantity is from 1 to {QUANTITY_MAX}")));
        }
        if !skus.insert(&item.sku) {
            let field = format!("items[{line}].sku");
            return Err(invalid(field, "an earlier item has the same sku: put them into one"));
        }
    }
    Ok(())
}
