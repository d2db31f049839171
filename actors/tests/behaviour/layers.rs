//! Layers wrap deliveries and attempts: they look on, refuse, answer, fail, and may panic.

use std::sync::atomic::{AtomicU32, Ordering};

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Inbound, Jitter, Layer, LayerFuture, Next, RequestError, millis, secs};
use tokio::time::{Instant, sleep};

use crate::play::{Log, Order, Receipt, assert_took, metrics, order, settle, shop};

/// A shop that fails as often as its order says, then answers.
async fn failing_first(policy: Policy) -> (TestBus, Log) {
    let calls = Log::default();
    let write = calls.clone();
    let policy = policy.retry_delay(millis(10), millis(10)).retry_jitter(Jitter::None);
    let bus = shop(policy, async move |event: &Order, ctx: &EventContext| {
        write.add(format!("call {}", ctx.attempt()));
        ctx.publish(Receipt { n: -i64::from(ctx.attempt()) });
        if event.key == "slow" {
            sleep(secs(10)).await;
        }
        if i64::from(ctx.attempt()) <= event.n {
            return Err(HandlerError::retry("not yet"));
        }
        Ok(Receipt { n: event.n })
    })
    .await;
    (bus, calls)
}

/// Writes down what comes in and what comes out.
fn audit(name: &'static str, log: &Log) -> impl Layer + use<> {
    let log = log.clone();
    async move |inbound: &Inbound, next: Next<'_>| {
        log.add(format!("{name} {} in", inbound.attempt()));
        let outcome = next.run().await;
        let out = outcome.as_ref().map_or_else(HandlerError::error_code, |()| "ok");
        log.add(format!("{name} {} {out}", inbound.attempt()));
        outcome
    }
}

#[actix::test]
async fn around_the_delivery_once_and_around_each_attempt() {
    let log = Log::default();
    let policy = Policy::default()
        .attempts_max(2)
        .around_attempt(audit("attempt", &log))
        .around_delivery(audit("outer", &log))
        .around_delivery(audit("inner", &log));
    let (bus, _) = failing_first(policy).await;
    bus.request(order("", 1)).await.unwrap();
    let retried = ["attempt 1 in", "attempt 1 handler_error", "attempt 2 in", "attempt 2 ok"];
    let mut expected = vec!["outer 0 in", "inner 0 in"];
    expected.extend(retried);
    expected.extend(["inner 0 ok", "outer 0 ok"]);
    assert_eq!(log.all(), expected);
}

#[actix::test]
async fn a_layer_sees_event_handler_and_domain() {
    let log = Log::default();
    let write = log.clone();
    let look = async move |inbound: &Inbound, next: Next<'_>| {
        let envelope = inbound.envelope();
        let tenant = envelope.metadata().tenant().unwrap_or_default();
        write.add(format!("{} {} {}", inbound.handler(), inbound.domain(), envelope.name()));
        write.add(format!("{} {}", tenant, envelope.event::<Order>().unwrap().n));
        next.run().await
    };
    let (bus, _) = failing_first(Policy::default().around_delivery(look)).await;
    bus.request(order("", 0)).tenant("acme").await.unwrap();
    assert_eq!(log.all(), ["shop.On shop shop.order", "acme 0"]);
}

async fn tenant_only(inbound: &Inbound, next: Next<'_>) -> HandlerResult<()> {
    if inbound.envelope().metadata().tenant().is_none() {
        return Err(HandlerError::forbidden("a tenant is required"));
    }
    next.run().await
}

#[actix::test]
async fn a_layer_that_refuses_keeps_the_event_from_the_handler() {
    for policy in [
        Policy::default().around_delivery(tenant_only),
        Policy::default().around_attempt(tenant_only),
    ] {
        let (bus, calls) = failing_first(policy.attempts_max(3)).await;
        let error = bus.request(order("", 0)).await.unwrap_err();
        let RequestError::Handler { error, handler, .. } = error else { panic!("{error}") };
        assert_eq!((error.error_code(), handler.as_str()), ("forbidden", "shop.On"));
        assert_eq!(calls.len(), 0);
        bus.request(order("", 0)).tenant("acme").await.unwrap();
        bus.quiet().await;
        assert!(bus.letters().await.is_empty());
        assert_eq!(calls.len(), 1);
    }
}

#[actix::test]
async fn a_layer_may_answer_without_outputs() {
    let answering = async |_: &Inbound, _: Next<'_>| Ok(());
    for policy in
        [Policy::default().around_delivery(answering), Policy::default().around_attempt(answering)]
    {
        let (bus, calls) = failing_first(policy).await;
        let error = bus.request(order("", 0)).await.unwrap_err();
        assert!(matches!(error, RequestError::NoReply { .. }), "{error}");
        assert_eq!((calls.len(), metrics(&bus, "shop.On").errors), (0, 0));
    }
}

#[actix::test]
async fn a_layer_that_fails_afterwards_drops_the_outputs() {
    let spoiling = async |_: &Inbound, next: Next<'_>| {
        next.run().await?;
        Err(HandlerError::retry("after all").code("spoiled"))
    };
    for policy in
        [Policy::default().around_delivery(spoiling), Policy::default().around_attempt(spoiling)]
    {
        let (bus, calls) = failing_first(policy).await;
        assert_eq!(bus.request(order("", 0)).await.unwrap_err().code(), "spoiled");
        bus.quiet().await;
        assert_eq!(calls.len(), 1);
        assert_eq!(bus.published::<Receipt>().count(), 0);
        assert_eq!(bus.dead_letters().count(), 1);
    }
}

#[actix::test]
async fn a_failure_around_an_attempt_is_tried_again_one_around_the_delivery_is_final() {
    let failing = || async |_: &Inbound, _: Next<'_>| Err(HandlerError::retry("no"));
    let log = Log::default();
    let policy = Policy::default().attempts_max(3);
    let (bus, _) =
        failing_first(policy.clone().around_attempt(audit("a", &log)).around_attempt(failing()))
            .await;
    bus.request(order("", 0)).await.unwrap_err();
    assert_eq!(log.len(), 6);
    let log = Log::default();
    let (bus, _) =
        failing_first(policy.around_delivery(audit("d", &log)).around_delivery(failing())).await;
    bus.request(order("", 0)).await.unwrap_err();
    assert_eq!(log.len(), 2);
}

#[actix::test]
async fn a_layer_that_panics_is_an_error_and_the_handler_goes_on() {
    let panicking = async |inbound: &Inbound, next: Next<'_>| {
        let order = inbound.envelope().event::<Order>().unwrap();
        assert!(order.key != "panic", "the layer's");
        next.run().await
    };
    for policy in
        [Policy::default().around_delivery(panicking), Policy::default().around_attempt(panicking)]
    {
        let (bus, calls) = failing_first(policy).await;
        let error = bus.request(order("panic", 0)).await.unwrap_err();
        assert_eq!(error.code(), "panic");
        assert!(error.to_string().contains("the layer's"), "{error}");
        bus.request(order("", 0)).await.unwrap();
        assert_eq!(calls.len(), 1);
        assert_eq!(metrics(&bus, "shop.On").restarts, 0, "the actor did nothing wrong");
        bus.quiet().await;
        assert_eq!(metrics(&bus, "shop.On").in_flight, 0);
    }
}

/// Counts, and says so under a name of its own.
struct Counter(AtomicU32, Log);

impl Layer for Counter {
    fn call<'a>(&'a self, _: &'a Inbound, next: Next<'a>) -> LayerFuture<'a> {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        self.1.add(n.to_string());
        Box::pin(async move { next.run().await })
    }

    fn name(&self) -> &'static str {
        "counter"
    }
}

#[actix::test]
async fn a_struct_with_state_is_a_layer_and_is_printed_by_its_name() {
    let log = Log::default();
    let policy = Policy::default().around_delivery(Counter(AtomicU32::new(0), log.clone()));
    let (bus, _) = failing_first(policy).await;
    for _ in 0..3 {
        bus.request(order("", 0)).await.unwrap();
    }
    assert_eq!(log.all(), ["1", "2", "3"]);
    let printed = bus.handler("shop.On").unwrap().policy().to_string();
    assert!(printed.contains("around_delivery=faults,counter"), "{printed}");
}

#[actix::test]
async fn what_a_layer_tries_again_puts_out_only_what_succeeded() {
    let tries = AtomicU32::new(0);
    let again = async move |_: &Inbound, next: Next<'_>| {
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            next.run().await.unwrap_err();
            return Ok(());
        }
        next.run().await
    };
    let (bus, calls) = failing_first(Policy::default().around_attempt(again)).await;
    let tracked = bus.publish_tracked(order("", 1)).await.unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(tracked.published::<Receipt>().count(), 0, "its handler had failed");
}

#[actix::test]
async fn the_timeout_counts_the_layers_around_the_attempt_and_not_those_around_the_delivery() {
    let slow = || {
        async |_: &Inbound, next: Next<'_>| {
            sleep(secs(5)).await;
            next.run().await
        }
    };
    let policy = Policy::default().timeout(secs(2));
    let (bus, calls) = failing_first(policy.clone().around_attempt(slow())).await;
    let begun = Instant::now();
    assert_eq!(bus.request(order("", 0)).await.unwrap_err().code(), "timeout");
    assert_took(begun, secs(2));
    assert_eq!(calls.len(), 0);
    let (bus, _) = failing_first(policy.around_delivery(slow())).await;
    let begun = Instant::now();
    bus.request(order("", 0)).await.unwrap();
    assert_took(begun, secs(5));
    settle().await;
}
