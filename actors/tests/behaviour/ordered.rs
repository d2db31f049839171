//! The events of one key are handled in the order in which they were published, those of others at
//! the same time.

use std::collections::HashMap;
use std::sync::Arc;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Envelope, Jitter, Overflow, PublishError, millis, secs};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::play::{Log, Order, Receipt, assert_took, metrics, on, order, settle, shop};

fn by_key(concurrency: usize) -> Policy {
    Policy::default()
        .ordered_by_key()
        .concurrency(concurrency)
        .retry_delay(millis(100), millis(100))
        .retry_jitter(Jitter::None)
}

/// A shop that takes a second for each order of the key "slow" and none for the others.
async fn slow_and_quick(policy: Policy) -> (TestBus, Log) {
    let log = Log::default();
    let write = log.clone();
    let bus = shop(policy, async move |event: &Order, _: &EventContext| {
        if event.key == "slow" {
            tokio::time::sleep(secs(1)).await;
        }
        write.add(format!("{}{}", event.key, event.n));
        Ok(Receipt { n: event.n })
    })
    .await;
    (bus, log)
}

/// parity: W4
#[actix::test]
async fn a_slow_key_keeps_its_order_and_delays_no_other() {
    let (bus, log) = slow_and_quick(by_key(2)).await;
    for n in 1..=3 {
        bus.publish(order("slow", n)).await.unwrap();
    }
    for n in 1..=3 {
        bus.publish(order("quick", n)).await.unwrap();
    }
    settle().await;
    assert_eq!(log.all(), ["quick1", "quick2", "quick3"], "three slow ones wait before them");
    bus.quiet().await;
    assert_eq!(log.all()[3..], ["slow1", "slow2", "slow3"]);
}

/// parity: W4
#[actix::test]
async fn different_keys_are_handled_at_the_same_time() {
    let bus = shop(by_key(4), async |event: &Order, _: &EventContext| {
        tokio::time::sleep(secs(1)).await;
        Ok(Receipt { n: event.n })
    })
    .await;
    let begun = Instant::now();
    for n in 0..8 {
        bus.publish(order(&format!("key{}", n % 4), n)).await.unwrap();
    }
    bus.quiet().await;
    assert_took(begun, secs(2));
}

/// parity: W4
#[actix::test]
async fn a_retry_holds_its_own_key_and_no_other_even_one_at_a_time() {
    let log = Log::default();
    let write = log.clone();
    let policy = by_key(1).attempts_max(2);
    let bus = shop(policy, async move |event: &Order, ctx: &EventContext| {
        if event.n == 1 && event.key == "a" && ctx.attempt() == 1 {
            return Err(HandlerError::retry("once"));
        }
        write.add(format!("{}{}", event.key, event.n));
        Ok(Receipt { n: event.n })
    })
    .await;
    for (key, n) in [("a", 1), ("a", 2), ("b", 1), ("b", 2)] {
        bus.publish(order(key, n)).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!(log.all(), ["b1", "b2", "a1", "a2"]);
}

#[actix::test]
async fn events_without_a_key_wait_for_none() {
    let log = Log::default();
    let write = log.clone();
    let bus = shop(by_key(8), async move |event: &Order, _: &EventContext| {
        tokio::time::sleep(millis(100 * (5 - event.n).unsigned_abs())).await;
        write.add(event.n.to_string());
        Ok(Receipt { n: event.n })
    })
    .await;
    for n in 1..=4 {
        bus.publish(order("", n)).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!(log.all(), ["4", "3", "2", "1"]);
}

/// parity: W4
#[actix::test]
async fn threads_of_its_own_keep_the_order_of_a_key() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&log);
    let policy = by_key(1).blocking(3);
    let handler = on(async move |event: &Order, _: &EventContext| {
        // Takes the thread for a moment, the earlier the longer.
        for _ in 0..(20 - event.n) * 500 {
            std::hint::spin_loop();
        }
        write.lock().push((event.key.clone(), event.n));
        Ok(Receipt { n: event.n })
    });
    // Real time: a thread that blocks knows no virtual clock.
    let runtime = callboard_actors::Runtime::new()
        .mount(Domain::new("shop").handler(handler.with(policy)))
        .start()
        .await
        .unwrap();
    for n in 0..20 {
        for key in ["a", "b", "c", "d"] {
            runtime.publish(order(key, n)).await.unwrap();
        }
    }
    assert!(runtime.stop().await.is_clean());
    let log = log.lock();
    for key in ["a", "b", "c", "d"] {
        let seen: Vec<_> = log.iter().filter(|(k, _)| k == key).map(|(_, n)| *n).collect();
        assert_eq!(seen, (0..20).collect::<Vec<_>>(), "{key}");
    }
}

/// A shop that handles an order only as often as the gate lets it.
async fn gated(policy: Policy) -> (TestBus, Log, Arc<Semaphore>) {
    let (log, gate) = (Log::default(), Arc::new(Semaphore::new(0)));
    let (write, open) = (log.clone(), Arc::clone(&gate));
    let bus = shop(policy, async move |event: &Order, _: &EventContext| {
        open.acquire().await?.forget();
        write.add(format!("{}{}", event.key, event.n));
        Ok(Receipt { n: event.n })
    })
    .await;
    (bus, log, gate)
}

/// parity: W4
#[actix::test]
async fn the_oldest_that_waits_is_dropped_whatever_its_key() {
    let (bus, log, gate) = gated(by_key(1).queue_max(3).overflow(Overflow::DropOldest)).await;
    bus.publish(order("a", 1)).await.unwrap();
    settle().await;
    for (key, n) in [("a", 2), ("b", 3), ("a", 4), ("b", 5), ("c", 6)] {
        bus.publish(order(key, n)).await.unwrap();
    }
    gate.add_permits(100);
    bus.quiet().await;
    let mut handled = log.all();
    handled.sort();
    assert_eq!(handled, ["a1", "a4", "b5", "c6"]);
    assert_eq!(metrics(&bus, "shop.On").dropped, 2);
}

#[actix::test]
async fn the_oldest_is_one_that_became_ready_late() {
    let (bus, log, gate) = gated(by_key(1).queue_max(3).overflow(Overflow::DropOldest)).await;
    for (key, n) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
        bus.publish(order(key, n)).await.unwrap();
        settle().await;
    }
    // The end of a1 makes a2 ready, behind b3 and c4; b3 is taken into work.
    gate.add_permits(1);
    settle().await;
    for (key, n) in [("d", 5), ("e", 6)] {
        bus.publish(order(key, n)).await.unwrap();
    }
    gate.add_permits(100);
    bus.quiet().await;
    assert!(!log.all().contains(&"a2".to_owned()), "{:?}", log.all());
    assert!(log.all().contains(&"c4".to_owned()), "{:?}", log.all());
}

/// parity: W4
#[actix::test]
async fn the_limit_of_the_queue_counts_what_waits_for_its_key() {
    let (bus, log, gate) = gated(by_key(8).queue_max(2).overflow(Overflow::Reject)).await;
    for n in 1..=3 {
        bus.publish(order("a", n)).await.unwrap();
        settle().await;
    }
    assert_eq!(metrics(&bus, "shop.On").queue_depth, 2);
    let refused = bus.publish(order("b", 1)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Full { queue_max: 2, .. }), "{refused}");
    gate.add_permits(100);
    bus.quiet().await;
    assert_eq!(log.all(), ["a1", "a2", "a3"]);
}

/// parity: W4
#[actix::test]
async fn a_stop_handles_what_waits_for_its_key() {
    let (bus, log) = slow_and_quick(by_key(4)).await;
    for n in 1..=3 {
        bus.publish(order("slow", n)).await.unwrap();
    }
    assert!(bus.runtime().stop().await.is_clean());
    assert_eq!(log.all(), ["slow1", "slow2", "slow3"]);
}

struct Clerk(Log);

impl actix::Actor for Clerk {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Delivery<Order>> for Clerk {
    type Result = callboard_actors::HandlerFuture<()>;
    fn handle(&mut self, order: Delivery<Order>, _: &mut actix::Context<Self>) -> Self::Result {
        let log = self.0.clone();
        callboard_actors::HandlerFuture::new(async move {
            tokio::time::sleep(secs(1)).await;
            log.add(format!("{}{}", order.key, order.n));
            Ok(())
        })
    }
}

/// parity: W4
#[actix::test]
async fn one_who_leaves_handles_what_waits_for_its_key_first() {
    let log = Log::default();
    let made = log.clone();
    let bus = TestBus::start([]).await.unwrap();
    let clerk = Subscriber::new(move || Clerk(made.clone())).on::<Order, ()>().policy(by_key(4));
    let subscription = bus.subscribe("shop", clerk).await.unwrap();
    for n in 1..=3 {
        bus.publish(order("a", n)).await.unwrap();
    }
    subscription.unsubscribe().await;
    assert_eq!(log.all(), ["a1", "a2", "a3"]);
    bus.quiet().await;
}

#[actix::test]
async fn an_error_fact_has_the_key_of_its_event() {
    let keys = Log::default();
    let write = keys.clone();
    let failing =
        on(async |_: &Order, _: &EventContext| Err::<Receipt, _>(HandlerError::retry("no")));
    let listener = on(async move |fact: &Envelope, _: &EventContext| {
        write.add(fact.key().unwrap_or("none"));
        Ok(())
    });
    let bus =
        TestBus::start([Domain::new("shop").handler(failing).handler_on("**.error", listener)])
            .await
            .unwrap();
    bus.publish(order("a", 1)).await.unwrap();
    bus.publish(order("", 2)).await.unwrap();
    bus.quiet().await;
    assert_eq!(keys.all(), ["a", "none"]);
}

/// parity: W4
#[actix::test]
async fn several_publishers_keep_the_order_of_what_each_of_them_published() {
    let (bus, log) = slow_and_quick(by_key(3).queue_max(4)).await;
    let publishers = ["a", "b", "slow", "c"].map(|key| {
        let bus = bus.clone();
        actix::spawn(async move {
            for n in 0..10 {
                bus.publish(order(key, n)).await.unwrap();
                if n % 3 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for publisher in publishers {
        publisher.await.unwrap();
    }
    bus.quiet().await;
    for key in ["a", "b", "slow", "c"] {
        let all = log.all();
        let seen: Vec<_> = all.iter().filter(|entry| entry.starts_with(key)).collect();
        let expected: Vec<_> = (0..10).map(|n| format!("{key}{n}")).collect();
        assert_eq!(seen, expected.iter().collect::<Vec<_>>());
    }
}

/// An order as proptest draws it: key, milliseconds of work, attempts that fail.
type Drawn = (u8, u64, u32);

/// Publishes all, by two publishers; each attempt in the order in which it ended.
async fn handle_all(orders: Vec<Drawn>, concurrency: usize) -> Vec<(String, i64)> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (write, plan) = (Arc::clone(&log), Arc::new(orders.clone()));
    let policy = by_key(concurrency).attempts_max(3).queue_max(5);
    let policy = policy.restarts_max(10_000).restart_delay(millis(1), millis(1));
    let bus = shop(policy, async move |event: &Order, ctx: &EventContext| {
        let (_, work, failures) = plan[usize::try_from(event.n).unwrap_or_default()];
        tokio::time::sleep(millis(work)).await;
        if ctx.attempt() <= failures {
            assert!(work % 2 == 1, "as it was drawn");
            return Err(HandlerError::retry("as it was drawn"));
        }
        write.lock().push((event.key.clone(), event.n));
        Ok(Receipt { n: event.n })
    })
    .await;
    // Keys are shared out, so that each has one publisher and with it one order.
    let publishers = [0, 1].map(|half| {
        let (bus, orders) = (bus.clone(), orders.clone());
        actix::spawn(async move {
            for (n, (key, ..)) in orders.into_iter().enumerate().filter(|o| o.1.0 % 2 == half) {
                let n = i64::try_from(n).unwrap_or_default();
                bus.publish(order(&format!("key{key}"), n)).await.unwrap();
            }
        })
    });
    for publisher in publishers {
        publisher.await.unwrap();
    }
    bus.quiet().await;
    log.lock().clone()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 24, ..ProptestConfig::default()
    })]

    /// parity: W4
    #[test]
    fn for_any_keys_durations_and_failures_a_key_is_handled_in_its_order(
        orders in prop::collection::vec((0..5_u8, 0..30_u64, 0..4_u32), 1..40),
        concurrency in 1..6_usize,
    ) {
        let handled = actix::System::new().block_on(handle_all(orders.clone(), concurrency));
        let mut by_key: HashMap<String, Vec<i64>> = HashMap::new();
        for (key, n) in handled {
            by_key.entry(key).or_default().push(n);
        }
        let mut expected: HashMap<String, Vec<i64>> = HashMap::new();
        for (n, (key, _, failures)) in orders.iter().enumerate() {
            if *failures < 3 {
                expected.entry(format!("key{key}")).or_default().push(i64::try_from(n).unwrap());
            }
        }
        prop_assert_eq!(by_key, expected);
    }
}
