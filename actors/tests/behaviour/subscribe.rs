//! Handlers come and go while the runtime runs; a full actor keeps its events in order.

use actix::prelude::*;
use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{HandlerFuture, StartFault, millis, secs};

use crate::play::{Begun, Ended, Notes, Tick};

/// Writes down two types of events.
struct Scribe(Notes);

impl Actor for Scribe {
    type Context = Context<Self>;
}

impl Handler<Delivery<Tick>> for Scribe {
    type Result = HandlerFuture<()>;
    fn handle(&mut self, tick: Delivery<Tick>, _: &mut Context<Self>) -> Self::Result {
        let notes = self.0.clone();
        HandlerFuture::new(async move {
            tokio::time::sleep(millis(5)).await;
            notes.add(tick.n);
            Ok(())
        })
    }
}

impl Handler<Delivery<Begun>> for Scribe {
    type Result = HandlerResult<()>;
    fn handle(&mut self, begun: Delivery<Begun>, _: &mut Context<Self>) -> Self::Result {
        self.0.add(begun.n);
        Ok(())
    }
}

fn scribe(notes: &Notes) -> Subscriber<Scribe> {
    let notes = notes.clone();
    Subscriber::new(move || Scribe(notes.clone())).on::<Tick, ()>().on::<Begun, ()>()
}

#[actix::test]
async fn an_actor_sees_all_its_events_in_the_order_of_publication() {
    let notes = Notes::default();
    let bus = TestBus::start([Domain::new("desk").actor(scribe(&notes))]).await.unwrap();
    for n in 0..10 {
        if n % 2 == 0 {
            bus.publish(Tick { n }).await.unwrap();
        } else {
            bus.publish(Begun { n }).await.unwrap();
        }
    }
    bus.quiet().await;
    assert_eq!(notes.all(), (0..10).collect::<Vec<_>>());
}

#[actix::test]
async fn a_handler_can_be_added_and_removed_at_run_time() {
    let notes = Notes::default();
    let bus = TestBus::start([]).await.unwrap();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    let subscription = bus.subscribe("desk", scribe(&notes)).await.unwrap();
    assert_eq!(subscription.handler(), "desk.Scribe");
    bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    for n in 3..=5 {
        bus.publish(Tick { n }).await.unwrap();
    }
    subscription.unsubscribe().await;
    assert_eq!(notes.all(), [2, 3, 4, 5], "what was accepted is handled before it goes");
    bus.publish_tracked(Tick { n: 6 }).await.unwrap();
    assert_eq!(notes.all(), [2, 3, 4, 5]);
    assert!(bus.metrics().handlers.is_empty());
}

#[actix::test]
async fn a_run_time_subscription_is_checked_like_any_other() {
    struct Forger;
    impl Actor for Forger {
        type Context = Context<Self>;
    }
    impl Handler<Delivery<Tick, Ended>> for Forger {
        type Result = HandlerResult<Ended>;
        fn handle(&mut self, tick: Delivery<Tick, Ended>, _: &mut Context<Self>) -> Self::Result {
            Ok(Ended { n: tick.n })
        }
    }
    let bus = TestBus::start([]).await.unwrap();
    let forger = Subscriber::new(|| Forger).on::<Tick, Ended>();
    let error = bus.subscribe("desk", forger).await.map(drop).unwrap_err();
    assert!(matches!(error.faults[..], [StartFault::ForeignNamespace { .. }]), "{error}");
    bus.runtime().stop().await;
    let error = bus.subscribe("desk", scribe(&Notes::default())).await.map(drop).unwrap_err();
    assert_eq!(error.faults, [StartFault::Shutdown]);
}

#[actix::test]
async fn timers_of_an_actor_run_beside_its_events() {
    struct Clock(Notes);
    impl Actor for Clock {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Context<Self>) {
            ctx.run_interval(secs(1), |clock, _| clock.0.add(0));
        }
    }
    impl Handler<Delivery<Tick>> for Clock {
        type Result = HandlerResult<()>;
        fn handle(&mut self, tick: Delivery<Tick>, _: &mut Context<Self>) -> Self::Result {
            self.0.add(tick.n);
            Ok(())
        }
    }
    let notes = Notes::default();
    let write = notes.clone();
    let clock = Subscriber::new(move || Clock(write.clone())).on::<Tick, ()>();
    let bus = TestBus::start([Domain::new("clock").actor(clock)]).await.unwrap();
    tokio::time::sleep(millis(1_500)).await;
    bus.publish_tracked(Tick { n: 7 }).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(notes.all(), [0, 7, 0]);
}
