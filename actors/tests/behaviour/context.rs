//! What a handler learns from its context, with and without a runtime.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Identity, RequestError};

use crate::play::{Ask, Begun, Ended, Tick, on};

#[actix::test]
async fn a_handler_can_be_tested_without_a_runtime() {
    let ctx = EventContext::test();
    let handler = on(async |event: &Tick, ctx: &EventContext| {
        ctx.publish(Begun { n: event.n });
        match ctx.request(Ask { n: 1 }).await {
            Err(RequestError::NoHandler { .. }) => Ok(ctx.attempt()),
            other => panic!("{other:?}"),
        }
        .map(|_| ())
    });
    handler.handle(&Tick { n: 3 }, &ctx).await.unwrap();
    assert_eq!(ctx.published::<Begun>()[0].n, 3);
    assert!(ctx.published::<Ended>().is_empty());
}

#[actix::test]
async fn identity_is_what_the_publisher_s_side_established() {
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let write = seen.clone();
    let handler = on(async move |_: &Tick, ctx: &EventContext| {
        write.lock().push(ctx.identity().map(|identity| identity.subject.clone()));
        Ok(())
    });
    let bus = TestBus::start([Domain::new("clock").handler(handler)]).await.unwrap();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    bus.publish(Tick { n: 2 }).identity(Identity::new("ada")).await.unwrap();
    bus.quiet().await;
    assert_eq!(*seen.lock(), [None, Some("ada".to_owned())]);
}

#[actix::test]
async fn publishing_under_a_foreign_name_fails_the_delivery_loudly() {
    let handler = on(async |_: &Tick, ctx: &EventContext| {
        ctx.publish(Begun { n: 0 });
        Ok(())
    });
    let bus = TestBus::start([Domain::new("clock").handler(handler)]).await.unwrap();
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_eq!(tracked.names(), ["clock.tick", "clock.tick.error"]);
    let reason = tracked.dead_letters()[0].reason.to_string();
    assert!(reason.contains("domain `clock` may publish only `clock.*`"), "{reason}");
}

#[actix::test]
async fn publish_now_leaves_at_once_and_under_any_name() {
    let handler = on(async |_: &Tick, ctx: &EventContext| -> HandlerResult<()> {
        ctx.publish_now(Begun { n: 5 }).await?;
        Err(HandlerError::reject("afterwards"))
    });
    let bus = TestBus::start([Domain::new("clock").handler(handler)]).await.unwrap();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_eq!(bus.published::<Begun>().one().n, 5);
}

#[actix::test]
async fn identifiers_repeat_under_the_same_seed_and_never_within_one() {
    let handler = || on(async |_: &Tick, _: &EventContext| Ok(()));
    let mut runs = Vec::new();
    for _ in 0..2 {
        let bus = TestBus::start([Domain::new("clock").handler(handler())]).await.unwrap();
        for n in 0..3 {
            bus.publish_tracked(Tick { n }).await.unwrap();
        }
        let events = bus.events(&callboard_actors::EventQuery::default());
        runs.push(events.iter().map(|event| event.trace_id).collect::<Vec<_>>());
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0][0] != runs[0][1] && runs[0][1] != runs[0][2]);
}
