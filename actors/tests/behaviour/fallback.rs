//! A fallback answers when the handler could not, and only then.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Breaker, Bulkhead, DeadReason, ErrorKind, HandlerFuture, secs};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::time::sleep;

use crate::play::{Log, Order, Receipt, metrics, order, send, settle};

/// Does what its order says; its fallback answers with minus one, or does what the number says.
#[derive(Clone)]
struct Till {
    log: Log,
    policy: Policy,
}

const REPLACED: i64 = -2;
const PANIC: i64 = -3;
const STUCK: i64 = -4;
const RECODED: i64 = -5;

impl EventHandler for Till {
    type Input = Order;
    type Output = Receipt;

    async fn handle(&self, event: &Order, ctx: &EventContext) -> HandlerResult<Receipt> {
        self.log.add(format!("attempt {}", ctx.attempt()));
        match &*event.key {
            "fail" => Err(HandlerError::retry("no").code("first")),
            "panic" => panic!("the handler's"),
            "stuck" => std::future::pending().await,
            "reject" => Err(HandlerError::conflict("no")),
            "decline" => Err(HandlerError::decline()),
            _ => {
                sleep(secs(1)).await;
                Ok(Receipt { n: event.n })
            }
        }
    }

    async fn fallback(
        &self,
        event: &Order,
        error: HandlerError,
        ctx: &EventContext,
    ) -> HandlerResult<Receipt> {
        self.log.add(format!("fallback {} {}", error.error_code(), ctx.attempt()));
        match event.n {
            REPLACED => Err(HandlerError::not_found("nor here").code("second")),
            RECODED => Err(error.code("recoded")),
            PANIC => panic!("the fallback's"),
            STUCK => std::future::pending().await,
            _ => Ok(Receipt { n: -1 }),
        }
    }

    fn policy(&self) -> Policy {
        self.policy.clone()
    }
}

async fn till(policy: Policy) -> (TestBus, Log) {
    let log = Log::default();
    let till = Till { log: log.clone(), policy: policy.timeout(secs(2)) };
    (TestBus::start([Domain::new("shop").handler(till)]).await.unwrap(), log)
}

fn fallbacks(bus: &TestBus) -> (u64, u64) {
    let counted = metrics(bus, "shop.Till");
    (counted.fallbacks, counted.errors)
}

/// parity: P7
#[actix::test]
async fn it_is_asked_after_the_last_attempt_and_its_answer_is_the_reply() {
    for (key, code) in [("fail", "first"), ("panic", "panic"), ("stuck", "timeout")] {
        let (bus, log) = till(Policy::default().attempts_max(2)).await;
        assert_eq!(bus.request(order(key, 1)).await.unwrap().n, -1);
        let asked = format!("fallback {code} 2");
        assert_eq!(log.all(), ["attempt 1", "attempt 2", &asked]);
        assert_eq!(fallbacks(&bus), (1, 0), "the delivery has not failed");
        bus.quiet().await;
        assert!(bus.letters().await.is_empty());
        assert_eq!(bus.published::<Receipt>().one().n, -1);
    }
}

#[actix::test]
async fn it_is_not_asked_when_there_is_nothing_to_make_good() {
    let (bus, log) = till(Policy::default()).await;
    assert_eq!(bus.request(order("", 7)).await.unwrap().n, 7);
    assert_eq!(bus.request(order("reject", 1)).await.unwrap_err().code(), "conflict");
    assert_eq!(bus.request(order("decline", 1)).await.unwrap_err().code(), "no_handler");
    let gone = bus.request(order("stuck", 1)).timeout(secs(1)).await.unwrap_err();
    assert_eq!(gone.code(), "timeout");
    bus.quiet().await;
    assert_eq!(log.all(), ["attempt 1"; 4]);
    assert_eq!(fallbacks(&bus).0, 0);
}

/// parity: P7
#[actix::test]
async fn it_answers_while_the_breaker_is_open() {
    let (bus, log) = till(Policy::default().breaker(Breaker::consecutive(1))).await;
    for _ in 0..3 {
        assert_eq!(bus.request(order("fail", 1)).await.unwrap().n, -1);
    }
    let open = "fallback breaker_open 0";
    assert_eq!(log.all(), ["attempt 1", "fallback first 1", open, open]);
    assert_eq!((fallbacks(&bus), metrics(&bus, "shop.Till").circuit_broken), ((3, 0), 2));
}

/// parity: P7
#[actix::test]
async fn it_answers_when_the_bulkhead_is_full() {
    let gateway = Bulkhead::new("gateway", 1).wait_max(secs(0));
    let (bus, log) = till(Policy::default().bulkhead(gateway)).await;
    let first = send(&bus, "", 5);
    settle().await;
    assert_eq!(bus.request(order("", 6)).await.unwrap().n, -1);
    assert_eq!(first.await.unwrap().unwrap().n, 5);
    assert_eq!(log.all(), ["attempt 1", "fallback bulkhead_full 0"]);
}

#[actix::test]
async fn its_error_replaces_the_error() {
    let (bus, _) = till(Policy::default()).await;
    let error = bus.request(order("fail", REPLACED)).await.unwrap_err();
    assert_eq!(error.code(), "second");
    let error = bus.request(order("panic", RECODED)).await.unwrap_err();
    assert_eq!(error.code(), "recoded");
    assert_eq!(fallbacks(&bus), (0, 2));
}

#[actix::test]
async fn its_panic_and_its_timeout_leave_the_first_error() {
    for how in [PANIC, STUCK] {
        let (bus, _) = till(Policy::default()).await;
        for (key, text) in [("fail", "first: no"), ("panic", "panic: the handler's")] {
            let error = bus.request(order(key, how)).await.unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
        bus.quiet().await;
        assert_eq!(fallbacks(&bus), (0, 2));
        let letters = bus.letters().await;
        assert!(matches!(&letters[0].reason, DeadReason::Failed(e) if e.error_code() == "first"));
        assert_eq!(bus.request(order("", 7)).await.unwrap().n, 7, "the handler goes on");
    }
}

struct Clerk;

impl actix::Actor for Clerk {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Delivery<Order, Receipt>> for Clerk {
    type Result = HandlerFuture<Receipt>;
    fn handle(
        &mut self,
        _: Delivery<Order, Receipt>,
        _: &mut actix::Context<Self>,
    ) -> Self::Result {
        HandlerFuture::new(async { Err(HandlerError::retry("no")) })
    }
}

/// parity: P7
#[actix::test]
async fn an_actor_has_one_too() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&seen);
    let clerk = Subscriber::new(|| Clerk).on_or::<Order, Receipt>(
        async move |event: &Order, error: HandlerError, ctx: &EventContext| {
            write.lock().push((event.n, error.kind(), ctx.attempt()));
            ctx.publish(Receipt { n: 10 });
            Ok(Receipt { n: 11 })
        },
    );
    let bus = TestBus::start([Domain::new("shop").actor(clerk)]).await.unwrap();
    let tracked = bus.publish_tracked(order("", 4)).await.unwrap();
    let receipts: Vec<_> = tracked.published::<Receipt>().all().iter().map(|r| r.n).collect();
    assert_eq!(receipts, [10, 11]);
    assert_eq!(*seen.lock(), [(4, ErrorKind::Retry, 1)]);
    assert_eq!(metrics(&bus, "shop.Clerk").fallbacks, 1);
}
