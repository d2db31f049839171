//! A runtime without any layer, as applications run it: a test bus puts layers for faults around
//! every handler, so what is done without layers is tested here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use callboard_actors::prelude::*;
use callboard_actors::{Breaker, DeadLetterQuery, Dedupe, Runtime, millis, secs};
use tokio::time::{Instant, sleep};

use crate::play::{Answer, Ask, Notes, SetOnDrop, Tick, on};

async fn start(domain: Domain) -> Runtime {
    tokio::time::pause();
    Runtime::new().mount(domain).start().await.unwrap()
}

/// A responder that does what `n` says, and the number of its calls.
async fn oracle(policy: Policy) -> (Runtime, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let responder = on(async move |event: &Ask, ctx: &EventContext| {
        count.fetch_add(1, Ordering::Relaxed);
        match event.n {
            -1 => panic!("the oracle is dumb"),
            -2 if ctx.attempt() < 3 => Err(HandlerError::retry("not yet").code("early")),
            -3 => {
                sleep(secs(3600)).await;
                Ok(Answer { n: 0 })
            }
            -4 => Err(HandlerError::reject("no")),
            n => {
                sleep(millis(u64::try_from(n).unwrap_or_default())).await;
                Ok(Answer { n })
            }
        }
    });
    (start(Domain::new("oracle").handler(responder.with(policy))).await, calls)
}

#[actix::test]
async fn replies_errors_and_panics_arrive() {
    let (runtime, _) = oracle(Policy::default()).await;
    assert_eq!(runtime.request(Ask { n: 0 }).await.unwrap().n, 0);
    assert_eq!(runtime.request(Ask { n: 50 }).await.unwrap().n, 50);
    for (n, code) in [(-1, "panic"), (-2, "early"), (-4, "invalid")] {
        assert_eq!(runtime.request(Ask { n }).await.unwrap_err().code(), code);
    }
    assert_eq!(runtime.request(Ask { n: 7 }).await.unwrap().n, 7, "it was rebuilt");
    let metrics = &runtime.metrics().handlers["oracle.On"];
    assert_eq!((metrics.processed, metrics.errors, metrics.restarts), (6, 3, 1));
}

#[actix::test]
async fn attempts_timeouts_and_the_breaker_hold() {
    let breaker = Breaker::consecutive(2).open_for(secs(60));
    let policy = Policy::default().attempts_max(3).timeout(secs(1)).breaker(breaker);
    let (runtime, calls) = oracle(policy).await;
    let begun = Instant::now();
    assert_eq!(runtime.request(Ask { n: -3 }).await.unwrap_err().code(), "timeout");
    assert!(begun.elapsed() < secs(5), "{:?}", begun.elapsed());
    assert_eq!(calls.load(Ordering::Relaxed), 2, "none is tried while it is open");
    assert_eq!(runtime.request(Ask { n: 1 }).await.unwrap_err().code(), "breaker_open");
    sleep(secs(61)).await;
    assert_eq!(runtime.request(Ask { n: 1 }).await.unwrap().n, 1);
}

#[actix::test]
async fn a_late_handler_is_dropped() {
    let dropped = Arc::default();
    let tell = Arc::clone(&dropped);
    let slow = on(async move |_: &Ask, _: &EventContext| {
        let _tell = SetOnDrop(Arc::clone(&tell));
        sleep(secs(3600)).await;
        Ok(Answer { n: 0 })
    });
    let policy = Policy::default().timeout(secs(1));
    let runtime = start(Domain::new("oracle").handler(slow.with(policy))).await;
    runtime.request(Ask { n: 0 }).await.unwrap_err();
    assert!(*dropped.lock());
}

#[actix::test]
async fn no_more_are_in_work_than_allowed_and_all_are_handled_in_order() {
    let notes = Notes::default();
    let write = notes.clone();
    let handler = on(async move |event: &Tick, _: &EventContext| {
        if event.n % 3 == 0 {
            sleep(millis(5)).await;
        }
        write.add(event.n);
        Ok(())
    });
    let policy = Policy::default().concurrency(1);
    let runtime = start(Domain::new("clock").handler(handler.with(policy))).await;
    for n in 0..500 {
        runtime.publish(Tick { n }).await.unwrap();
    }
    assert!(runtime.stop().await.is_clean());
    assert_eq!(notes.all(), (0..500).collect::<Vec<_>>());
}

#[actix::test]
async fn what_is_ready_at_once_leaves_the_thread_to_others_too() {
    let notes = Notes::default();
    let policy = Policy::default().queue_max(10_000);
    let ticks = notes.clone();
    let handler = on(async move |event: &Tick, _: &EventContext| {
        ticks.add(event.n);
        Ok(())
    });
    let runtime = start(Domain::new("clock").handler(handler.with(policy))).await;
    for n in 0..10_000 {
        runtime.try_publish(Tick { n }).unwrap();
    }
    tokio::task::yield_now().await;
    assert!(notes.all().len() < 10_000, "all of them before this test went on");
    runtime.stop().await;
    assert_eq!(notes.all().len(), 10_000);
}

#[actix::test]
async fn dead_letters_are_replayed_and_duplicates_are_not_handled() {
    let policy = Policy::default().dedupe(Dedupe::by_id());
    let (runtime, calls) = oracle(policy).await;
    runtime.publish(Ask { n: -2 }).await.unwrap();
    sleep(secs(1)).await;
    let report = runtime.dead_letters().replay(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!((report.handled, report.failed), (0, 1));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    let letter = runtime.dead_letters().all().await.unwrap().pop().unwrap();
    assert_eq!((letter.attempts, letter.replays), (2, 1));
}
