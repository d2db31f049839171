//! Faults that a test injects take the ways that real ones take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, Context, Handler};
use callboard_actors::prelude::*;
use callboard_actors::testing::{DropReason, Fault, TestBus};
use callboard_actors::{Dedupe, ErrorKind, millis, secs};

use crate::play::{Answer, Ask, Notes, Tick, assert_took, on};

async fn noting(policy: Policy) -> (TestBus, Notes) {
    let notes = Notes::default();
    let write = notes.clone();
    let handler = on(async move |event: &Tick, _: &EventContext| {
        write.add(event.n);
        Ok(())
    });
    let domain = Domain::new("clock").handler(handler.with(policy));
    (TestBus::start([domain]).await.unwrap(), notes)
}

#[actix::test]
async fn the_next_attempts_fail_and_then_no_more() {
    let (bus, notes) = noting(Policy::default().attempts_max(3)).await;
    bus.inject("clock.On", Fault::fail(2));
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_eq!(tracked.handled::<Tick>()[0].attempts, 3);
    bus.inject("clock.On", Fault::fail(3));
    let tracked = bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    assert_eq!(tracked.failed::<Tick>()[0].error.error_code(), "injected");
    bus.publish_tracked(Tick { n: 3 }).await.unwrap().assert_clean();
    assert_eq!(notes.all(), [1, 3]);
}

#[actix::test]
async fn an_error_of_choice_is_told_to_the_requester() {
    let oracle = on(async |event: &Ask, _: &EventContext| Ok(Answer { n: event.n }));
    let bus = TestBus::start([Domain::new("oracle").handler(oracle)]).await.unwrap();
    bus.inject("oracle.*", Fault::fail_with(1, HandlerError::conflict("asked before")));
    let (reply, tracked) = bus.request_tracked(Ask { n: 1 }).await;
    assert_eq!(reply.unwrap_err().code(), "conflict");
    assert!(tracked.dead_letters().is_empty(), "a rejection that was told is no dead letter");
}

/// Counts in its own state, which a panic is to cost it.
struct Counting {
    handled: i64,
    notes: Notes,
}

impl Actor for Counting {
    type Context = Context<Self>;
}

impl Handler<Delivery<Tick>> for Counting {
    type Result = HandlerResult<()>;

    fn handle(&mut self, _: Delivery<Tick>, _: &mut Context<Self>) -> HandlerResult<()> {
        self.handled += 1;
        self.notes.add(self.handled);
        Ok(())
    }
}

#[actix::test]
async fn an_injected_panic_is_retried_and_has_the_actor_rebuilt() {
    let (notes, built) = (Notes::default(), Arc::new(AtomicUsize::new(0)));
    let (write, count) = (notes.clone(), Arc::clone(&built));
    let factory = move || {
        count.fetch_add(1, Ordering::Relaxed);
        Counting { handled: 0, notes: write.clone() }
    };
    let policy = Policy::default().attempts_max(2);
    let subscriber = Subscriber::new(factory).on::<Tick, ()>().policy(policy);
    let bus = TestBus::start([Domain::new("clock").actor(subscriber)]).await.unwrap();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap().assert_clean();
    bus.inject("clock.Counting", Fault::panic(1));
    let tracked = bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    assert_eq!(tracked.handled::<Tick>()[0].attempts, 2);
    assert_eq!(built.load(Ordering::Relaxed), 2);
    assert_eq!(notes.all(), [1, 1], "its state is gone with the panic");
    assert_eq!(bus.metrics().handlers["clock.Counting"].restarts, 1);
    bus.inject("clock.Counting", Fault::panic(2));
    let tracked = bus.publish_tracked(Tick { n: 3 }).await.unwrap();
    assert_eq!(tracked.failed::<Tick>()[0].error.kind(), ErrorKind::Panic);
}

#[actix::test]
async fn a_delay_takes_virtual_time_of_the_attempt() {
    let (bus, notes) = noting(Policy::default().timeout(secs(5))).await;
    bus.inject("clock.On", Fault::delay(secs(3), 1));
    let begun = tokio::time::Instant::now();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap().assert_clean();
    assert_took(begun, secs(3));
    bus.inject("clock.On", Fault::delay(secs(6), 1));
    let tracked = bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    assert_eq!(tracked.failed::<Tick>()[0].error.kind(), ErrorKind::Timeout);
    assert_eq!(notes.all(), [1]);
}

#[actix::test]
async fn a_duplicate_is_handled_twice_without_dedupe() {
    let (bus, notes) = noting(Policy::default()).await;
    bus.inject("clock.On", Fault::duplicate(2));
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_eq!(notes.all(), [1, 1], "the second one is not duplicated again");
    assert_eq!(tracked.handled::<Tick>().len(), 2);
    bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    bus.publish_tracked(Tick { n: 3 }).await.unwrap();
    assert_eq!(notes.all(), [1, 1, 2, 2, 3]);
}

#[actix::test]
async fn a_duplicate_is_dropped_with_dedupe() {
    let (bus, notes) = noting(Policy::default().dedupe(Dedupe::by_id())).await;
    bus.inject("clock.On", Fault::duplicate(1));
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_eq!(notes.all(), [1]);
    assert_eq!(tracked.dropped()[0].reason, DropReason::Duplicate);
    assert_eq!(bus.metrics().handlers["clock.On"].duplicates, 1);
}

#[actix::test]
async fn a_duplicate_finds_its_way_into_a_full_queue() {
    let (bus, notes) = noting(Policy::default().concurrency(1).queue_max(1)).await;
    bus.inject("clock.On", Fault::duplicate(3));
    for n in 1..=3 {
        bus.publish(Tick { n }).await.unwrap();
    }
    bus.quiet().await;
    let mut handled = notes.all();
    handled.sort_unstable();
    assert_eq!(handled, [1, 1, 2, 2, 3, 3]);
}

#[actix::test]
async fn a_dropped_delivery_counts_as_handled_and_puts_out_nothing() {
    let (bus, notes) = noting(Policy::default()).await;
    bus.inject("clock.On", Fault::drop(1));
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    tracked.assert_clean();
    assert_eq!(tracked.handled::<Tick>()[0].attempts, 0);
    bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    assert_eq!(notes.all(), [2]);
}

/// Which of a hundred ticks failed.
async fn failed_of_a_hundred(seed: u64) -> Vec<i64> {
    let handler = on(async |_: &Tick, _: &EventContext| Ok(()));
    let bus = TestBus::shuffled(seed, [Domain::new("clock").handler(handler)]).await.unwrap();
    bus.inject("**", Fault::random(0.2));
    let mut failed = Vec::new();
    for n in 0..100 {
        let tracked = bus.publish_tracked(Tick { n }).await.unwrap();
        failed.extend(tracked.failed::<Tick>().iter().map(|failed| failed.event.n));
    }
    failed
}

#[actix::test]
async fn a_random_share_fails_by_the_seed_of_the_bus() {
    let failed = failed_of_a_hundred(1).await;
    assert!((5..=40).contains(&failed.len()), "{failed:?}");
    assert_eq!(failed, failed_of_a_hundred(1).await);
    assert_ne!(failed, failed_of_a_hundred(2).await);
}

#[actix::test]
async fn cleared_faults_are_gone() {
    let (bus, notes) = noting(Policy::default()).await;
    bus.inject("clock.On", Fault::fail(5));
    bus.inject("**", Fault::random(1.0));
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    bus.clear_faults();
    bus.publish_tracked(Tick { n: 2 }).await.unwrap().assert_clean();
    assert_eq!(notes.all(), [2]);
}

#[actix::test]
async fn faults_act_in_the_order_in_which_they_were_injected() {
    let (bus, _) = noting(Policy::default().attempts_max(3).retry_delay(millis(1), secs(1))).await;
    bus.inject("clock.On", Fault::fail(1));
    bus.inject("**", Fault::fail_with(1, HandlerError::forbidden("not today")));
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    let failed = &tracked.failed::<Tick>()[0];
    assert_eq!((failed.error.error_code(), failed.attempts), ("forbidden", 2));
}

#[actix::test]
#[should_panic(expected = "no handler is named `clock.Off`; there are: clock.On")]
async fn an_unknown_handler_is_refused_with_the_known_ones() {
    let (bus, _) = noting(Policy::default()).await;
    bus.inject("clock.Off", Fault::fail(1));
}

#[actix::test]
#[should_panic(expected = "a share is from 0 to 1, not 5")]
async fn a_share_is_no_percentage() {
    let _ = Fault::random(5.0);
}
