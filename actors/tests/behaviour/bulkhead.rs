//! A bulkhead is a number of places that several handlers share.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Bulkhead, RequestError, millis, secs};
use tokio::time::{Instant, sleep};

use crate::play::{
    Answer, Ask, Log, Order, Receipt, assert_took, metrics, on, order, send, settle,
};

/// Two handlers with one policy: orders and questions take a second each, and are logged when they
/// begin. A negative question panics, an order of the key "stuck" has no end.
async fn two(runtime: Policy, domain: Policy, handler: &Policy) -> (TestBus, Log) {
    let log = Log::default();
    let (first, second) = (log.clone(), log.clone());
    let orders = on(async move |event: &Order, _: &EventContext| {
        first.add(format!("order {}", event.n));
        if event.key == "stuck" {
            std::future::pending::<()>().await;
        }
        sleep(secs(1)).await;
        Ok(Receipt { n: event.n })
    });
    let asks = on(async move |event: &Ask, _: &EventContext| {
        second.add(format!("ask {}", event.n));
        assert!(event.n >= 0, "as it was told");
        sleep(secs(1)).await;
        Ok(Answer { n: event.n })
    });
    let shop = Domain::new("shop").policy(domain.clone()).handler(orders.with(handler.clone()));
    let oracle = Domain::new("oracle").policy(domain).handler(asks.with(handler.clone()));
    let runtime = callboard_actors::Runtime::new().policy(runtime).mount(shop).mount(oracle);
    (TestBus::start_with(runtime).await.unwrap(), log)
}

#[actix::test]
async fn two_handlers_share_its_places_in_order_of_arrival() {
    for scope in 0..3 {
        let bulkhead = Bulkhead::new("gateway", 2);
        let mut scopes = [Policy::default(), Policy::default(), Policy::default()];
        scopes[scope] = Policy::default().bulkhead(bulkhead.clone());
        let [runtime, domain, handler] = scopes;
        let (bus, log) = two(runtime, domain, &handler).await;
        let begun = Instant::now();
        for n in 1..=2 {
            bus.publish(order("", n)).await.unwrap();
            settle().await;
            bus.publish(Ask { n }).await.unwrap();
            settle().await;
        }
        assert_eq!(log.all(), ["order 1", "ask 1"]);
        assert_eq!(bulkhead.free(), 0);
        bus.quiet().await;
        assert_took(begun, secs(2));
        assert_eq!(log.all()[2..], ["order 2", "ask 2"]);
        assert_eq!(bulkhead.free(), 2);
    }
}

fn full(error: &RequestError) -> bool {
    error.code() == "bulkhead_full"
}

#[actix::test]
async fn a_full_one_refuses_after_its_wait() {
    for (wait, taken) in [(secs(0), millis(0)), (millis(300), millis(300))] {
        let policy = Policy::default().bulkhead(Bulkhead::new("gateway", 1).wait_max(wait));
        let policy = policy.attempts_max(5);
        let (bus, log) = two(Policy::default(), Policy::default(), &policy).await;
        let first = send(&bus, "", 1);
        settle().await;
        let begun = Instant::now();
        let error = bus.request(Ask { n: 1 }).await.unwrap_err();
        assert!(full(&error), "{error}");
        assert_took(begun, taken);
        first.await.unwrap().unwrap();
        assert_eq!(log.all(), ["order 1"], "a refusal is not tried again");
        bus.quiet().await;
        assert!(bus.letters().await.is_empty());
        assert_eq!(metrics(&bus, "oracle.On").retries, 0);
    }
}

#[actix::test]
async fn an_event_that_finds_no_place_and_nobody_to_tell_is_a_dead_letter() {
    let policy = Policy::default().bulkhead(Bulkhead::new("gateway", 1).wait_max(secs(0)));
    let (bus, _) = two(Policy::default(), Policy::default(), &policy).await;
    for n in 1..=2 {
        bus.publish(order("", n)).await.unwrap();
    }
    bus.quiet().await;
    let letters = bus.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.to_string().contains("bulkhead_full"), "{}", letters[0].reason);
}

#[actix::test]
async fn a_panic_and_a_timeout_free_their_place() {
    let bulkhead = Bulkhead::new("gateway", 1);
    let policy = Policy::default().bulkhead(bulkhead.clone()).timeout(secs(5));
    let (bus, _) = two(Policy::default(), Policy::default(), &policy).await;
    assert_eq!(bus.request(Ask { n: -1 }).await.unwrap_err().code(), "panic");
    assert_eq!(bulkhead.free(), 1);
    assert_eq!(bus.request(order("stuck", 1)).await.unwrap_err().code(), "timeout");
    assert_eq!(bulkhead.free(), 1);
    let gone = bus.request(order("stuck", 1)).timeout(secs(1)).await.unwrap_err();
    assert!(matches!(gone, RequestError::Timeout { .. }), "{gone}");
    bus.quiet().await;
    assert_eq!(bulkhead.free(), 1, "who left gave it back too");
}

#[actix::test]
async fn a_requester_whose_time_is_over_waits_no_longer() {
    let policy = Policy::default().bulkhead(Bulkhead::new("gateway", 1));
    let (bus, log) = two(Policy::default(), Policy::default(), &policy).await;
    let first = send(&bus, "stuck", 1);
    settle().await;
    let begun = Instant::now();
    let error = bus.request(Ask { n: 1 }).timeout(secs(3)).await.unwrap_err();
    assert!(matches!(error, RequestError::Timeout { .. }), "{error}");
    assert_took(begun, secs(3));
    first.await.unwrap().unwrap_err();
    bus.quiet().await;
    assert_eq!(log.all(), ["order 1"]);
}

#[actix::test]
async fn a_place_is_free_during_the_pause_before_another_attempt() {
    let bulkhead = Bulkhead::new("gateway", 1);
    let policy = Policy::default().bulkhead(bulkhead.clone()).attempts_max(2);
    let (bus, _) = two(Policy::default(), Policy::default(), &policy.timeout(secs(5))).await;
    let _stuck = send(&bus, "stuck", 1);
    sleep(millis(5_002)).await;
    assert!(metrics(&bus, "shop.On").retries == 1 || bulkhead.free() == 1);
    assert_eq!(bus.request(Ask { n: 1 }).await.map(|answer| answer.n).ok(), Some(1));
}
