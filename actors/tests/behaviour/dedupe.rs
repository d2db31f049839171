//! An event, or the events of one key, are handled once within a window, by each handler.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Dedupe, Inbound, Next, RequestError, millis, secs};
use tokio::time::sleep;

use crate::play::{Log, Order, Receipt, metrics, on, order, send, settle, shop};

/// A shop that logs each call and takes a moment; the key "fail" fails while there are fewer than
/// two entries.
async fn careful(policy: Policy) -> (TestBus, Log) {
    let log = Log::default();
    let write = log.clone();
    let bus = shop(policy, async move |event: &Order, _: &EventContext| {
        write.add(format!("{}{}", event.key, event.n));
        sleep(millis(10)).await;
        if event.key == "fail" && write.len() < 2 {
            return Err(HandlerError::retry("once"));
        }
        Ok(Receipt { n: event.n })
    })
    .await;
    (bus, log)
}

fn by_key() -> Policy {
    Policy::default().dedupe(Dedupe::by_key().window(secs(60)))
}

/// A layer that delivers each event twice, as a source that repeats itself does.
async fn twice(_: &Inbound, next: Next<'_>) -> HandlerResult<()> {
    next.run().await?;
    next.run().await
}

/// parity: W29
#[actix::test]
async fn a_delivery_of_one_event_is_handled_once_and_by_every_handler() {
    let (first, second) = (Log::default(), Log::default());
    let logging = |log: &Log| {
        let log = log.clone();
        on(async move |event: &Order, _: &EventContext| {
            log.add(event.n.to_string());
            Ok(())
        })
        .with(Policy::default().dedupe(Dedupe::by_id()).around_delivery(twice))
    };
    let shop = Domain::new("shop").handler(logging(&first)).handler(logging(&second));
    let bus = TestBus::start([shop]).await.unwrap();
    for n in 1..=2 {
        bus.publish(order("same", n)).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!([first.all(), second.all()], [["1", "2"]; 2]);
    for handler in ["shop.On", "shop.On#2"] {
        assert_eq!(metrics(&bus, handler).duplicates, 2);
    }
}

/// parity: W29
#[actix::test]
async fn of_many_equal_keys_at_once_one_is_handled() {
    let (bus, log) = careful(by_key().concurrency(8)).await;
    let sent: Vec<_> = (0..8).map(|n| send(&bus, "same", n)).collect();
    let mut told = Vec::new();
    for sent in sent {
        told.push(sent.await.unwrap().map(|receipt| receipt.n));
    }
    assert_eq!(log.all(), ["same0"]);
    assert!(matches!(told[0], Ok(0)));
    for error in told[1..].iter().map(|told| told.as_ref().unwrap_err()) {
        assert!(matches!(error, RequestError::Handler { .. }), "{error}");
        assert_eq!(error.code(), "duplicate");
    }
    bus.quiet().await;
    let counted = metrics(&bus, "shop.On");
    assert_eq!((counted.duplicates, counted.errors, counted.processed), (7, 0, 1));
    assert!(bus.letters().await.is_empty(), "a duplicate is no dead letter");
}

#[actix::test]
async fn an_untold_duplicate_is_no_dead_letter_either() {
    let (bus, log) = careful(by_key()).await;
    for n in 0..3 {
        bus.publish(order("same", n)).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!((log.len(), bus.dead_letters().count()), (1, 0));
}

#[actix::test]
async fn other_keys_and_events_without_a_key_are_no_duplicates() {
    let (bus, log) = careful(by_key()).await;
    for key in ["a", "b", "", "", "a"] {
        bus.publish(order(key, 0)).await.unwrap();
    }
    bus.quiet().await;
    let mut handled = log.all();
    handled.sort();
    assert_eq!(handled, ["0", "0", "a0", "b0"]);
}

/// parity: W29
#[actix::test]
async fn a_failure_is_forgotten_and_so_is_one_who_left() {
    let (bus, log) = careful(by_key()).await;
    bus.request(order("fail", 1)).await.unwrap_err();
    bus.request(order("fail", 2)).await.unwrap();
    assert_eq!(bus.request(order("fail", 3)).await.unwrap_err().code(), "duplicate");
    assert_eq!(log.all(), ["fail1", "fail2"]);
    let gone = bus.request(order("gone", 1)).timeout(millis(2)).await.unwrap_err();
    assert!(matches!(gone, RequestError::Timeout { .. }));
    bus.quiet().await;
    bus.request(order("gone", 2)).await.unwrap();
}

#[actix::test]
async fn a_retry_is_no_duplicate_of_the_attempt_before() {
    let (bus, log) = careful(by_key().attempts_max(2)).await;
    bus.request(order("fail", 1)).await.unwrap();
    assert_eq!(log.all(), ["fail1", "fail1"]);
    assert_eq!(metrics(&bus, "shop.On").duplicates, 0);
}

#[actix::test]
async fn after_the_window_it_is_handled_again() {
    let (bus, log) = careful(by_key()).await;
    bus.request(order("a", 1)).await.unwrap();
    sleep(secs(59)).await;
    bus.request(order("a", 2)).await.unwrap_err();
    sleep(secs(1)).await;
    bus.request(order("a", 3)).await.unwrap();
    assert_eq!(log.all(), ["a1", "a3"]);
}

#[actix::test]
async fn what_it_remembers_has_a_bound_and_the_oldest_goes_first() {
    let (bus, log) = careful(Policy::default().dedupe(Dedupe::by_key().entries_max(2))).await;
    for key in ["a", "b", "c", "b", "c", "a"] {
        let _ = bus.request(order(key, 0)).await;
    }
    assert_eq!(log.all(), ["a0", "b0", "c0", "a0"]);
}

#[actix::test]
async fn a_duplicate_uses_up_no_token_and_calls_no_layer_of_attempts() {
    let calls = Log::default();
    let write = calls.clone();
    let policy = by_key()
        .rate_limit(callboard_actors::RateLimit::per_minute(2).burst(2).refusing())
        .around_attempt(async move |_: &Inbound, next: Next<'_>| {
            write.add("attempt");
            next.run().await
        });
    let (bus, _) = careful(policy).await;
    for key in ["a", "a", "a", "b"] {
        bus.publish(order(key, 0)).await.unwrap();
    }
    settle().await;
    bus.quiet().await;
    assert_eq!(calls.len(), 2);
    assert_eq!(metrics(&bus, "shop.On").rate_limited, 0);
}
