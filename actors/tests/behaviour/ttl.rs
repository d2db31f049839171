//! An event that is too old when its turn comes is dropped, counted, and no dead letter.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Failed, Overflow, millis, secs};
use tokio::time::sleep;

use crate::play::{Answer, Ask, Log, Order, Receipt, metrics, on, order, send, settle, shop};

/// A shop that takes ten seconds for each order, one at a time.
async fn slow(policy: Policy) -> (TestBus, Log) {
    let log = Log::default();
    let write = log.clone();
    let bus = shop(policy.concurrency(1), async move |event: &Order, _: &EventContext| {
        write.add(event.n.to_string());
        sleep(secs(10)).await;
        Ok(Receipt { n: event.n })
    })
    .await;
    (bus, log)
}

#[actix::test]
async fn the_earlier_of_the_handler_s_and_the_publisher_s_limit_counts() {
    for (own, published, is_handled) in [
        (None, None, true),
        (Some(5), None, false),
        (Some(15), None, true),
        (None, Some(5), false),
        (None, Some(15), true),
        (Some(5), Some(15), false),
        (Some(15), Some(5), false),
        (Some(15), Some(15), true),
    ] {
        let policy = own.map_or(Policy::default(), |age| Policy::default().ttl(secs(age)));
        let (bus, log) = slow(policy).await;
        bus.publish(order("", 1)).await.unwrap();
        settle().await;
        let publish = bus.publish(order("", 2));
        let publish = if let Some(age) = published { publish.ttl(secs(age)) } else { publish };
        publish.await.unwrap();
        bus.quiet().await;
        assert_eq!(log.len() == 2, is_handled, "{own:?} {published:?}");
        let counted = metrics(&bus, "shop.On");
        assert_eq!(counted.expired, u64::from(!is_handled));
        assert_eq!((counted.errors, bus.dead_letters().count()), (0, 0));
        assert_eq!(bus.published::<Failed<Order>>().count(), 0);
    }
}

#[actix::test]
async fn a_requester_of_an_event_that_is_too_old_is_told() {
    let (bus, _) = slow(Policy::default().ttl(secs(3))).await;
    let first = send(&bus, "", 1);
    settle().await;
    let error = bus.request(order("", 2)).await.unwrap_err();
    assert_eq!(error.code(), "expired");
    assert_eq!(first.await.unwrap().unwrap().n, 1, "its outputs are not too late");
    bus.quiet().await;
    assert_eq!((metrics(&bus, "shop.On").expired, bus.dead_letters().count()), (1, 0));
}

#[actix::test]
async fn the_outputs_of_an_event_do_not_share_its_limit() {
    let log = Log::default();
    let write = log.clone();
    let first = on(async |event: &Order, _: &EventContext| {
        sleep(secs(10)).await;
        Ok(Receipt { n: event.n })
    });
    let second = on(async move |receipt: &Receipt, _: &EventContext| {
        write.add(receipt.n.to_string());
        Ok(())
    });
    let bus = TestBus::start([Domain::new("shop").handler(first).handler(second)]).await.unwrap();
    bus.publish(order("", 1)).ttl(secs(1)).await.unwrap();
    bus.quiet().await;
    assert_eq!(log.all(), ["1"]);
}

#[actix::test]
async fn the_wait_for_room_makes_an_event_older() {
    let policy = Policy::default().ttl(secs(15)).queue_max(1).overflow(Overflow::Wait);
    let (bus, log) = slow(policy).await;
    for n in 1..=3 {
        bus.publish(order("", n)).await.unwrap();
        settle().await;
    }
    bus.quiet().await;
    assert_eq!(log.all(), ["1", "2"], "the third one waited 10 s for room and 10 s in the queue");
    assert_eq!(metrics(&bus, "shop.On").expired, 1);
}

#[actix::test]
async fn the_limit_of_one_who_declined_is_not_that_of_the_next_in_line() {
    let decline = on(async |_: &Ask, _: &EventContext| {
        sleep(secs(1)).await;
        Err::<Answer, _>(HandlerError::decline())
    });
    let busy = on(async |event: &Ask, _: &EventContext| {
        sleep(millis(10_000)).await;
        Ok(Answer { n: event.n })
    });
    let oracle = Domain::new("oracle")
        .handler(decline.with(Policy::default().priority(2).ttl(secs(3))))
        .handler(busy.with(Policy::default().priority(1).concurrency(1)));
    let bus = TestBus::start([oracle]).await.unwrap();
    let first = actix::spawn(bus.request(Ask { n: 1 }).into_future());
    settle().await;
    assert_eq!(bus.request(Ask { n: 2 }).await.unwrap().n, 2);
    assert_eq!(first.await.unwrap().unwrap().n, 1);
}
