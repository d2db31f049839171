//! The cast of the tests: a few events, and handlers written as async closures.

use std::marker::PhantomData;
use std::sync::Arc;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Runtime, millis};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

mod shop;
pub(crate) use shop::{Log, Order, Receipt, metrics, order, send, settle, shop};
mod warnings;
pub(crate) use warnings::Warnings;

macro_rules! events {
    ($($name:ident = $wire:literal),* $(,)?) => {$(
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name {
            pub(crate) n: i64,
        }
        impl Event for $name {
            const NAME: &'static str = $wire;
        }
    )*};
}

events! {
    Begin = "one.begin",
    Begun = "one.begun",
    WentOn = "two.went_on",
    Ended = "three.ended",
    Ask = "oracle.ask",
    Answer = "oracle.answered",
    Tick = "clock.tick",
}

impl Replies for Begin {
    type Reply = Begun;
}

impl Replies for Ask {
    type Reply = Answer;
}

/// A runtime with the machine's clock.
pub(crate) async fn start(domain: Domain) -> Runtime {
    Runtime::new().mount(domain).start().await.unwrap()
}

/// Until something holds; by the machine's clock.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        sleep(millis(5)).await;
    }
    panic!("it did not come to hold within ten seconds");
}

/// A handler made of an async closure.
pub(crate) struct On<E, O, F> {
    work: F,
    policy: Policy,
    types: PhantomData<fn(E) -> O>,
}

impl<E, O, F: Clone> Clone for On<E, O, F> {
    fn clone(&self) -> Self {
        Self { work: self.work.clone(), policy: self.policy.clone(), types: PhantomData }
    }
}

impl<E, O, F> On<E, O, F> {
    pub(crate) fn with(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }
}

pub(crate) fn on<E, O, F>(work: F) -> On<E, O, F>
where
    F: AsyncFn(&E, &EventContext) -> HandlerResult<O>,
{
    On { work, policy: Policy::default(), types: PhantomData }
}

impl<E, O, F> EventHandler for On<E, O, F>
where
    E: callboard_actors::Input,
    O: callboard_actors::Output,
    F: AsyncFn(&E, &EventContext) -> HandlerResult<O> + Clone + Send + 'static,
{
    type Input = E;
    type Output = O;

    async fn handle(&self, event: &E, ctx: &EventContext) -> HandlerResult<O> {
        (self.work)(event, ctx).await
    }

    fn policy(&self) -> Policy {
        self.policy.clone()
    }
}

/// What handlers wrote down, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<i64>>>);

impl Notes {
    pub(crate) fn add(&self, n: i64) {
        self.0.lock().push(n);
    }

    pub(crate) fn all(&self) -> Vec<i64> {
        self.0.lock().clone()
    }

    /// A handler that writes down each event.
    pub(crate) fn of_ticks(&self) -> impl EventHandler<Input = Tick, Output = ()> + use<> {
        let notes = self.clone();
        on(async move |event: &Tick, _: &EventContext| {
            notes.add(event.n);
            Ok(())
        })
        .with(Policy::default().concurrency(1))
    }
}

/// Three links in three domains: `one.begin` → `one.begun` → `two.went_on` → `three.ended`. The link
/// of the given number fails with the code `broken`.
pub(crate) async fn three_links(failing: u8) -> TestBus {
    #[derive(Clone)]
    struct First(u8);
    impl EventHandler for First {
        type Input = Begin;
        type Output = Begun;
        async fn handle(&self, event: &Begin, _: &EventContext) -> HandlerResult<Begun> {
            fail_if(self.0 == 1)?;
            Ok(Begun { n: event.n + 1 })
        }
    }
    #[derive(Clone)]
    struct Second(u8);
    impl EventHandler for Second {
        type Input = Begun;
        type Output = WentOn;
        async fn handle(&self, event: &Begun, _: &EventContext) -> HandlerResult<WentOn> {
            fail_if(self.0 == 2)?;
            Ok(WentOn { n: event.n + 1 })
        }
    }
    #[derive(Clone)]
    struct Third(u8);
    impl EventHandler for Third {
        type Input = WentOn;
        type Output = Ended;
        async fn handle(&self, event: &WentOn, _: &EventContext) -> HandlerResult<Ended> {
            fail_if(self.0 == 3)?;
            Ok(Ended { n: event.n + 1 })
        }
    }
    TestBus::start([
        Domain::new("one").handler(First(failing)),
        Domain::new("two").handler(Second(failing)),
        Domain::new("three").handler(Third(failing)),
    ])
    .await
    .unwrap()
}

fn fail_if(failing: bool) -> HandlerResult<()> {
    if failing { Err(HandlerError::reject("it broke").code("broken")) } else { Ok(()) }
}

/// Tells when it is dropped.
pub(crate) struct SetOnDrop(pub(crate) Arc<Mutex<bool>>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        *self.0.lock() = true;
    }
}

/// Asserts that so much (virtual) time has passed, as exactly as tokio's timers are: a millisecond
/// for each.
pub(crate) fn assert_took(begun: tokio::time::Instant, expected: std::time::Duration) {
    let took = begun.elapsed();
    let late = took.checked_sub(expected);
    assert!(late.is_some_and(|late| late <= millis(20)), "it took {took:?}");
}

/// The time that a text in RFC 3339 names.
pub(crate) fn time(text: &str) -> std::time::SystemTime {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().into()
}

/// When each delivery so far ended, on the minute, in UTC.
pub(crate) fn minutes(bus: &TestBus) -> Vec<String> {
    let events = bus.events(&callboard_actors::EventQuery::default().limit(200));
    let written = |time| chrono::DateTime::<chrono::Utc>::from(time).format("%m-%d %H:%M");
    events.iter().map(|event| written(event.ts).to_string()).collect()
}
