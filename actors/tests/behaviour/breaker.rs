//! A breaker leaves a failing handler alone, probes it, and lets it work again.

use std::sync::Arc;
use std::time::Duration;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{
    Breaker, Bulkhead, CircuitState, DeadReason, Domain, Inbound, Next, RequestError, millis, secs,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::play::{Log, Order, Receipt, Tick, metrics, on, order, send, settle, shop};

/// A shop whose orders do what their key says; the log has one entry for each call.
async fn fragile(policy: Policy) -> (TestBus, Log) {
    let calls = Log::default();
    let write = calls.clone();
    let policy = policy.restarts_max(1000).restart_delay(millis(1), millis(1));
    let bus = shop(policy, async move |event: &Order, ctx: &EventContext| {
        write.add(format!("{}{}", event.key, event.n));
        match &*event.key {
            "fail" => return Err(HandlerError::retry("no")),
            "once" if ctx.attempt() == 1 => return Err(HandlerError::retry("once")),
            "panic" => panic!("as it was told"),
            "reject" => return Err(HandlerError::conflict("no")),
            "snooze" if event.n == 1 && ctx.remaining().is_none() => {
                return Err(HandlerError::snooze(secs(1)));
            }
            "decline" => return Err(HandlerError::decline()),
            "slow" => sleep(secs(1)).await,
            "longer" => sleep(millis(1050)).await,
            "slowfail" => {
                sleep(secs(1)).await;
                return Err(HandlerError::retry("no"));
            }
            "stuck" => std::future::pending().await,
            _ => {}
        }
        Ok(Receipt { n: event.n })
    })
    .await;
    (bus, calls)
}

fn consecutive(failures: u32) -> Policy {
    Policy::default().breaker(Breaker::consecutive(failures).open_for(secs(10)))
}

fn state(bus: &TestBus) -> CircuitState {
    metrics(bus, "shop.On").breaker.unwrap()
}

async fn run(bus: &TestBus, keys: &[&str]) {
    for key in keys {
        // The outcome is looked at by the state.
        let _ = bus.request(order(key, 1)).await;
    }
}

fn retry_after(error: &RequestError) -> Duration {
    match error {
        RequestError::Handler { error, .. } if error.error_code() == "breaker_open" => {
            error.retry_after().unwrap()
        }
        other => panic!("{other}"),
    }
}

#[actix::test]
async fn failures_in_a_row_open_it_and_who_comes_then_is_told_when_to_come_again() {
    let (bus, calls) = fragile(consecutive(3)).await;
    run(&bus, &["fail", "fail", "good", "fail", "fail"]).await;
    assert_eq!(state(&bus), CircuitState::Closed, "a success came between");
    run(&bus, &["fail"]).await;
    assert_eq!(state(&bus), CircuitState::Open);
    let begun = Instant::now();
    sleep(secs(4)).await;
    let error = bus.request(order("good", 1)).await.unwrap_err();
    assert_eq!(retry_after(&error) + begun.elapsed(), secs(10));
    assert_eq!((calls.len(), metrics(&bus, "shop.On").circuit_broken), (6, 1));
}

#[actix::test]
async fn a_share_of_failures_opens_it() {
    let breaker = Breaker::ratio(0.5, 4).open_for(secs(10));
    let (bus, _) = fragile(Policy::default().breaker(breaker)).await;
    run(&bus, &["fail", "fail", "good"]).await;
    assert_eq!(state(&bus), CircuitState::Closed, "three are not four");
    run(&bus, &["good"]).await;
    assert_eq!(state(&bus), CircuitState::Open);
}

#[actix::test]
async fn a_refused_event_that_nobody_asked_for_is_a_dead_letter() {
    let (bus, _) = fragile(consecutive(1)).await;
    run(&bus, &["fail"]).await;
    bus.quiet().await;
    let before = bus.dead_letters().count();
    bus.publish(order("good", 7)).await.unwrap();
    bus.quiet().await;
    let letters = bus.letters().await;
    assert_eq!(letters.len(), before + 1);
    let letter = &letters[before];
    assert!(matches!(&letter.reason, DeadReason::Failed(e) if e.error_code() == "breaker_open"));
    assert_eq!(letter.attempts, 0);
    assert!(bus.request(order("good", 8)).await.is_err());
    assert_eq!(bus.dead_letters().count(), before + 1, "who was told needs no dead letter");
}

#[actix::test]
async fn a_probe_that_succeeds_closes_it_and_one_that_fails_opens_it_again() {
    let (bus, calls) = fragile(consecutive(1)).await;
    run(&bus, &["fail"]).await;
    sleep(secs(10)).await;
    assert_eq!(state(&bus), CircuitState::HalfOpen);
    run(&bus, &["fail"]).await;
    assert_eq!(state(&bus), CircuitState::Open);
    sleep(secs(9)).await;
    run(&bus, &["good"]).await;
    assert_eq!(calls.len(), 2, "its time began again");
    sleep(secs(1)).await;
    run(&bus, &["good"]).await;
    assert_eq!((state(&bus), calls.len()), (CircuitState::Closed, 3));
}

/// parity: W26
#[actix::test]
async fn half_open_it_admits_exactly_the_probes_at_once_and_in_all() {
    for probes in [1, 3] {
        let breaker = Breaker::consecutive(1).open_for(secs(10)).probes(probes);
        let (bus, calls) = fragile(Policy::default().breaker(breaker)).await;
        run(&bus, &["fail"]).await;
        sleep(secs(10)).await;
        let sent: Vec<_> = (0..8).map(|n| send(&bus, "slow", n)).collect();
        settle().await;
        assert_eq!(calls.len(), 1 + probes as usize);
        let mut answered = 0;
        for sent in sent {
            answered += u32::from(sent.await.unwrap().is_ok());
        }
        assert_eq!((answered, state(&bus)), (probes, CircuitState::Closed));
        run(&bus, &["good"; 5]).await;
        assert_eq!(calls.len(), 1 + probes as usize + 5);
    }
}

/// parity: W27
#[actix::test]
async fn nothing_is_tried_again_while_it_is_open() {
    let policy = consecutive(2).attempts_max(100).retry_delay(millis(10), millis(10));
    let (bus, calls) = fragile(policy).await;
    let error = bus.request(order("fail", 1)).await.unwrap_err();
    assert_eq!(error.code(), "handler_error", "its own failure, not that of the breaker");
    assert_eq!(calls.len(), 2);
    assert_eq!(metrics(&bus, "shop.On").retries, 1);
    bus.quiet().await;
    sleep(secs(5)).await;
    assert_eq!(calls.len(), 2);
}

/// parity: W27
#[actix::test]
async fn a_retry_whose_turn_comes_while_it_is_open_is_not_made() {
    let policy = consecutive(3).attempts_max(9).retry_delay(secs(5), secs(5));
    let policy = policy.retry_jitter(callboard_actors::Jitter::None);
    let (bus, calls) = fragile(policy).await;
    let waiting = send(&bus, "once", 1);
    settle().await;
    let failing = [2, 3].map(|n| send(&bus, "fail", n));
    settle().await;
    assert_eq!(state(&bus), CircuitState::Open);
    let [second, third] = failing;
    assert_eq!(third.await.unwrap().unwrap_err().code(), "handler_error");
    assert_eq!(second.await.unwrap().unwrap_err().code(), "breaker_open");
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), "breaker_open");
    assert_eq!(calls.len(), 3);
}

#[actix::test]
async fn a_rejection_is_a_success_and_what_says_nothing_is_neither() {
    let (bus, _) = fragile(consecutive(2)).await;
    run(&bus, &["fail", "reject", "fail"]).await;
    assert_eq!(state(&bus), CircuitState::Closed, "a rejection works as it should");
    run(&bus, &["good", "fail", "decline", "fail"]).await;
    assert_eq!(state(&bus), CircuitState::Open, "a decline does not come between");
    let (bus, _) = fragile(consecutive(2)).await;
    bus.publish(order("fail", 1)).await.unwrap();
    bus.publish(order("snooze", 1)).await.unwrap();
    settle().await;
    bus.publish(order("fail", 1)).await.unwrap();
    settle().await;
    assert_eq!(state(&bus), CircuitState::Open, "a snooze does not come between");
}

#[actix::test]
async fn a_panic_and_a_timeout_are_failures() {
    let (bus, _) = fragile(consecutive(2).timeout(secs(1))).await;
    run(&bus, &["panic", "stuck"]).await;
    assert_eq!(state(&bus), CircuitState::Open);
}

#[actix::test]
async fn a_probe_that_was_cancelled_gives_its_place_back() {
    let (bus, calls) = fragile(consecutive(1).timeout(secs(60))).await;
    run(&bus, &["fail"]).await;
    sleep(secs(10)).await;
    let gone = bus.request(order("stuck", 1)).timeout(secs(1)).await;
    assert!(matches!(gone, Err(RequestError::Timeout { .. })));
    bus.quiet().await;
    assert_eq!(state(&bus), CircuitState::HalfOpen);
    run(&bus, &["good"]).await;
    assert_eq!((state(&bus), calls.len()), (CircuitState::Closed, 3));
}

#[actix::test]
async fn a_holding_breaker_loses_nothing() {
    for concurrency in [1, 4] {
        let breaker = Breaker::consecutive(1).open_for(secs(10)).holding();
        let policy = Policy::default().breaker(breaker).concurrency(concurrency).queue_max(100);
        let (bus, calls) = fragile(policy).await;
        bus.publish(order("fail", 0)).await.unwrap();
        settle().await;
        for n in 1..=20 {
            bus.publish(order("good", n)).await.unwrap();
        }
        settle().await;
        assert_eq!((calls.len(), state(&bus)), (1, CircuitState::Open));
        let waiting = metrics(&bus, "shop.On");
        assert_eq!(waiting.queue_depth, 20 - concurrency, "the others are in the queue");
        let begun = Instant::now();
        bus.quiet().await;
        assert!(begun.elapsed() >= secs(9) && begun.elapsed() < secs(11));
        assert_eq!((calls.len(), state(&bus)), (21, CircuitState::Closed));
        let counted = metrics(&bus, "shop.On");
        assert_eq!((counted.errors, counted.circuit_broken), (1, 0));
        assert_eq!(bus.dead_letters().count(), 1, "the failure itself");
    }
}

/// parity: W26
#[actix::test]
async fn a_holding_breaker_admits_exactly_the_probes_too() {
    let breaker = Breaker::consecutive(1).open_for(secs(10)).probes(2).holding();
    let (bus, calls) = fragile(Policy::default().breaker(breaker)).await;
    bus.publish(order("fail", 0)).await.unwrap();
    settle().await;
    for n in 1..=6 {
        bus.publish(order("longer", n)).await.unwrap();
    }
    sleep(millis(10_500)).await;
    assert_eq!(calls.len(), 3, "two probes");
    sleep(millis(580)).await;
    assert_eq!(calls.len(), 7, "all others as soon as it is closed");
    bus.quiet().await;
}

/// parity: W26
#[actix::test]
async fn a_probe_that_succeeded_makes_no_place_for_one_more() {
    let breaker = Breaker::consecutive(1).open_for(secs(10)).probes(2);
    let (bus, calls) = fragile(Policy::default().breaker(breaker)).await;
    run(&bus, &["fail"]).await;
    sleep(secs(10)).await;
    let slow = send(&bus, "slow", 1);
    settle().await;
    run(&bus, &["good", "good", "good"]).await;
    assert_eq!((calls.len(), state(&bus)), (3, CircuitState::HalfOpen));
    slow.await.unwrap().unwrap();
    assert_eq!(state(&bus), CircuitState::Closed);
}

#[actix::test]
async fn a_probe_that_finds_no_room_gives_its_place_back() {
    let shared = Bulkhead::new("gateway", 1).wait_max(secs(0));
    let failing =
        on(
            async |event: &Order, _: &EventContext| {
                if event.n < 0 {
                    Err(HandlerError::retry("no"))
                } else {
                    Ok(Receipt { n: event.n })
                }
            },
        );
    let slow = on(async |_: &Tick, _: &EventContext| {
        sleep(secs(5)).await;
        Ok(())
    });
    let domain = Domain::new("shop")
        .handler(failing.with(consecutive(1).bulkhead(shared.clone())))
        .handler(slow.with(Policy::default().bulkhead(shared)));
    let bus = TestBus::start([domain]).await.unwrap();
    bus.request(order("", -1)).await.unwrap_err();
    sleep(secs(10)).await;
    bus.publish(Tick { n: 1 }).await.unwrap();
    settle().await;
    for _ in 0..2 {
        let error = bus.request(order("", 1)).await.unwrap_err();
        assert_eq!(error.code(), "bulkhead_full");
    }
    assert_eq!(state(&bus), CircuitState::HalfOpen);
    sleep(secs(6)).await;
    assert_eq!(bus.request(order("", 1)).await.unwrap().n, 1);
    assert_eq!(state(&bus), CircuitState::Closed);
}

#[actix::test]
async fn who_is_held_back_meets_the_actor_of_afterwards() {
    let breaker = Breaker::consecutive(1).open_for(secs(10)).holding();
    let (bus, calls) = fragile(Policy::default().breaker(breaker).concurrency(4)).await;
    bus.publish(order("panic", 0)).await.unwrap();
    for n in 1..=3 {
        bus.publish(order("good", n)).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!(bus.dead_letters().count(), 1, "{:?}", bus.letters().await);
    assert_eq!(calls.len(), 4);
}

#[actix::test]
async fn who_is_held_back_keeps_no_room_that_others_share() {
    let shared = Bulkhead::new("gateway", 1);
    let breaker = Breaker::consecutive(1).open_for(secs(10)).holding();
    let failing =
        on(async |_: &Order, _: &EventContext| Err::<Receipt, _>(HandlerError::retry("no")));
    let failing = failing.with(Policy::default().breaker(breaker).bulkhead(shared.clone()));
    let bus = TestBus::start([Domain::new("shop").handler(failing)]).await.unwrap();
    for n in 1..=2 {
        bus.publish(order("", n)).await.unwrap();
    }
    settle().await;
    assert_eq!(state(&bus), CircuitState::Open);
    assert_eq!(shared.free(), 1);
}

#[actix::test]
async fn a_layer_around_attempts_is_judged_with_its_handler() {
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    let refusing = async move |_: &Inbound, _: Next<'_>| {
        *count.lock() += 1;
        Err(HandlerError::retry("the layer's own"))
    };
    let (bus, _) = fragile(consecutive(2).around_attempt(refusing)).await;
    run(&bus, &["good"; 5]).await;
    assert_eq!((state(&bus), *calls.lock()), (CircuitState::Open, 2));
}
