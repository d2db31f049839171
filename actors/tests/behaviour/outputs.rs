//! What a handler puts out is published after it succeeded, in one trace, with its cause.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{DeadReason, ErrorKind, Failed, millis, secs};

use crate::play::{Begin, Begun, Notes, Tick, assert_took, on};

/// Everything of domain `one` and `clock`, so that `Begun` and `Tick` are heard.
async fn with_begin<O, F>(work: F) -> (TestBus, Notes)
where
    O: callboard_actors::Output,
    F: AsyncFn(&Begin, &EventContext) -> HandlerResult<O> + Clone + Send + 'static,
{
    let heard = Notes::default();
    let write = heard.clone();
    let listener = on(async move |event: &Begun, _: &EventContext| {
        write.add(event.n);
        Ok(())
    });
    let one = Domain::new("one").handler(on(work));
    let bus = TestBus::start([one, Domain::new("ears").handler(listener)]).await.unwrap();
    (bus, heard)
}

#[actix::test]
async fn nothing_one_some_several_and_tuples() {
    let (bus, heard) = with_begin(async |event: &Begin, _: &EventContext| {
        let n = event.n;
        Ok((Begun { n }, None::<Begun>, Some(Begun { n: n + 1 }), vec![Begun { n: n + 2 }; 2], ()))
    })
    .await;
    let tracked = bus.publish_tracked(Begin { n: 1 }).await.unwrap();
    assert_eq!(tracked.names(), ["one.begin", "one.begun", "one.begun", "one.begun", "one.begun"]);
    assert_eq!(heard.all(), [1, 2, 3, 3]);
}

#[actix::test]
async fn what_a_failed_handler_published_is_dropped() {
    let (bus, heard) = with_begin(async |event: &Begin, ctx: &EventContext| {
        ctx.publish(Begun { n: event.n });
        if event.n < 0 { Err(HandlerError::reject("negative")) } else { Ok(()) }
    })
    .await;
    bus.publish_tracked(Begin { n: -1 }).await.unwrap();
    bus.publish_tracked(Begin { n: 1 }).await.unwrap();
    assert_eq!(heard.all(), [1]);
}

#[actix::test]
async fn outputs_carry_the_trace_the_cause_and_the_context() {
    let (bus, _) =
        with_begin(async |event: &Begin, _: &EventContext| Ok(Begun { n: event.n })).await;
    let request = bus.request(Begin { n: 1 }).tenant("acme").header("shelf", "top").source("test");
    let reply = request.envelope().await.unwrap();
    assert_eq!(reply.metadata().tenant(), Some("acme"));
    assert_eq!(reply.metadata().header("shelf"), Some("top"));
    assert_eq!(reply.causation_id(), Some(reply.metadata().correlation_id));
    assert_eq!(reply.source(), "one.On");
    assert_eq!(reply.hops(), 1);
}

/// parity: W9
#[actix::test]
async fn the_error_fact_keeps_the_context() {
    let failing = on(async |_: &Tick, _: &EventContext| -> HandlerResult<()> {
        Err(HandlerError::reject("no clocks here").code("clockless"))
    });
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let write = seen.clone();
    let mourner = on(async move |fact: &Failed<Tick>, ctx: &EventContext| {
        let context = (ctx.tenant().map(str::to_owned), ctx.header("shelf").map(str::to_owned));
        *write.lock() = Some((fact.event.n, fact.code.clone(), ctx.trace_id(), context));
        Ok(())
    });
    let domains = [Domain::new("clock").handler(failing), Domain::new("ears").handler(mourner)];
    let bus = TestBus::start(domains).await.unwrap();
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
    let tick = bus.publish(Tick { n: 7 });
    tick.trace_id(trace_id).tenant("acme").header("shelf", "top").await.unwrap();
    bus.quiet().await;
    let context = (Some("acme".to_owned()), Some("top".to_owned()));
    assert_eq!(seen.lock().take().unwrap(), (7, "clockless".to_owned(), trace_id, context));
}

#[actix::test]
async fn a_failing_error_handler_makes_no_further_error_fact() {
    let failing = on(async |_: &Tick, _: &EventContext| -> HandlerResult<()> {
        Err(HandlerError::reject("no"))
    });
    let also_failing = on(async |_: &Failed<Tick>, _: &EventContext| -> HandlerResult<()> {
        Err(HandlerError::reject("neither"))
    });
    let domains =
        [Domain::new("clock").handler(failing), Domain::new("ears").handler(also_failing)];
    let bus = TestBus::start(domains).await.unwrap();
    let tracked = bus.publish_tracked(Tick { n: 7 }).await.unwrap();
    assert_eq!(tracked.names(), ["clock.tick", "clock.tick.error"]);
    assert_eq!(tracked.dead_letters().len(), 2);
}

#[actix::test]
async fn a_question_mark_is_retried_up_to_the_limit_and_then_dead() {
    let flaky = on(async |event: &Tick, ctx: &EventContext| {
        if i64::from(ctx.attempt()) < event.n {
            Err(std::io::Error::other("not yet"))?;
        }
        Ok(())
    });
    let policy = Policy::default().attempts_max(3).retry_delay(millis(100), secs(1));
    let bus = TestBus::start([Domain::new("clock").handler(flaky.with(policy))]).await.unwrap();
    let tracked = bus.publish_tracked(Tick { n: 3 }).await.unwrap();
    assert!(tracked.dead_letters().is_empty());
    let begun = tokio::time::Instant::now();
    let tracked = bus.publish_tracked(Tick { n: 4 }).await.unwrap();
    assert!(begun.elapsed() <= millis(100 + 200 + 20));
    let letter = &tracked.dead_letters()[0];
    assert_eq!(letter.attempts, 3);
    assert!(matches!(&letter.reason, DeadReason::Failed(e) if e.message() == "not yet"));
}

#[actix::test]
async fn a_rejection_is_not_retried() {
    let rejecting = on(async |_: &Tick, _: &EventContext| -> HandlerResult<()> {
        Err(HandlerError::conflict("twice"))
    });
    let policy = Policy::default().attempts_max(5);
    let bus = TestBus::start([Domain::new("clock").handler(rejecting.with(policy))]).await.unwrap();
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_eq!(tracked.dead_letters()[0].attempts, 1);
}

#[actix::test]
async fn a_snooze_uses_up_no_attempt() {
    let times = Notes::default();
    let write = times.clone();
    let sleepy = on(async move |_: &Tick, ctx: &EventContext| {
        write.add(i64::from(ctx.attempt()));
        if write.all().len() < 3 { Err(HandlerError::snooze(secs(60))) } else { Ok(()) }
    });
    let bus = TestBus::start([Domain::new("clock").handler(sleepy)]).await.unwrap();
    let begun = tokio::time::Instant::now();
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_took(begun, secs(120));
    assert_eq!(times.all(), [1, 1, 1]);
    assert!(tracked.dead_letters().is_empty());
}

#[actix::test]
async fn the_policy_s_timeout_drops_the_attempt() {
    let slow = on(async |_: &Tick, _: &EventContext| {
        tokio::time::sleep(secs(60)).await;
        Ok(())
    });
    let policy = Policy::default().timeout(secs(2));
    let bus = TestBus::start([Domain::new("clock").handler(slow.with(policy))]).await.unwrap();
    let begun = tokio::time::Instant::now();
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_took(begun, secs(2));
    let DeadReason::Failed(error) = &tracked.dead_letters()[0].reason else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[actix::test]
async fn what_makes_good_for_a_failure_has_its_own_time() {
    let slow = on(async |_: &Begin, _: &EventContext| {
        tokio::time::sleep(secs(60)).await;
        Ok(Begun { n: 0 })
    });
    let mended = Notes::default();
    let write = mended.clone();
    let mender = on(async move |fact: &Failed<Begin>, _: &EventContext| {
        tokio::time::sleep(secs(5)).await;
        write.add(fact.event.n);
        Ok(())
    });
    let domains = [Domain::new("one").handler(slow), Domain::new("ears").handler(mender)];
    let bus = TestBus::start(domains).await.unwrap();
    bus.request(Begin { n: 9 }).timeout(secs(1)).await.unwrap_err();
    bus.quiet().await;
    assert_eq!(mended.all(), [9]);
}
