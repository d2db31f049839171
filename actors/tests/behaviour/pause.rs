//! A paused handler keeps what waits, and goes on where it stopped.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Left, Overflow, PublishError, RequestError, Runtime, secs};
use tokio::time::{Instant, sleep};

use crate::play::{Log, Order, Receipt, assert_took, metrics, on, order, send, settle, shop};

async fn slow(policy: Policy) -> (TestBus, Log) {
    let log = Log::default();
    let write = log.clone();
    let bus = shop(policy.concurrency(1), async move |event: &Order, _: &EventContext| {
        sleep(secs(1)).await;
        write.add(event.n.to_string());
        Ok(Receipt { n: event.n })
    })
    .await;
    (bus, log)
}

#[actix::test]
async fn what_is_in_work_ends_what_waits_is_kept_and_goes_on_in_order() {
    let (bus, log) = slow(Policy::default()).await;
    let handle = bus.handler("shop.On").unwrap();
    bus.publish(order("", 1)).await.unwrap();
    settle().await;
    handle.pause();
    assert!(handle.is_paused() && metrics(&bus, "shop.On").is_paused);
    for n in 2..=4 {
        bus.publish(order("", n)).await.unwrap();
    }
    sleep(secs(100)).await;
    assert_eq!(log.all(), ["1"]);
    let waiting = metrics(&bus, "shop.On");
    assert_eq!(waiting.queue_depth, 3);
    assert!((100_000.0..100_100.0).contains(&waiting.queue_age_ms), "{waiting:?}");
    handle.resume();
    assert!(!handle.is_paused());
    bus.quiet().await;
    assert_eq!(metrics(&bus, "shop.On").queue_age_ms.to_string(), "0");
    assert_eq!(log.all(), ["1", "2", "3", "4"]);
}

#[actix::test]
async fn requests_time_out_meanwhile_and_are_not_handled_afterwards() {
    let (bus, log) = slow(Policy::default()).await;
    let handle = bus.handler("shop.On").unwrap();
    handle.pause();
    let begun = Instant::now();
    let error = bus.request(order("", 1)).timeout(secs(3)).await.unwrap_err();
    assert!(matches!(error, RequestError::Timeout { .. }), "{error}");
    assert_took(begun, secs(3));
    handle.resume();
    bus.quiet().await;
    assert_eq!(log.all(), [""; 0]);
}

#[actix::test]
async fn the_queue_fills_up_and_then_its_overflow_policy_applies() {
    let (bus, log) = slow(Policy::default().queue_max(2).overflow(Overflow::Reject)).await;
    let handle = bus.handler("shop.On").unwrap();
    handle.pause();
    for n in 1..=2 {
        bus.publish(order("", n)).await.unwrap();
    }
    let full = bus.publish(order("", 3)).await.unwrap_err();
    assert!(matches!(full, PublishError::Full { queue_max: 2, .. }), "{full}");
    handle.resume();
    bus.quiet().await;
    assert_eq!(log.all(), ["1", "2"]);
}

#[actix::test]
async fn a_stop_reports_what_is_left_and_does_not_handle_it() {
    let log = Log::default();
    let write = log.clone();
    let handler = on(async move |event: &Order, _: &EventContext| {
        write.add(event.n.to_string());
        Ok(Receipt { n: event.n })
    });
    let builder = Runtime::new().mount(Domain::new("shop").handler(handler)).drain_timeout(secs(2));
    let bus = TestBus::start_with(builder).await.unwrap();
    bus.handler("shop.On").unwrap().pause();
    for n in 1..=3 {
        bus.publish(order("", n)).await.unwrap();
    }
    let waiting = send(&bus, "", 4);
    settle().await;
    let report = bus.runtime().stop().await;
    let [Left { handler, queued, in_flight, .. }] = &report.left[..] else { panic!("{report:?}") };
    assert_eq!((handler.as_str(), *queued, *in_flight), ("shop.On", 4, 0));
    assert_eq!(log.len(), 0);
    let told = waiting.await.unwrap().unwrap_err();
    assert!(matches!(told, RequestError::Shutdown { .. }), "{told}");
}

#[actix::test]
async fn another_thread_may_pause_and_resume() {
    let (bus, log) = slow(Policy::default()).await;
    let handle = bus.handler("shop.On").unwrap();
    let from_afar = |steer: fn(&callboard_actors::HandlerHandle)| {
        let handle = handle.clone();
        std::thread::spawn(move || steer(&handle)).join().unwrap();
    };
    from_afar(callboard_actors::HandlerHandle::pause);
    bus.publish(order("", 1)).await.unwrap();
    sleep(secs(10)).await;
    assert_eq!(log.len(), 0);
    from_afar(callboard_actors::HandlerHandle::resume);
    bus.quiet().await;
    assert_eq!(log.all(), ["1"]);
}

struct Clerk(Log);

impl actix::Actor for Clerk {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Delivery<Order>> for Clerk {
    type Result = HandlerResult<()>;
    fn handle(&mut self, order: Delivery<Order>, _: &mut actix::Context<Self>) -> Self::Result {
        self.0.add(order.n.to_string());
        Ok(())
    }
}

#[actix::test]
async fn a_paused_handler_that_leaves_is_done_with_what_waits() {
    let log = Log::default();
    let made = log.clone();
    let bus = TestBus::start([]).await.unwrap();
    let clerk = Subscriber::new(move || Clerk(made.clone())).on::<Order, ()>();
    let subscription = bus.subscribe("shop", clerk).await.unwrap();
    subscription.handle().pause();
    for n in 1..=2 {
        bus.publish(order("", n)).await.unwrap();
    }
    let left = tokio::time::timeout(secs(60), subscription.unsubscribe()).await;
    assert!(left.is_ok(), "it waits for ever");
    assert_eq!(log.all(), ["1", "2"]);
}
