//! A rate limit delays or refuses deliveries, by exact times, and nobody but those it counts.

use std::sync::Arc;
use std::time::Duration;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{
    DeadReason, ErrorKind, HandlerHandle, Identity, LimitBy, RateLimit, RequestError, millis, secs,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::play::{Order, Receipt, assert_took, metrics, on, order, send, settle, shop};

/// When each order began, in milliseconds since the start.
#[derive(Clone)]
struct Times(Instant, Arc<Mutex<Vec<(i64, u128)>>>);

impl Times {
    /// Orders and seconds: what a timer is late by is cut off.
    fn secs(&self) -> Vec<(i64, u128)> {
        self.1.lock().iter().map(|(n, ms)| (*n, ms / 1000)).collect()
    }
}

async fn limited(policy: Policy) -> (TestBus, Times) {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&begun);
    let zero = Arc::new(Mutex::new(None));
    let origin = Arc::clone(&zero);
    let bus = shop(policy, async move |event: &Order, _: &EventContext| {
        let since: Instant = origin.lock().unwrap();
        write.lock().push((event.n, since.elapsed().as_millis()));
        Ok(Receipt { n: event.n })
    })
    .await;
    let now = Instant::now();
    *zero.lock() = Some(now);
    (bus, Times(now, begun))
}

fn limit(limit: RateLimit) -> Policy {
    Policy::default().rate_limit(limit)
}

fn handle(bus: &TestBus) -> HandlerHandle {
    bus.handler("shop.On").unwrap()
}

/// What a refused requester is told.
fn refused(error: &RequestError) -> (ErrorKind, Duration) {
    match error {
        RequestError::Handler { error, .. } => (error.kind(), error.retry_after().unwrap()),
        other => panic!("{other}"),
    }
}

#[actix::test]
async fn beyond_the_burst_a_waiting_limit_delays_in_order() {
    for concurrency in [1, 8] {
        let policy = limit(RateLimit::per_second(1).burst(2)).concurrency(concurrency);
        let (bus, times) = limited(policy).await;
        for n in 1..=5 {
            bus.publish(order("", n)).await.unwrap();
        }
        bus.quiet().await;
        assert_eq!(times.secs(), [(1, 0), (2, 0), (3, 1), (4, 2), (5, 3)]);
        let counted = metrics(&bus, "shop.On");
        assert_eq!((counted.rate_limited, counted.errors, counted.processed), (3, 0, 5));
    }
}

#[actix::test]
async fn a_refusing_limit_says_exactly_when_to_come_again() {
    let (bus, times) = limited(limit(RateLimit::per_second(1).burst(1).refusing())).await;
    bus.request(order("", 1)).await.unwrap();
    sleep(millis(300)).await;
    let waited = times.0.elapsed();
    let error = bus.request(order("", 2)).await.unwrap_err();
    let left = secs(1).saturating_sub(waited);
    assert_eq!(refused(&error), (ErrorKind::RateLimited(left), left));
    assert_eq!(error.code(), "rate_limited");
    sleep(left).await;
    bus.request(order("", 3)).await.unwrap();
    let ran: Vec<_> = times.secs().iter().map(|(n, _)| *n).collect();
    assert_eq!(ran, [1, 3]);
    bus.quiet().await;
    assert!(bus.letters().await.is_empty(), "the requester was told");
    let counted = metrics(&bus, "shop.On");
    assert_eq!((counted.rate_limited, counted.errors), (1, 1));
}

#[actix::test]
async fn what_is_refused_and_untold_is_a_dead_letter() {
    let (bus, _) = limited(limit(RateLimit::per_second(1).burst(1).refusing())).await;
    for n in 1..=2 {
        bus.publish(order("", n)).await.unwrap();
    }
    bus.quiet().await;
    let letters = bus.letters().await;
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert!(
        matches!(&letter.reason, DeadReason::Failed(e) if e.error_code() == "rate_limited"),
        "{letter:?}"
    );
    assert_eq!((letter.envelope.event::<Order>().unwrap().n, letter.attempts), (2, 0));
}

#[actix::test]
async fn who_would_wait_too_long_is_refused() {
    let policy = limit(RateLimit::per_second(1).burst(1).wait_max(millis(1500)));
    let (bus, times) = limited(policy).await;
    let sent: Vec<_> = (1..=3).map(|n| send(&bus, "", n)).collect();
    let mut answers = Vec::new();
    for sent in sent {
        answers.push(sent.await.unwrap().map(|receipt| receipt.n));
    }
    assert_eq!(answers[0].as_ref().unwrap(), &1);
    assert_eq!(answers[1].as_ref().unwrap(), &2);
    assert_eq!(refused(answers[2].as_ref().unwrap_err()).1, millis(500));
    assert_eq!(times.secs(), [(1, 0), (2, 1)]);
}

/// parity: W25
#[actix::test]
async fn who_waits_on_one_key_delays_no_other() {
    let policy =
        limit(RateLimit::per_second(1).burst(1).by(LimitBy::EventKey)).concurrency(2).queue_max(2);
    let (bus, times) = limited(policy).await;
    for n in 1..=3 {
        bus.publish(order("a", n)).await.unwrap();
    }
    for n in 4..=5 {
        bus.publish(order(&n.to_string(), n)).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!(times.secs(), [(1, 0), (4, 0), (5, 0), (2, 1), (3, 2)]);
}

/// parity: W25
#[actix::test]
async fn a_handler_that_waits_delays_no_other_handler() {
    let quick = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&quick);
    let limited = on(async |event: &Order, _: &EventContext| Ok(Receipt { n: event.n }))
        .with(limit(RateLimit::per_minute(1).burst(1)).concurrency(1).queue_max(10));
    let other = on(async move |event: &Order, _: &EventContext| {
        write.lock().push(event.n);
        Ok(())
    });
    let bus = TestBus::start([Domain::new("shop").handler(limited).handler(other)]).await.unwrap();
    let begun = Instant::now();
    for n in 1..=5 {
        bus.publish(order("", n)).await.unwrap();
    }
    settle().await;
    assert_eq!(*quick.lock(), [1, 2, 3, 4, 5]);
    assert_took(begun, secs(0));
}

#[actix::test]
async fn each_identity_has_a_limit_of_its_own() {
    let policy = limit(RateLimit::per_minute(1).burst(1).by(LimitBy::Identity).refusing());
    let (bus, _) = limited(policy).await;
    for (subject, passes) in [("ada", true), ("ada", false), ("bob", true), ("bob", false)] {
        let request = bus.request(order("same", 1)).identity(Identity::new(subject));
        assert_eq!(request.await.is_ok(), passes, "{subject}");
    }
    assert!(bus.request(order("same", 1)).await.is_ok(), "nobody is somebody too");
    assert!(bus.request(order("same", 1)).await.is_err());
}

#[actix::test]
async fn a_requester_in_a_hurry_fails_at_once_and_gives_its_token_back() {
    let (bus, times) = limited(limit(RateLimit::per_minute(1).burst(1).wait_max(secs(600)))).await;
    bus.request(order("", 1)).await.unwrap();
    for n in 2..=4 {
        let error = bus.request(order("", n)).timeout(secs(10)).await.unwrap_err();
        assert!(matches!(error, RequestError::Timeout { .. }), "{error}");
    }
    assert_took(times.0, secs(0));
    let patient = bus.request(order("", 5)).timeout(secs(100)).await;
    assert_eq!(patient.unwrap().n, 5, "it has the token that three others gave back");
    assert_eq!(times.secs(), [(1, 0), (5, 60)]);
}

#[actix::test]
async fn a_limit_changes_while_the_runtime_runs() {
    let (bus, _) = limited(Policy::default()).await;
    let pass = async || bus.request(order("", 1)).await.map_err(|error| refused(&error).1);
    for _ in 0..100 {
        pass().await.unwrap();
    }
    assert_eq!(handle(&bus).rate_limit(), None);
    // The first one.
    let one = RateLimit::per_minute(1).burst(1).refusing();
    handle(&bus).set_rate_limit(one.clone()).unwrap();
    assert_eq!(handle(&bus).rate_limit(), Some(one.clone()));
    pass().await.unwrap();
    assert_eq!(pass().await, Err(secs(60)));
    // A faster one: the bucket stays empty, but fills sooner.
    handle(&bus).set_rate_limit(RateLimit::per_second(1).burst(1).refusing()).unwrap();
    assert_eq!(pass().await, Err(secs(1)));
    sleep(secs(1)).await;
    pass().await.unwrap();
    assert_eq!(pass().await, Err(secs(1)));
    // A slower one.
    handle(&bus).set_rate_limit(one).unwrap();
    assert_eq!(pass().await, Err(secs(60)));
    // None any more.
    handle(&bus).clear_rate_limit();
    assert_eq!(handle(&bus).rate_limit(), None);
    for _ in 0..100 {
        pass().await.unwrap();
    }
    let error = handle(&bus).set_rate_limit(RateLimit::new(0, secs(1))).unwrap_err();
    assert!(error.to_string().contains("0 tokens"), "{error}");
    assert_eq!(handle(&bus).rate_limit(), None, "a limit that cannot work changes nothing");
}

#[actix::test]
async fn a_retry_needs_no_second_token() {
    let tries = Arc::new(Mutex::new(0));
    let count = Arc::clone(&tries);
    let policy = limit(RateLimit::per_minute(1).burst(1).refusing());
    let bus = shop(policy.attempts_max(3), async move |event: &Order, ctx: &EventContext| {
        *count.lock() += 1;
        if ctx.attempt() < 3 { Err(HandlerError::retry("no")) } else { Ok(Receipt { n: event.n }) }
    })
    .await;
    assert_eq!(bus.request(order("", 1)).await.unwrap().n, 1);
    assert_eq!(*tries.lock(), 3);
}
