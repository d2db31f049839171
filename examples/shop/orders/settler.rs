//! Ends the orders whose chain broke: after an error, after a crash, or by the clock.

use actix::{Actor, Context, Handler};
use callboard::{
    Delivery, Failed, HandlerFuture, Subscriber,
    db::{Db, DbError, SqliteConn},
    prelude::*,
    secs,
};
use chrono::{DateTime, Utc};

use super::super::{payments::PaymentCharged, stock::StockReserved};
use super::{Order, OrderConfirmed, OrderPlaced, OrderStatus, OrderSweep, PlaceOrder, ledger};

/// How old an order is before the sweep takes it for forgotten: no request waits so long.
const PLACED_MAX: std::time::Duration = secs(60);

/// How many forgotten orders are settled at once; the next sweep goes on.
const SETTLED_MAX: i64 = 1000;

/// Settles what a crash left `placed`. Runs before anything is served: later, an order may be
/// `placed` because it is in work.
pub async fn recover(db: &Db) -> Result<(), DbError> {
    let mut orders = 0;
    loop {
        let settled = settle_all(db, None).await?;
        orders += settled.len();
        if settled.is_empty() {
            tracing::info!(orders, "orders recovered");
            return Ok(());
        }
    }
}

/// Settles what stayed `placed` although no error fact told of it.
#[derive(Clone)]
pub struct Sweep {
    pub db: Db,
}

impl EventHandler for Sweep {
    type Input = OrderSweep;
    type Output = Vec<OrderConfirmed>;

    async fn handle(&self, _: &OrderSweep, ctx: &EventContext) -> HandlerResult<Self::Output> {
        let forgotten = settle_all(&self.db, Some((ctx.timestamp() - PLACED_MAX).into())).await?;
        Ok(forgotten.into_iter().filter_map(confirmed).collect())
    }
}

/// Settles an order as soon as one of its steps has failed.
///
/// A step that failed at a deadline may still write: its transaction goes on when its future is
/// gone. The settlement stands behind it in the line for the one writer, so it sees what was
/// written, and a step that has not begun by then finds the order ended.
#[derive(Clone)]
pub struct Settler {
    pub db: Db,
}

impl Settler {
    /// An actor, the full form of a handler, because it takes several events.
    pub fn subscriber(db: &Db) -> Subscriber<Self> {
        let settler = Self { db: db.clone() };
        Subscriber::new(move || settler.clone())
            .on::<Failed<PlaceOrder>, Option<OrderConfirmed>>()
            .on::<Failed<OrderPlaced>, Option<OrderConfirmed>>()
            .on::<Failed<StockReserved>, Option<OrderConfirmed>>()
            .on::<Failed<PaymentCharged>, Option<OrderConfirmed>>()
            .policy(Policy::default().attempts_max(5))
    }
}

impl Actor for Settler {
    type Context = Context<Self>;
}

/// An event that belongs to an order.
trait OfOrder: Event {
    fn order_id(&self) -> i64;
}

impl OfOrder for OrderPlaced {
    fn order_id(&self) -> i64 {
        self.order_id
    }
}

impl OfOrder for StockReserved {
    fn order_id(&self) -> i64 {
        self.order_id
    }
}

impl OfOrder for PaymentCharged {
    fn order_id(&self) -> i64 {
        self.order_id
    }
}

impl<E: OfOrder> Handler<Delivery<Failed<E>, Option<OrderConfirmed>>> for Settler {
    type Result = HandlerFuture<Option<OrderConfirmed>>;

    fn handle(
        &mut self,
        failed: Delivery<Failed<E>, Option<OrderConfirmed>>,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let (db, order_id) = (self.db.clone(), failed.event.order_id());
        HandlerFuture::new(async move { Ok(settle(&db, order_id).await?.and_then(confirmed)) })
    }
}

/// An order that failed to be placed has no number that anybody knows; but it may be in the
/// database, under the event that placed it.
impl Handler<Delivery<Failed<PlaceOrder>, Option<OrderConfirmed>>> for Settler {
    type Result = HandlerFuture<Option<OrderConfirmed>>;

    fn handle(
        &mut self,
        failed: Delivery<Failed<PlaceOrder>, Option<OrderConfirmed>>,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let (db, placed_by) = (self.db.clone(), failed.context().causation_id());
        HandlerFuture::new(async move {
            let Some(placed_by) = placed_by else { return Ok(None) };
            // A plain read would not wait for a placing that is being committed.
            let find = async move |conn: &mut SqliteConn| -> Result<_, DbError> {
                Ok(ledger::find_placed_by(conn, &placed_by.to_string()).await?)
            };
            match db.transaction(find).await? {
                Some(order_id) => Ok(settle(&db, order_id).await?.and_then(confirmed)),
                None => Ok(None),
            }
        })
    }
}

/// Settles the oldest orders that are `placed`, of those from before `moment` when there is one.
async fn settle_all(db: &Db, before: Option<DateTime<Utc>>) -> Result<Vec<Order>, DbError> {
    let find = async move |conn: &mut SqliteConn| -> Result<_, DbError> {
        Ok(ledger::find_open(conn, before, SETTLED_MAX).await?)
    };
    let mut settled = Vec::new();
    for order_id in db.read(find).await? {
        settled.extend(settle(db, order_id).await?);
    }
    Ok(settled)
}

async fn settle(db: &Db, order_id: i64) -> Result<Option<Order>, DbError> {
    let settle = async move |conn: &mut SqliteConn| -> Result<_, DbError> {
        Ok(ledger::settle(conn, order_id).await?)
    };
    let settled = db.transaction(settle).await?;
    if let Some(Order { status, .. }) = &settled {
        tracing::warn!(order_id, %status, "an order whose chain broke is settled");
    }
    Ok(settled)
}

fn confirmed(order: Order) -> Option<OrderConfirmed> {
    (order.status == OrderStatus::Confirmed).then_some(OrderConfirmed(order))
}
