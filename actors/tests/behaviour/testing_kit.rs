//! A tracked session tells all that followed from one event, and nothing that ran beside it.

use std::panic::AssertUnwindSafe;

use callboard_actors::prelude::*;
use callboard_actors::testing::{DropReason, TestBus, TestContext};
use callboard_actors::{Breaker, Failed, Identity, Overflow, RequestError, millis, secs};
use futures_util::FutureExt;

use crate::play::{Answer, Ask, Begin, Begun, Ended, Tick, WentOn, on, three_links};

/// The text of the panic with which the work ends.
async fn panic_of<T>(work: impl Future<Output = T>) -> String {
    let panic = AssertUnwindSafe(work).catch_unwind().await.err().expect("it did not panic");
    *panic.downcast::<String>().expect("a panic with a text")
}

async fn clock_bus(policy: Policy, failing: bool) -> TestBus {
    let handler = on(async move |_: &Tick, _: &EventContext| {
        if failing { Err(HandlerError::retry("the spring broke").code("spring")) } else { Ok(()) }
    });
    TestBus::start([Domain::new("clock").handler(handler.with(policy))]).await.unwrap()
}

#[actix::test]
async fn who_handled_what_is_told_for_the_whole_cascade() {
    let bus = three_links(0).await;
    let tracked = bus.publish_tracked(Begin { n: 1 }).await.unwrap();
    assert_eq!(tracked.handled::<Begin>()[0].handler, "one.First");
    assert_eq!(tracked.handled::<Begun>()[0].event.n, 2);
    assert_eq!(tracked.handled::<WentOn>()[0].attempts, 1);
    assert!(tracked.handled::<Ended>().is_empty());
    assert_eq!(tracked.published::<Ended>().one().n, 4);
    assert_eq!(tracked.unheard(), ["three.ended"]);
    tracked.assert_clean();
}

#[actix::test]
async fn a_request_is_tracked_beyond_its_reply() {
    let bus = three_links(0).await;
    let (reply, tracked) = bus.request_tracked(Begin { n: 1 }).await;
    assert_eq!(reply.unwrap().n, 2);
    assert_eq!(tracked.published::<Ended>().one().n, 4);
}

#[actix::test]
async fn a_refused_request_has_its_error_and_its_session() {
    let bus = three_links(1).await;
    let (reply, tracked) = bus.request_tracked(Begin { n: 1 }).await;
    assert!(matches!(reply, Err(RequestError::Handler { .. })));
    assert_eq!(tracked.failed::<Begin>()[0].error.error_code(), "broken");
    assert!(tracked.handled::<Begin>().is_empty());
}

#[actix::test]
async fn a_failure_has_its_handler_its_error_and_its_attempts() {
    let bus = clock_bus(Policy::default().attempts_max(3), true).await;
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    let failed = &tracked.failed::<Tick>()[0];
    assert_eq!((&*failed.handler, failed.attempts), ("clock.On", 3));
    assert_eq!(failed.error.message(), "the spring broke");
    assert_eq!(tracked.dead_letters().len(), 1);
    assert_eq!(tracked.published::<Failed<Tick>>().one().code, "spring");
}

#[actix::test]
async fn attempts_and_pauses_count_for_the_duration() {
    let second_time = on(async |event: &Tick, ctx: &EventContext| {
        if i64::from(ctx.attempt()) < event.n { Err(HandlerError::retry("no")) } else { Ok(()) }
    });
    let fixed = callboard_actors::Jitter::None;
    let policy =
        Policy::default().attempts_max(2).retry_delay(secs(2), secs(2)).retry_jitter(fixed);
    let bus =
        TestBus::start([Domain::new("clock").handler(second_time.with(policy))]).await.unwrap();
    let tracked = bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    let handled = &tracked.handled::<Tick>()[0];
    assert_eq!(handled.attempts, 2);
    assert!(handled.took >= secs(2) && handled.took < millis(2_020), "{:?}", handled.took);
}

#[actix::test]
async fn what_was_dropped_is_told_with_its_reason() {
    let slow = on(async |_: &Tick, _: &EventContext| {
        tokio::time::sleep(secs(10)).await;
        Ok(())
    });
    let policy = Policy::default().concurrency(1).queue_max(1).overflow(Overflow::DropNewest);
    let bus = TestBus::start([Domain::new("clock").handler(slow.with(policy))]).await.unwrap();
    for n in [1, 2] {
        bus.publish(Tick { n }).await.unwrap();
        tokio::task::yield_now().await;
    }
    let tracked = bus.publish_tracked(Tick { n: 3 }).await.unwrap();
    let dropped = &tracked.dropped()[0];
    assert_eq!((&*dropped.handler, dropped.reason), ("clock.On", DropReason::Overflow));
    assert_eq!(dropped.envelope.event::<Tick>().unwrap().n, 3);
    assert!(tracked.handled::<Tick>().is_empty(), "those of 1 and 2 are not of this session");
}

#[actix::test]
async fn what_was_too_old_is_told_as_expired() {
    let slow = on(async |_: &Tick, _: &EventContext| {
        tokio::time::sleep(secs(10)).await;
        Ok(())
    });
    let policy = Policy::default().concurrency(1);
    let bus = TestBus::start([Domain::new("clock").handler(slow.with(policy))]).await.unwrap();
    bus.publish(Tick { n: 1 }).await.unwrap();
    let (_, tracked) = bus.track(bus.publish(Tick { n: 2 }).ttl(secs(1))).await;
    assert_eq!(tracked.dropped()[0].reason, DropReason::Expired);
    assert!(panic_of(async { tracked.assert_clean() }).await.contains("too old"));
}

#[actix::test]
async fn only_what_belongs_to_the_event_is_in_its_session() {
    let beside = on(async |event: &Tick, _: &EventContext| {
        tokio::time::sleep(secs(1)).await;
        Ok((event.n > 0).then_some(Tick { n: event.n - 1 }))
    });
    let answering = on(async |event: &Ask, _: &EventContext| {
        tokio::time::sleep(secs(2)).await;
        Ok(Answer { n: event.n })
    });
    let domains = [Domain::new("clock").handler(beside), Domain::new("oracle").handler(answering)];
    let bus = TestBus::start(domains).await.unwrap();
    bus.publish(Tick { n: 5 }).await.unwrap();
    let tracked = bus.publish_tracked(Ask { n: 1 }).await.unwrap();
    assert_eq!(tracked.names(), ["oracle.ask", "oracle.answered"]);
    assert!(tracked.handled::<Tick>().is_empty());
    assert_eq!(bus.published::<Tick>().count(), 6, "the bus as a whole has them");
}

#[actix::test]
async fn what_a_handler_asks_others_belongs_to_its_session() {
    let asking = on(async |event: &Tick, ctx: &EventContext| {
        ctx.request(Ask { n: event.n }).await?;
        ctx.publish_now(Begun { n: 0 }).await?;
        Ok(())
    });
    let answering = on(async |event: &Ask, _: &EventContext| Ok(Answer { n: event.n }));
    let domains = [Domain::new("clock").handler(asking), Domain::new("oracle").handler(answering)];
    let bus = TestBus::start(domains).await.unwrap();
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_eq!(tracked.names(), ["clock.tick", "oracle.ask", "oracle.answered", "one.begun"]);
}

#[actix::test]
async fn the_builder_s_context_and_trace_are_kept() {
    let bus = three_links(0).await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
    let request = bus.request(Begin { n: 1 }).trace_id(trace_id).tenant("acme").until::<Ended>();
    let (ended, tracked) = bus.track(request).await;
    assert_eq!(ended.unwrap().n, 4);
    assert_eq!(tracked.names().len(), 4);
}

#[actix::test]
async fn a_schedule_that_was_made_meanwhile_is_told() {
    let bus_of_handler = std::sync::Arc::new(std::sync::OnceLock::<callboard_actors::Bus>::new());
    let read = bus_of_handler.clone();
    let scheduling = on(async move |event: &Begin, _: &EventContext| {
        let schedule = read.get().unwrap().schedule(Tick { n: event.n });
        schedule.after(secs(60)).map(drop)?;
        Ok(())
    });
    let bus = TestBus::start([Domain::new("one").handler(scheduling)]).await.unwrap();
    bus_of_handler.set(bus.runtime().bus()).unwrap();
    let tracked = bus.publish_tracked(Begin { n: 7 }).await.unwrap();
    let scheduled = &tracked.scheduled::<Tick>()[0];
    assert_eq!((scheduled.event.n, &*scheduled.spec), (7, "after 60s"));
    assert!(tracked.scheduled::<Begin>().is_empty());
    assert!(bus.publish_tracked(Tick { n: 0 }).await.unwrap().scheduled::<Tick>().is_empty());
}

#[actix::test]
async fn the_timeline_has_a_line_for_each_step() {
    let bus = clock_bus(Policy::default(), true).await;
    tokio::time::sleep(secs(100)).await;
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    let timeline = tracked.timeline();
    let lines: Vec<_> = timeline.lines().collect();
    assert_eq!(lines.len(), 5, "{timeline}");
    assert!(lines[0].starts_with("    0.000 s  clock.tick "), "{timeline}");
    assert!(lines[0].ends_with("published by bus"), "{timeline}");
    assert!(lines[1].contains("clock.tick        clock.On  failed after 0ns, attempts: 1: spring"));
    assert!(lines[3].ends_with("heard by nobody"), "{timeline}");
    assert!(lines[4].contains("clock.On  dead letter"), "{timeline}");
}

#[actix::test]
async fn an_unclean_session_fails_with_its_timeline() {
    let bus = clock_bus(Policy::default(), true).await;
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    let text = panic_of(async { tracked.assert_clean() }).await;
    assert!(text.starts_with("failed: 1, dead letters: 1, dropped: 0\n"), "{text}");
    assert!(text.contains("the spring broke"), "{text}");
}

#[actix::test]
async fn a_paused_queue_ends_the_session_with_an_account() {
    let bus = clock_bus(Policy::default(), false).await;
    bus.handler("clock.On").unwrap().pause();
    let begun = tokio::time::Instant::now();
    let text = panic_of(bus.publish_tracked(Tick { n: 1 })).await;
    crate::play::assert_took(begun, secs(300));
    assert!(text.contains("not quiet after 300s"), "{text}");
    assert!(text.contains("clock.On: 1 queued, 0 in work (Up, paused)"), "{text}");
    assert!(text.contains("clock.tick"), "{text}");
}

#[actix::test]
async fn a_breaker_that_holds_ends_the_session_with_an_account() {
    let breaker = Breaker::consecutive(1).open_for(secs(3600)).holding();
    let policy = Policy::default().breaker(breaker);
    let bus = clock_bus(policy, true).await.session_max(secs(10));
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    let text = panic_of(bus.publish_tracked(Tick { n: 2 })).await;
    assert!(text.contains("not quiet after 10s"), "{text}");
    assert!(text.contains("clock.On: 0 queued, 1 in work (Up, breaker Open)"), "{text}");
    let text = panic_of(bus.quiet()).await;
    assert!(text.contains("1 in work"), "{text}");
}

#[actix::test]
async fn a_handler_is_tested_with_a_context_made_for_it() {
    let handler = on(async |event: &Tick, ctx: &EventContext| {
        let subject = ctx.identity().map(|identity| identity.subject.clone());
        ctx.publish(Begun { n: event.n + i64::from(ctx.attempt()) });
        match (subject.as_deref(), ctx.tenant(), ctx.header("locale"), ctx.source()) {
            (Some("ada"), Some("acme"), Some("fr"), "ws") => Ok(()),
            other => Err(HandlerError::reject(format!("{other:?}"))),
        }
    });
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
    let ctx = TestContext::new().identity(Identity::new("ada")).tenant("acme").source("ws");
    let ctx = ctx.header("locale", "fr").attempt(3).remaining(secs(9)).trace_id(trace_id).build();
    handler.handle(&Tick { n: 1 }, &ctx).await.unwrap();
    assert_eq!(ctx.published::<Begun>()[0].n, 4);
    assert_eq!(ctx.trace_id(), trace_id);
    assert!(ctx.remaining().is_some_and(|left| left > secs(8) && left <= secs(9)));
    assert_eq!(TestContext::new().build().attempt(), 1);
}
