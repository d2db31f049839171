//! A stop lets running chains finish, tells who waits, and reports what is left.

use std::sync::Arc;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{PublishError, RequestError, Runtime, millis, secs};
use parking_lot::Mutex;

use crate::play::{Answer, Ask, Begin, Begun, Ended, Notes, Tick, WentOn, assert_took, on};

/// parity: W7
#[actix::test]
async fn a_running_chain_of_three_links_finishes() {
    let ended = Notes::default();
    let write = ended.clone();
    let bus = TestBus::start([
        Domain::new("one").handler(on(async |e: &Begin, _: &EventContext| {
            tokio::time::sleep(secs(1)).await;
            Ok(Begun { n: e.n })
        })),
        Domain::new("two").handler(on(async |e: &Begun, _: &EventContext| {
            tokio::time::sleep(secs(1)).await;
            Ok(WentOn { n: e.n })
        })),
        Domain::new("three").handler(on(async move |e: &WentOn, _: &EventContext| {
            tokio::time::sleep(secs(1)).await;
            write.add(e.n);
            Ok(Ended { n: e.n })
        })),
    ])
    .await
    .unwrap();
    let waiting = actix::spawn(bus.request(Begin { n: 7 }).until::<Ended>().into_future());
    tokio::time::sleep(millis(500)).await;
    let report = bus.runtime().stop().await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(ended.all(), [7]);
    assert_eq!(waiting.await.unwrap().unwrap().n, 7, "the requester has its reply");
}

/// parity: W7
#[actix::test]
async fn who_still_waits_is_told_under_its_own_trace_and_the_rest_is_reported() {
    let stuck = on(async |_: &Ask, _: &EventContext| {
        tokio::time::sleep(secs(600)).await;
        Ok(Answer { n: 0 })
    });
    let oracle = Domain::new("oracle").handler(stuck.with(Policy::default().concurrency(1)));
    let builder = Runtime::new().mount(oracle).drain_timeout(secs(2));
    let bus = TestBus::start_with(builder).await.unwrap();
    let ids = ["4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4737"];
    let waiting = ids.map(|id| {
        let request = bus.request(Ask { n: 1 }).trace_id(id.parse().unwrap());
        actix::spawn(request.timeout(secs(300)).into_future())
    });
    tokio::time::sleep(millis(1)).await;
    let begun = tokio::time::Instant::now();
    let report = bus.runtime().stop().await;
    assert_took(begun, secs(2));
    assert_eq!(report.left.len(), 1);
    let left = &report.left[0];
    assert_eq!((left.handler.as_str(), left.queued, left.in_flight), ("oracle.On", 1, 1));
    for (id, outcome) in ids.into_iter().zip(waiting) {
        let error = outcome.await.unwrap().unwrap_err();
        assert!(matches!(error, RequestError::Shutdown { .. }), "{error}");
        assert_eq!(error.trace_id().to_string(), id);
    }
}

/// parity: W7
#[actix::test]
async fn after_the_stop_everything_is_refused() {
    let notes = Notes::default();
    let bus = TestBus::start([Domain::new("ears").handler(notes.of_ticks())]).await.unwrap();
    bus.runtime().stop().await;
    let refused = bus.publish(Tick { n: 1 }).await.unwrap_err();
    assert_eq!(refused, PublishError::Shutdown { event: "clock.tick" });
    assert!(bus.try_publish(Tick { n: 1 }).is_err());
    let error = bus.request(Ask { n: 1 }).await.unwrap_err();
    assert!(matches!(error, RequestError::Shutdown { .. } | RequestError::NoHandler { .. }));
    assert!(notes.all().is_empty());
    assert!(bus.runtime().stop().await.is_clean(), "a second stop is harmless");
}

#[actix::test]
async fn a_publisher_that_waits_for_room_is_told() {
    let stuck = on(async |_: &Tick, _: &EventContext| {
        std::future::pending::<()>().await;
        Ok(())
    });
    let policy = Policy::default().concurrency(1).queue_max(1);
    let clock = Domain::new("clock").handler(stuck.with(policy));
    let bus =
        TestBus::start_with(Runtime::new().mount(clock).drain_timeout(secs(1))).await.unwrap();
    for n in 1..=2 {
        bus.publish(Tick { n }).await.unwrap();
        tokio::task::yield_now().await;
    }
    let waiting = actix::spawn(bus.publish(Tick { n: 3 }).into_future());
    tokio::task::yield_now().await;
    bus.runtime().stop().await;
    let refused = waiting.await.unwrap().unwrap_err();
    assert_eq!(refused, PublishError::Shutdown { event: "clock.tick" });
}

#[actix::test]
async fn handlers_stop_in_reverse_order_and_run_their_hooks() {
    use actix::prelude::*;

    struct Leaver(i64, Notes);
    impl Actor for Leaver {
        type Context = Context<Self>;
        fn stopped(&mut self, _: &mut Context<Self>) {
            self.1.add(self.0);
        }
    }
    impl Handler<Delivery<Tick>> for Leaver {
        type Result = HandlerResult<()>;
        fn handle(&mut self, _: Delivery<Tick>, _: &mut Context<Self>) -> Self::Result {
            Ok(())
        }
    }
    let order = Notes::default();
    let leaver = |n| {
        let order = order.clone();
        Subscriber::new(move || Leaver(n, order.clone())).on::<Tick, ()>()
    };
    let bus = TestBus::start([
        Domain::new("a").actor(leaver(1)).actor(leaver(2)),
        Domain::new("b").actor(leaver(3)),
    ])
    .await
    .unwrap();
    bus.publish_tracked(Tick { n: 0 }).await.unwrap();
    bus.runtime().stop().await;
    assert_eq!(order.all(), [3, 2, 1]);
}

#[actix::test]
async fn two_runtimes_live_side_by_side() {
    let (left, right) = (Notes::default(), Notes::default());
    let first = TestBus::start([Domain::new("ears").handler(left.of_ticks())]).await.unwrap();
    let second = TestBus::start([Domain::new("ears").handler(right.of_ticks())]).await.unwrap();
    first.runtime().stop().await;
    second.publish_tracked(Tick { n: 2 }).await.unwrap();
    assert_eq!((left.all(), right.all()), (vec![], vec![2]));
}

#[actix::test]
async fn a_handler_that_publishes_during_the_drain_is_heard() {
    let heard = Arc::new(Mutex::new(None));
    let write = Arc::clone(&heard);
    let bus = TestBus::start([
        Domain::new("one").handler(on(async |e: &Begin, ctx: &EventContext| {
            tokio::time::sleep(secs(1)).await;
            let answer = ctx.request(Ask { n: e.n }).await?;
            ctx.publish(Begun { n: answer.n });
            Ok(())
        })),
        Domain::new("oracle")
            .handler(on(async |e: &Ask, _: &EventContext| Ok(Answer { n: e.n + 1 })))
            .handler(on(async move |e: &Begun, _: &EventContext| {
                *write.lock() = Some(e.n);
                Ok(())
            })),
    ])
    .await
    .unwrap();
    bus.publish(Begin { n: 1 }).await.unwrap();
    tokio::time::sleep(millis(1)).await;
    assert!(bus.runtime().stop().await.is_clean());
    assert_eq!(*heard.lock(), Some(2));
}

/// parity: W7
#[actix::test]
async fn while_it_drains_nothing_new_is_taken_from_outside() {
    let slow = on(async |event: &Ask, _: &EventContext| {
        tokio::time::sleep(secs(2)).await;
        Ok(Answer { n: event.n })
    });
    let bus = TestBus::start([Domain::new("oracle").handler(slow)]).await.unwrap();
    let early = actix::spawn(bus.request(Ask { n: 1 }).into_future());
    tokio::time::sleep(millis(1)).await;
    let late = bus.clone();
    let late = actix::spawn(async move {
        tokio::time::sleep(secs(1)).await;
        late.request(Ask { n: 2 }).await
    });
    assert!(bus.runtime().stop().await.is_clean());
    assert_eq!(early.await.unwrap().unwrap().n, 1);
    let error = late.await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::Shutdown { .. }), "{error}");
}
