//! One bounded queue per handler: what is accepted is handled in order, and full is always visible.

use std::sync::Arc;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Overflow, PublishError, RequestError, millis, secs};
use tokio::sync::Semaphore;

use crate::play::{Answer, Ask, Notes, Tick, on};

/// A handler of ticks that works only as often as the gate lets it.
fn gated(
    notes: &Notes,
    gate: &Arc<Semaphore>,
    policy: Policy,
) -> impl EventHandler<Input = Tick, Output = ()> + use<> {
    let (notes, gate) = (notes.clone(), Arc::clone(gate));
    on(async move |event: &Tick, _: &EventContext| {
        gate.acquire().await?.forget();
        notes.add(event.n);
        Ok(())
    })
    .with(policy.concurrency(1))
}

async fn gated_bus(policy: Policy) -> (TestBus, Notes, Arc<Semaphore>) {
    let (notes, gate) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let domain = Domain::new("clock").handler(gated(&notes, &gate, policy));
    (TestBus::start([domain]).await.unwrap(), notes, gate)
}

/// parity: W5
#[actix::test]
async fn publish_waits_for_room_and_nothing_is_lost() {
    let (bus, notes, gate) = gated_bus(Policy::default().queue_max(2)).await;
    // One is taken into work, two wait.
    for n in 1..=3 {
        bus.publish(Tick { n }).await.unwrap();
        tokio::task::yield_now().await;
    }
    let fourth = bus.publish(Tick { n: 4 }).into_future();
    tokio::pin!(fourth);
    let early = tokio::time::timeout(secs(5), &mut fourth).await;
    assert!(early.is_err(), "there was no room, yet it was accepted");
    gate.add_permits(1);
    fourth.await.unwrap();
    gate.add_permits(10);
    bus.quiet().await;
    assert_eq!(notes.all(), [1, 2, 3, 4]);
}

/// parity: W5
#[actix::test]
async fn a_rejecting_queue_says_full_and_no_handler_gets_the_event() {
    let (notes, gate) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let rejecting = Policy::default().queue_max(1).overflow(Overflow::Reject);
    let other = Notes::default();
    let clock =
        Domain::new("clock").handler(gated(&notes, &gate, rejecting)).handler(other.of_ticks());
    let bus = TestBus::start([clock]).await.unwrap();
    for n in 1..=2 {
        bus.publish(Tick { n }).await.unwrap();
        tokio::task::yield_now().await;
    }
    let refused = bus.publish(Tick { n: 3 }).await.unwrap_err();
    assert_eq!(
        refused,
        PublishError::Full { event: "clock.tick", handler: "clock.On".into(), queue_max: 1 }
    );
    gate.add_permits(10);
    bus.quiet().await;
    assert_eq!(notes.all(), [1, 2]);
    assert_eq!(other.all(), [1, 2], "the refused event reached one of two handlers");
}

/// Publishes 1 to 6 to a queue of two; what was handled, and how many were counted as dropped.
async fn six_into_two(overflow: Overflow) -> (Vec<i64>, u64) {
    let (bus, notes, gate) = gated_bus(Policy::default().queue_max(2).overflow(overflow)).await;
    for n in 1..=6 {
        bus.publish(Tick { n }).await.unwrap();
        tokio::task::yield_now().await;
    }
    gate.add_permits(10);
    bus.quiet().await;
    (notes.all(), bus.metrics().handlers["clock.On"].dropped)
}

/// parity: W5
#[actix::test]
async fn what_is_dropped_is_counted() {
    assert_eq!(six_into_two(Overflow::DropOldest).await, (vec![1, 5, 6], 3));
    assert_eq!(six_into_two(Overflow::DropNewest).await, (vec![1, 2, 3], 3));
}

#[actix::test]
async fn a_dropped_request_is_told_that_the_queue_is_full() {
    let stuck = on(async |_: &Ask, _: &EventContext| {
        std::future::pending::<()>().await;
        Ok(Answer { n: 0 })
    });
    let policy = Policy::default().queue_max(1).overflow(Overflow::DropOldest).concurrency(1);
    let bus = TestBus::start([Domain::new("oracle").handler(stuck.with(policy))]).await.unwrap();
    let ask = |n| {
        let request = bus.request(Ask { n });
        actix::spawn(request.into_future())
    };
    let _in_work = ask(1);
    tokio::task::yield_now().await;
    let oldest = ask(2);
    tokio::task::yield_now().await;
    let _newest = ask(3);
    let error = oldest.await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::Full { queue_max: 1, .. }), "{error}");
}

#[actix::test]
async fn a_request_that_does_not_wait_is_told_at_once() {
    let stuck = on(async |_: &Ask, _: &EventContext| {
        std::future::pending::<()>().await;
        Ok(Answer { n: 0 })
    });
    let policy = Policy::default().queue_max(1).concurrency(1);
    let bus = TestBus::start([Domain::new("oracle").handler(stuck.with(policy))]).await.unwrap();
    for n in 1..=2 {
        let _waiting = actix::spawn(bus.request(Ask { n }).into_future());
        tokio::task::yield_now().await;
    }
    let begun = tokio::time::Instant::now();
    let error = bus.request(Ask { n: 3 }).no_wait().await.unwrap_err();
    assert!(matches!(error, RequestError::Full { queue_max: 1, .. }), "{error}");
    assert_eq!(begun.elapsed(), millis(0));
}

#[actix::test]
async fn try_publish_reaches_all_or_none() {
    let (notes, gate) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let other = Notes::default();
    let narrow = gated(&notes, &gate, Policy::default().queue_max(1));
    let clock = Domain::new("clock").handler(other.of_ticks()).handler(narrow);
    let bus = TestBus::start([clock]).await.unwrap();
    for n in 1..=2 {
        bus.try_publish(Tick { n }).unwrap();
        tokio::task::yield_now().await;
    }
    let refused = bus.try_publish(Tick { n: 3 }).unwrap_err();
    assert!(matches!(refused, PublishError::Full { .. }));
    gate.add_permits(10);
    bus.quiet().await;
    assert_eq!(other.all(), [1, 2]);
    bus.try_publish(Tick { n: 4 }).unwrap();
    bus.quiet().await;
    assert_eq!(other.all(), [1, 2, 4], "room that was reserved in vain is free again");
}

#[actix::test]
async fn a_slow_handler_delays_no_other() {
    let (slow, fast) = (Notes::default(), Notes::default());
    let gate = Arc::new(Semaphore::new(0));
    let clock = Domain::new("clock")
        .handler(gated(&slow, &gate, Policy::default().queue_max(1)))
        .handler(fast.of_ticks());
    let bus = TestBus::start([clock]).await.unwrap();
    let publisher = bus.clone();
    let publishing = actix::spawn(async move {
        for n in 1..=3 {
            publisher.publish(Tick { n }).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    tokio::time::sleep(millis(1)).await;
    assert_eq!(fast.all(), [1, 2, 3], "the fast one has what the slow one has no room for");
    assert!(!publishing.is_finished());
    gate.add_permits(10);
    publishing.await.unwrap();
    bus.quiet().await;
    assert_eq!(slow.all(), [1, 2, 3]);
}

#[actix::test]
async fn a_long_queue_does_not_keep_the_thread_from_others() {
    let notes = Notes::default();
    let policy = Policy::default().queue_max(10_000).concurrency(1);
    let handler = on({
        let notes = notes.clone();
        async move |event: &Tick, _: &EventContext| {
            notes.add(event.n);
            Ok(())
        }
    });
    let bus = TestBus::start([Domain::new("clock").handler(handler.with(policy))]).await.unwrap();
    for n in 0..10_000 {
        bus.try_publish(Tick { n }).unwrap();
    }
    tokio::task::yield_now().await;
    let handled = notes.all().len();
    assert!(handled < 10_000, "all of them before this test went on");
    bus.quiet().await;
    assert_eq!(notes.all().len(), 10_000);
}

#[actix::test]
async fn a_short_form_handler_works_on_several_events_at_once() {
    let slow = on(async |event: &Ask, _: &EventContext| {
        tokio::time::sleep(millis(500)).await;
        Ok(Answer { n: event.n })
    });
    let bus = TestBus::start([Domain::new("oracle").handler(slow)]).await.unwrap();
    let begun = tokio::time::Instant::now();
    let asked = (0..10).map(|n| bus.request(Ask { n }).into_future());
    futures_util::future::join_all(asked).await;
    assert!(begun.elapsed() < millis(1000), "one after the other: {:?}", begun.elapsed());
}

/// parity: W6
#[actix::test]
async fn no_more_deliveries_are_in_work_than_the_policy_allows() {
    let (notes, gate) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let (seen, open) = (notes.clone(), Arc::clone(&gate));
    let handler = on(async move |event: &Tick, _: &EventContext| {
        seen.add(event.n);
        open.acquire().await?.forget();
        Ok(())
    });
    let domain = Domain::new("clock").handler(handler.with(Policy::default().concurrency(3)));
    let bus = TestBus::start([domain]).await.unwrap();
    for n in 1..=5 {
        bus.publish(Tick { n }).await.unwrap();
    }
    tokio::time::sleep(millis(1)).await;
    assert_eq!(notes.all(), [1, 2, 3]);
    assert_eq!(bus.metrics().handlers["clock.On"].in_flight, 3);
    gate.add_permits(1);
    tokio::time::sleep(millis(1)).await;
    assert_eq!(notes.all(), [1, 2, 3, 4]);
    gate.add_permits(10);
    bus.quiet().await;
    assert_eq!(notes.all().len(), 5);
}

#[actix::test]
async fn two_handlers_that_feed_each_other_end_in_dead_letters_not_in_a_deadlock() {
    // Each event makes two, in one place: the queue is full for good.
    let doubling = on(async |event: &Tick, _: &EventContext| {
        Ok(vec![Tick { n: event.n }, Tick { n: event.n }])
    });
    let policy = Policy::default().queue_max(2).concurrency(1);
    let bus = TestBus::start([Domain::new("clock").handler(doubling.with(policy))]).await.unwrap();
    let bus = bus.session_max(secs(24 * 60 * 60));
    let tracked = bus.publish_tracked(Tick { n: 0 }).await.unwrap();
    assert!(!tracked.dead_letters().is_empty());
    let hops = tracked.dead_letters().iter().map(|letter| letter.envelope.hops()).max();
    assert!(hops <= Some(65), "the hop limit ends the loop");
}
