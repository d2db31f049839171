//! Whatever breaks the chain of an order, the order ends and every item is where it belongs.

use std::sync::Arc;

use callboard::{
    EventQuery, RequestError,
    db::{Db, SqliteConn},
    millis,
    prelude::*,
    secs,
};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::shop::orders::{
    OrderConfirmed, OrderPlaced,
    OrderStatus::{Abandoned, Confirmed, Placed},
    OrderSweep, PricedItem, ledger, recover,
};
use super::shop::payments::PaymentCharged;
use super::shop::stock::{ItemsPriced, ReleaseStock, StockReserved};
use super::{Shop, audit, connect, dsn_in, statuses};

/// Stands in for the payment domain: does a part of its work, tells that it did, and hangs.
#[derive(Clone)]
struct Hang {
    db: Db,
    part: Part,
    hangs: Arc<Notify>,
}

#[derive(Clone)]
enum Part {
    Nothing,
    /// The payment is in the database, but nobody is told.
    Charged,
    /// The payment is being written, and is committed when the test says so.
    Charging(Arc<Mutex<Option<oneshot::Receiver<()>>>>),
}

impl EventHandler for Hang {
    type Input = StockReserved;
    type Output = PaymentCharged;

    async fn handle(
        &self,
        event: &StockReserved,
        _: &EventContext,
    ) -> HandlerResult<PaymentCharged> {
        let (order_id, amount, hangs) = (event.order_id, event.total, Arc::clone(&self.hangs));
        match &self.part {
            Part::Nothing => {}
            Part::Charged => {
                let charge =
                    async move |conn: &mut SqliteConn| ledger::charge(conn, order_id, amount).await;
                self.db.transaction(charge).await?;
            }
            Part::Charging(commit) => {
                let commit = commit.lock().take().unwrap();
                let charge = async move |conn: &mut SqliteConn| {
                    hangs.notify_one();
                    commit.await.unwrap();
                    ledger::charge(conn, order_id, amount).await
                };
                self.db.transaction(charge).await?;
            }
        }
        self.hangs.notify_one();
        std::future::pending().await
    }
}

/// A shop whose payments hang, and the sign that one does.
async fn hanging(part: Part) -> (Shop, Arc<Notify>) {
    let db = connect("sqlite::memory:").await;
    let hangs = Arc::new(Notify::new());
    let hang = Hang { db: db.clone(), part, hangs: Arc::clone(&hangs) };
    (Shop::over(&db, Domain::new("payment").requests::<ReleaseStock>().handler(hang)).await, hangs)
}

/// Lets the time of every requester be over, in no time.
async fn pass_the_deadline() {
    tokio::time::pause();
    tokio::time::advance(secs(31)).await;
    tokio::time::resume();
}

/// Orders one mug, and lets the deadline pass when the chain hangs.
async fn order_in_vain(shop: &Shop, hangs: &Notify) {
    let passes = async {
        hangs.notified().await;
        assert_eq!(shop.status(1).await, Placed);
        pass_the_deadline().await;
    };
    let (outcome, ()) = tokio::join!(shop.order(&[("MUG", 1)]), passes);
    assert!(matches!(outcome, Err(RequestError::Timeout { .. })), "{outcome:?}");
}

#[actix::test]
async fn a_deadline_before_the_payment_gives_the_reservation_back() {
    let (shop, hangs) = hanging(Part::Nothing).await;
    order_in_vain(&shop, &hangs).await;
    assert_eq!(statuses(&shop.close().await), [Abandoned]);
}

#[actix::test]
async fn a_deadline_after_the_payment_completes_the_order() {
    let (shop, hangs) = hanging(Part::Charged).await;
    order_in_vain(&shop, &hangs).await;
    shop.bus.quiet().await;
    assert_eq!(shop.bus.published::<OrderConfirmed>().one().0.status, Confirmed);
    assert_eq!(statuses(&shop.close().await), [Confirmed]);
}

#[actix::test]
async fn a_payment_that_is_committed_after_the_deadline_counts() {
    let (commit, committing) = oneshot::channel();
    let (shop, hangs) = hanging(Part::Charging(Arc::new(Mutex::new(Some(committing))))).await;
    let passes = async {
        hangs.notified().await;
        pass_the_deadline().await;
    };
    let (outcome, ()) = tokio::join!(shop.order(&[("MUG", 1)]), passes);
    assert!(matches!(outcome, Err(RequestError::Timeout { .. })), "{outcome:?}");
    commit.send(()).unwrap();
    assert_eq!(statuses(&shop.close().await), [Confirmed]);
}

#[actix::test]
async fn an_order_that_is_committed_after_the_deadline_is_abandoned_at_once() {
    let (shop, folder) = Shop::open_file().await;
    // To SQLite this is another process, which has the lock of the file.
    let other = connect(&dsn_in(&folder)).await;
    let (locked, is_locked) = oneshot::channel();
    let (unlock, unlocked) = oneshot::channel::<()>();
    let lock = other.transaction(async move |_: &mut SqliteConn| -> HandlerResult<()> {
        locked.send(()).unwrap();
        Ok(unlocked.await?)
    });
    let passes = async {
        is_locked.await.unwrap();
        let order = actix::spawn(shop.bus.request(shop.cart(&[("MUG", 1)])).into_future());
        // From the prices to the transaction everything is on this thread and needs a few turns.
        for _ in 0..1000 {
            while shop.bus.published::<ItemsPriced>().count() == 0 {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
        }
        pass_the_deadline().await;
        unlock.send(()).unwrap();
        order.await.unwrap()
    };
    let (lock, outcome) = tokio::join!(lock, passes);
    lock.unwrap();
    assert!(matches!(outcome, Err(RequestError::Timeout { .. })), "{outcome:?}");
    assert_eq!(statuses(&shop.close().await), [Abandoned]);
}

/// Orders again and again, with deadlines that end here and there in the chain.
async fn order_impatiently(shop: Shop) {
    for wave in 1..=8 {
        let skus = ["BOOK", "MUG", "DECLINE"].iter().cycle();
        let orders = (1..=15).zip(skus).map(async |(n, sku)| {
            let cart = shop.cart(&[(*sku, 1)]);
            shop.bus.request(cart).timeout(millis(n * wave)).await
        });
        for error in join_all(orders).await.into_iter().filter_map(Result::err) {
            let known = ["timeout", "out_of_stock", "payment_declined"];
            assert!(known.contains(&error.code()), "{error}");
        }
    }
    shop.close().await;
}

#[actix::test]
async fn short_deadlines_lose_nothing_in_memory() {
    order_impatiently(Shop::open().await).await;
}

#[actix::test]
async fn short_deadlines_lose_nothing_in_a_file() {
    let (shop, _folder) = Shop::open_file().await;
    order_impatiently(shop).await;
}

/// An order as a crash may have left it.
async fn left(db: &Db, at: DateTime<Utc>, name: &str, steps: &[Step]) -> i64 {
    let order =
        ledger::NewOrder { placed_by: name.to_owned(), user_id: 1, total: 2400, created_at: at };
    let items = [PricedItem { sku: "MUG".to_owned(), quantity: 3, price: 800 }];
    let steps = steps.to_vec();
    let work = async move |conn: &mut SqliteConn| -> HandlerResult<i64> {
        let order_id = ledger::place(conn, &order, &items).await?;
        for step in steps {
            match step {
                Reserve => drop(ledger::reserve(conn, order_id).await?),
                Charge => ledger::charge(conn, order_id, order.total).await?,
                Confirm => ledger::confirm(conn, order_id).await?,
            }
        }
        Ok(order_id)
    };
    db.transaction(work).await.unwrap()
}

#[derive(Clone, Copy)]
enum Step {
    Reserve,
    Charge,
    Confirm,
}
use Step::{Charge, Confirm, Reserve};

#[actix::test]
async fn recovery_completes_what_is_paid_and_releases_the_rest() {
    let shop = Shop::open().await;
    left(&shop.db, Utc::now(), "a", &[]).await;
    left(&shop.db, Utc::now(), "b", &[Reserve]).await;
    left(&shop.db, Utc::now(), "c", &[Reserve, Charge]).await;
    left(&shop.db, Utc::now(), "d", &[Reserve, Charge, Confirm]).await;
    // A clock that was set back must not hide an order.
    left(&shop.db, Utc::now() + secs(86_400), "e", &[]).await;
    assert_eq!(shop.available("MUG").await, 1);
    recover(&shop.db).await.unwrap();
    assert_eq!(shop.available("MUG").await, 4);
    let ended = statuses(&audit(&shop.db).await);
    assert_eq!(ended, [Abandoned, Abandoned, Confirmed, Confirmed, Abandoned]);
    recover(&shop.db).await.unwrap();
    assert_eq!(statuses(&shop.close().await), ended, "a second time changes nothing");
}

#[actix::test]
async fn the_sweep_settles_what_has_been_placed_for_a_minute() {
    let shop = Shop::open().await;
    let ago = |seconds| Utc::now() - secs(seconds);
    left(&shop.db, ago(61), "a", &[Reserve]).await;
    left(&shop.db, ago(61), "b", &[Reserve, Charge]).await;
    let fresh = left(&shop.db, ago(30), "c", &[Reserve]).await;
    let tracked = shop.bus.publish_tracked(OrderSweep {}).await.unwrap();
    assert_eq!(tracked.names(), ["order.sweep", "order.confirmed"]);
    assert_eq!(shop.status(fresh).await, Placed, "somebody may still work on it");
    let swept = shop.bus.events(&EventQuery::default().event_type("order.sweep"));
    assert!(swept[0].ok && swept[0].handler == "order.Sweep", "{swept:?}");

    pass_the_deadline().await;
    shop.bus.publish_tracked(OrderSweep {}).await.unwrap();
    assert_eq!(statuses(&shop.close().await), [Abandoned, Confirmed, Abandoned]);
}

#[actix::test]
async fn a_step_that_comes_too_late_is_refused() {
    let shop = Shop::open().await;
    let order_id = left(&shop.db, Utc::now(), "a", &[]).await;
    recover(&shop.db).await.unwrap();
    let (user_id, items, total) = (shop.user_id, Vec::new(), 2400);
    let placed = OrderPlaced { order_id, user_id, items: items.clone(), total };
    let late = shop.bus.publish_tracked(placed).await.unwrap();
    assert_eq!(late.names(), ["order.placed", "order.placed.error"]);
    let reserved = StockReserved { order_id, items, total };
    let late = shop.bus.publish_tracked(reserved).await.unwrap();
    assert_eq!(late.names(), ["stock.reserved", "stock.reserved.error"]);
    let charged = PaymentCharged { order_id, amount: total };
    let late = shop.bus.publish_tracked(charged).await.unwrap();
    assert_eq!(late.names(), ["payment.charged", "payment.charged.error"]);
    assert_eq!(statuses(&shop.close().await), [Abandoned]);
}

#[actix::test]
async fn a_step_that_is_run_twice_changes_nothing() {
    let shop = Shop::open().await;
    let twice = [Reserve, Reserve, Charge, Charge];
    let order_id = left(&shop.db, Utc::now(), "a", &twice).await;
    assert_eq!(shop.available("MUG").await, 7);
    assert_eq!(left(&shop.db, Utc::now(), "a", &twice).await, order_id);
    let charged = PaymentCharged { order_id, amount: 2400 };
    for _ in 0..2 {
        let tracked = shop.bus.publish_tracked(charged.clone()).await.unwrap();
        assert_eq!(tracked.names(), ["payment.charged", "order.confirmed"]);
    }
    assert_eq!(statuses(&shop.close().await), [Confirmed]);
}

#[actix::test]
async fn a_step_needs_the_one_before() {
    let shop = Shop::open().await;
    let order_id = left(&shop.db, Utc::now(), "a", &[Confirm]).await;
    assert_eq!(shop.status(order_id).await, Placed, "it is not paid");
    let charge = async move |conn: &mut SqliteConn| ledger::charge(conn, order_id, 2400).await;
    let error = shop.db.transaction(charge).await.unwrap_err();
    assert_eq!(error.error_code(), "nothing_reserved");
    recover(&shop.db).await.unwrap();
    let reserve = async move |conn: &mut SqliteConn| ledger::reserve(conn, order_id).await;
    let error = shop.db.transaction(reserve).await.unwrap_err();
    assert_eq!(error.error_code(), "order_closed");
    assert_eq!(statuses(&shop.close().await), [Abandoned]);
}
