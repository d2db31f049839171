//! A failed delivery is tried again as its policy says: no oftener, no later, and for nobody who has
//! left.

use std::sync::Arc;
use std::time::Duration;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{DeadReason, Failed, Failure, Jitter, RequestError, millis, secs};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::play::{
    Log, Order, Receipt, SetOnDrop, assert_took, metrics, order, send, settle, shop,
};

fn retrying(attempts: u32) -> Policy {
    Policy::default().attempts_max(attempts).retry_jitter(Jitter::None).timeout(secs(1))
}

/// How often an order is tried that fails in the way of its key.
async fn attempts(policy: Policy, failure: &str) -> usize {
    let tries = Log::default();
    let write = tries.clone();
    let bus = shop(policy, async move |event: &Order, _: &EventContext| {
        write.add("try");
        match &*event.key {
            "panic" => panic!("as it was told"),
            "timeout" => std::future::pending().await,
            "busy" => Err(HandlerError::retry("later").code("busy")),
            "rejected" => Err(HandlerError::conflict("no").code("busy")),
            _ => Err(HandlerError::retry("no")),
        }
    })
    .await;
    bus.publish(order(failure, 1)).await.unwrap();
    bus.quiet().await;
    let letters = bus.letters().await;
    assert_eq!(letters[0].attempts as usize, tries.len(), "a dead letter counts real attempts");
    assert_eq!(metrics(&bus, "shop.On").retries, u64::from(letters[0].attempts) - 1);
    tries.len()
}

#[actix::test]
async fn each_failure_has_its_own_number_of_attempts() {
    let policy = || {
        retrying(2)
            .attempts_for(Failure::Timeout, 3)
            .attempts_for(Failure::Panic, 4)
            .attempts_for(Failure::Code("busy"), 5)
    };
    for (failure, expected) in
        [("error", 2), ("timeout", 3), ("panic", 4), ("busy", 5), ("rejected", 1)]
    {
        assert_eq!(attempts(policy(), failure).await, expected, "{failure}");
    }
    assert_eq!(attempts(retrying(6).attempts_for(Failure::Error, 1), "error").await, 1);
}

/// The pauses between ten attempts that all fail.
async fn pauses(jitter: Jitter) -> Vec<Duration> {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&begun);
    let policy = retrying(10).retry_delay(millis(100), secs(1)).retry_jitter(jitter);
    let bus = shop(policy, async move |_: &Order, _: &EventContext| {
        write.lock().push(Instant::now());
        Err(HandlerError::retry("no"))
    })
    .await;
    bus.publish(order("", 1)).await.unwrap();
    bus.quiet().await;
    let begun = begun.lock();
    begun.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[actix::test]
async fn pauses_double_up_to_their_cap_and_stay_within_the_bounds_of_their_jitter() {
    let whole = [100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000].map(millis);
    let round = millis(3);
    let none = pauses(Jitter::None).await;
    for (pause, whole) in none.iter().zip(whole) {
        assert!((whole..whole + round).contains(pause), "{none:?}");
    }
    let equal = pauses(Jitter::Equal).await;
    for (pause, whole) in equal.iter().zip(whole) {
        assert!((whole / 2..whole + round).contains(pause), "{equal:?}");
    }
    let full = pauses(Jitter::Full).await;
    assert!(full.iter().zip(whole).all(|(pause, whole)| *pause < whole + round), "{full:?}");
    assert!(full.iter().zip(whole).any(|(pause, whole)| *pause < whole / 2), "{full:?}");
    assert_eq!([none.len(), equal.len(), full.len()], [9; 3]);
}

#[actix::test]
async fn no_attempt_begins_after_the_time_for_retries_is_over() {
    let policy = retrying(100).retry_delay(millis(100), millis(100)).retry_within(millis(450));
    assert_eq!(attempts(policy, "error").await, 5, "at 0, 100, 200, 300 and 400 ms");
}

#[actix::test]
async fn a_snooze_uses_up_no_attempt_and_is_no_error() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&seen);
    let bus = shop(retrying(2).retry_delay(millis(10), millis(10)), {
        async move |_: &Order, ctx: &EventContext| {
            write.lock().push(ctx.attempt());
            match write.lock().len() {
                1..=3 | 5 => Err(HandlerError::snooze(secs(60))),
                4 => Err(HandlerError::retry("once")),
                n => Ok(Receipt { n: i64::try_from(n).unwrap() }),
            }
        }
    })
    .await;
    let begun = Instant::now();
    let reply = bus.request(order("", 1)).timeout(secs(1000)).await.unwrap();
    assert_eq!(reply.n, 6);
    assert_took(begun, secs(240) + millis(10));
    assert_eq!(*seen.lock(), [1, 1, 1, 1, 2, 2]);
    let counted = metrics(&bus, "shop.On");
    assert_eq!((counted.retries, counted.errors, counted.processed), (1, 0, 1));
}

/// parity: W30
#[actix::test]
async fn a_deadline_during_a_pause_ends_the_retries() {
    let tries = Log::default();
    let write = tries.clone();
    let policy = retrying(100).retry_delay(secs(10), secs(10));
    let bus = shop(policy, async move |_: &Order, _: &EventContext| {
        write.add("try");
        Err(HandlerError::retry("no"))
    })
    .await;
    let begun = Instant::now();
    let error = bus.request(order("", 1)).timeout(secs(15)).await.unwrap_err();
    assert!(matches!(error, RequestError::Timeout { after, .. } if after == secs(15)), "{error}");
    bus.quiet().await;
    assert!(begun.elapsed() <= secs(15), "a pause that ends too late is not even begun");
    tokio::time::sleep(secs(1000)).await;
    assert_eq!(tries.len(), 2, "at 0 and 10 s");
    assert_eq!(bus.letters().await[0].attempts, 2);
}

/// parity: W30
#[actix::test]
async fn a_deadline_during_an_attempt_drops_it_and_there_is_no_other() {
    let (tries, dropped) = (Log::default(), Arc::new(Mutex::new(false)));
    let (write, flag) = (tries.clone(), Arc::clone(&dropped));
    let policy = retrying(100).timeout(secs(60));
    let bus = shop(policy, async move |_: &Order, _: &EventContext| {
        let _guard = SetOnDrop(Arc::clone(&flag));
        write.add("try");
        std::future::pending::<()>().await;
        Ok(Receipt { n: 0 })
    })
    .await;
    let error = bus.request(order("", 1)).timeout(secs(2)).await.unwrap_err();
    assert!(matches!(error, RequestError::Timeout { .. }), "{error}");
    bus.quiet().await;
    tokio::time::sleep(secs(600)).await;
    assert!(*dropped.lock());
    assert_eq!(tries.len(), 1);
}

/// parity: W30
#[actix::test]
async fn what_nobody_waits_for_any_more_when_its_turn_comes_is_not_tried() {
    let tries = Log::default();
    let write = tries.clone();
    let layer = tries.clone();
    let policy = Policy::default().concurrency(1).around_attempt(
        async move |_: &callboard_actors::Inbound, next: callboard_actors::Next<'_>| {
            layer.add("layer");
            next.run().await
        },
    );
    let bus = shop(policy, async move |_: &Order, _: &EventContext| {
        write.add("try");
        tokio::time::sleep(secs(10)).await;
        Ok(Receipt { n: 0 })
    })
    .await;
    let first = send(&bus, "", 1);
    settle().await;
    let second = bus.request(order("", 2)).timeout(secs(5)).await.unwrap_err();
    assert!(matches!(second, RequestError::Timeout { .. }), "{second}");
    first.await.unwrap().unwrap();
    bus.quiet().await;
    assert_eq!(tries.all(), ["layer", "try"]);
    let letters = bus.letters().await;
    assert_eq!((letters.len(), letters[0].attempts), (1, 0));
}

/// parity: W31
#[actix::test]
async fn no_error_ends_the_stream_of_events() {
    let handled = Log::default();
    let write = handled.clone();
    let bus = shop(
        Policy::default().concurrency(1).timeout(secs(1)).restarts_max(1000),
        async move |event: &Order, _: &EventContext| {
            match event.n % 5 {
                1 => return Err(HandlerError::retry("no")),
                2 => panic!("as it was told"),
                3 => std::future::pending::<()>().await,
                4 => return Err(HandlerError::reject("never")),
                _ => write.add(event.n.to_string()),
            }
            Ok(Receipt { n: event.n })
        },
    )
    .await;
    for n in 0..50 {
        bus.publish(order("", n)).await.unwrap();
    }
    bus.quiet().await;
    let expected: Vec<_> = (0..50).step_by(5).map(|n| n.to_string()).collect();
    assert_eq!(handled.all(), expected);
    let counted = metrics(&bus, "shop.On");
    assert_eq!((counted.processed, counted.errors, counted.in_flight), (50, 40, 0));
    assert_eq!(bus.published::<Failed<Order>>().count(), 40);
    assert_eq!(bus.dead_letters().count(), 40, "a rejection that nobody was told is kept too");
}

/// The order in which two orders are done, when the first one fails once.
async fn done_after_one_failure(policy: Policy) -> Vec<String> {
    let done = Log::default();
    let write = done.clone();
    let policy = policy.attempts_max(2).retry_delay(secs(1), secs(1)).retry_jitter(Jitter::None);
    let bus = shop(policy, async move |event: &Order, ctx: &EventContext| {
        if event.n == 1 && ctx.attempt() == 1 {
            return Err(HandlerError::retry("once"));
        }
        write.add(event.n.to_string());
        Ok(Receipt { n: event.n })
    })
    .await;
    for n in 1..=3 {
        bus.publish(order("", n)).await.unwrap();
    }
    bus.quiet().await;
    done.all()
}

#[actix::test]
async fn others_go_on_while_one_waits_for_its_next_attempt_unless_order_matters() {
    let plain = Policy::default;
    assert_eq!(done_after_one_failure(plain().concurrency(2)).await, ["2", "3", "1"]);
    assert_eq!(done_after_one_failure(plain().concurrency(1)).await, ["1", "2", "3"]);
    let narrow = plain().concurrency(4).queue_max(1);
    assert_eq!(done_after_one_failure(narrow).await, ["2", "3", "1"], "with little room, too");
}

#[actix::test]
async fn the_last_failure_is_the_one_that_is_told() {
    let bus = shop(retrying(3).retry_delay(millis(1), millis(1)), {
        async |_: &Order, ctx: &EventContext| {
            let code = ["first", "second", "third"][ctx.attempt() as usize - 1];
            Err(HandlerError::retry("no").code(code))
        }
    })
    .await;
    let error = bus.request(order("", 1)).await.unwrap_err();
    assert_eq!(error.code(), "third");
    bus.quiet().await;
    let fact = bus.published::<Failed<Order>>();
    assert_eq!((fact.one().attempts, fact.one().code.as_str()), (3, "third"));
    let letters = bus.letters().await;
    assert!(matches!(&letters[0].reason, DeadReason::Failed(e) if e.error_code() == "third"));
}

#[actix::test]
async fn an_attempt_that_failed_puts_nothing_out() {
    let bus = shop(retrying(2).retry_delay(millis(1), millis(1)), {
        async |_: &Order, ctx: &EventContext| {
            ctx.publish(Receipt { n: ctx.attempt().into() });
            if ctx.attempt() == 1 { Err(HandlerError::retry("once")) } else { Ok(Receipt { n: 9 }) }
        }
    })
    .await;
    let tracked = bus.publish_tracked(order("", 1)).await.unwrap();
    let receipts: Vec<_> = tracked.published::<Receipt>().all().iter().map(|r| r.n).collect();
    assert_eq!(receipts, [2, 9]);
    let _: &TestBus = &bus;
}
