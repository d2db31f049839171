//! Handlers that take too long, or keep their thread, are reported by name and trace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Runtime, Stuck, millis, secs};

use crate::play::{Answer, Ask, Log, Tick, Warnings, on};

/// What all threads of this program log, the watchdog's among them.
static LOGGED: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    tracing::subscriber::set_global_default(Warnings(log.clone())).expect("there is no other");
    log
});

/// Keeps the thread until `is_over`, but not for ever.
fn keep_thread_until(is_over: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_over() {
        assert!(begun.elapsed() < secs(30), "nobody noticed");
        std::hint::spin_loop();
    }
}

fn line_with(parts: &[&str]) -> Option<String> {
    LOGGED.all().into_iter().find(|line| parts.iter().all(|part| line.contains(part)))
}

#[actix::test]
async fn a_handler_that_keeps_the_thread_is_reported_while_it_does() {
    LazyLock::force(&LOGGED);
    let is_seen = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_seen);
    let kept = on(async move |_: &Tick, _: &EventContext| {
        keep_thread_until(|| seen.load(Ordering::Acquire));
        Ok(())
    });
    let policy = Policy::default().stuck_after(millis(20));
    let bus = TestBus::start([Domain::new("watched").handler(kept.with(policy))]).await.unwrap();
    // As a health check on another thread would see it.
    let handle = (*bus).clone();
    let looking = std::thread::spawn(move || {
        let is_logged = || line_with(&["message=stuck ", "watched.On"]).is_some();
        keep_thread_until(|| is_logged() && !handle.health().stuck.is_empty());
        let stuck = handle.health().stuck;
        let metrics = handle.metrics().handlers["watched.On"].stuck;
        is_seen.store(true, Ordering::Release);
        (stuck, metrics)
    });
    let trace_id = bus.new_trace_id();
    bus.publish(Tick { n: 1 }).trace_id(trace_id).await.unwrap();
    bus.quiet().await;
    let (stuck, metrics) = looking.join().unwrap();
    let [Stuck { handler, event, trace_id: seen, attempt, running_for, .. }] = &stuck[..] else {
        panic!("{stuck:?}")
    };
    assert_eq!((handler.as_str(), *event, *attempt, metrics), ("watched.On", "clock.tick", 1, 1));
    assert_eq!(*seen, trace_id);
    assert!(*running_for >= millis(20));
    assert!(bus.health().stuck.is_empty(), "it is over");
    let trace_id = trace_id.to_string();
    assert!(line_with(&["message=stuck ", &trace_id]).is_some());
    assert!(line_with(&["was stuck, and ended", &trace_id]).is_some());
    let reports = LOGGED.all().into_iter().filter(|line| line.contains("message=stuck "));
    assert_eq!(reports.filter(|line| line.contains(&trace_id)).count(), 1, "once");
}

#[actix::test]
async fn a_thread_of_its_own_is_watched_beyond_the_timeout() {
    let is_seen = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_seen);
    let kept = on(async move |event: &Ask, _: &EventContext| {
        keep_thread_until(|| seen.load(Ordering::Acquire));
        Ok(Answer { n: event.n })
    });
    let policy = Policy::default().blocking(1).stuck_after(millis(20)).timeout(millis(50));
    // In real time: a virtual clock would not wait for the thread.
    let domain = Domain::new("oracle").handler(kept.with(policy));
    let bus = Runtime::new().mount(domain).start().await.unwrap();
    let error = bus.request(Ask { n: 1 }).await.unwrap_err();
    assert_eq!(error.code(), "timeout", "{error}");
    keep_thread_until(|| !bus.health().stuck.is_empty());
    is_seen.store(true, Ordering::Release);
    let begun = Instant::now();
    while !bus.health().stuck.is_empty() {
        assert!(begun.elapsed() < secs(30), "it ended, and is reported still");
        tokio::time::sleep(millis(1)).await;
    }
    bus.stop().await;
}

#[actix::test]
async fn time_that_a_test_skips_is_not_held_against_a_handler() {
    let slow = on(async |_: &Tick, _: &EventContext| {
        tokio::time::sleep(secs(3600)).await;
        Ok(())
    });
    let policy = Policy::default().stuck_after(secs(20)).timeout(secs(7200));
    let bus = TestBus::start([Domain::new("clock").handler(slow.with(policy))]).await.unwrap();
    bus.publish(Tick { n: 1 }).await.unwrap();
    tokio::time::sleep(secs(1800)).await;
    assert_eq!(bus.metrics().handlers["clock.On"].in_flight, 1);
    assert!(bus.health().stuck.is_empty());
}

#[actix::test]
async fn each_panic_is_logged_with_its_handler_and_its_trace() {
    let log = Log::default();
    let _warnings = Warnings::written_to(&log);
    let failing = on(async |_: &Tick, ctx: &EventContext| {
        assert_ne!(ctx.attempt(), 1, "the first one");
        Ok(())
    });
    let policy = Policy::default().attempts_max(2);
    let bus = TestBus::start([Domain::new("clock").handler(failing.with(policy))]).await.unwrap();
    let trace_id = bus.new_trace_id();
    bus.publish(Tick { n: 1 }).trace_id(trace_id).await.unwrap();
    bus.quiet().await;
    let lines = log.all();
    let panics: Vec<_> = lines.iter().filter(|line| line.contains("handler panicked")).collect();
    let [line] = panics[..] else { panic!("{lines:?}") };
    for part in ["clock.On", "clock.tick", "attempt=1", "the first one", &trace_id.to_string()] {
        assert!(line.contains(part), "`{part}` is missing: {line}");
    }
}
