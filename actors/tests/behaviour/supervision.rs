//! A panic or a stop ends an actor, not its handler: the queue survives, neighbours do not notice,
//! and the limit ends in a handler that is visibly down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actix::prelude::*;
use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{DeadReason, Failed, HandlerStatus, RequestError, Restart, millis, secs};

use crate::play::{Answer, Ask, Notes, Tick, assert_took, on};

/// An actor with state that panics, stops or answers, as the event says.
struct Fragile {
    handled: i64,
    starts: Arc<AtomicU32>,
}

impl Fragile {
    const PANIC: i64 = -1;
    const STOP: i64 = -2;
    const PANIC_LATER: i64 = -3;

    fn subscriber(starts: &Arc<AtomicU32>) -> Subscriber<Self> {
        let starts = Arc::clone(starts);
        Subscriber::new(move || Self { handled: 0, starts: Arc::clone(&starts) })
            .on::<Ask, Answer>()
    }
}

impl Actor for Fragile {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        self.starts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Handler<Delivery<Ask, Answer>> for Fragile {
    type Result = ResponseFuture<HandlerResult<Answer>>;

    fn handle(&mut self, ask: Delivery<Ask, Answer>, ctx: &mut Context<Self>) -> Self::Result {
        self.handled += 1;
        let (n, handled) = (ask.n, self.handled);
        assert!(n != Self::PANIC, "it was told to");
        if n == Self::STOP {
            ctx.stop();
        }
        Box::pin(async move {
            assert!(n != Self::PANIC_LATER, "it was told to, later");
            Ok(Answer { n: handled })
        })
    }
}

async fn fragile(policy: Policy) -> (TestBus, Arc<AtomicU32>) {
    let starts = Arc::default();
    let subscriber = Fragile::subscriber(&starts).policy(policy);
    (TestBus::start([Domain::new("oracle").actor(subscriber)]).await.unwrap(), starts)
}

async fn ask(bus: &TestBus, n: i64) -> Result<i64, RequestError> {
    bus.request(Ask { n }).await.map(|answer| answer.n)
}

#[actix::test]
async fn a_panic_is_a_typed_error_and_the_state_is_rebuilt() {
    let (bus, starts) = fragile(Policy::default()).await;
    assert_eq!(ask(&bus, 0).await.unwrap(), 1);
    assert_eq!(ask(&bus, 0).await.unwrap(), 2);
    let error = ask(&bus, Fragile::PANIC).await.unwrap_err();
    assert_eq!(error.code(), "panic");
    assert!(error.to_string().contains("it was told to"), "{error}");
    assert_eq!(ask(&bus, 0).await.unwrap(), 1, "the factory made a new actor");
    assert_eq!(starts.load(Ordering::Relaxed), 2);
    assert_eq!(bus.metrics().handlers["oracle.Fragile"].restarts, 1);
}

#[actix::test]
async fn a_panic_in_a_future_is_noticed_too() {
    let (bus, starts) = fragile(Policy::default()).await;
    assert_eq!(ask(&bus, Fragile::PANIC_LATER).await.unwrap_err().code(), "panic");
    assert_eq!(ask(&bus, 0).await.unwrap(), 1);
    assert_eq!(starts.load(Ordering::Relaxed), 2);
}

#[actix::test]
async fn a_stopped_actor_answers_its_last_event_and_is_rebuilt() {
    let (bus, starts) = fragile(Policy::default().restart(Restart::Always)).await;
    assert_eq!(ask(&bus, Fragile::STOP).await.unwrap(), 1);
    assert_eq!(ask(&bus, 0).await.unwrap(), 1);
    assert_eq!(starts.load(Ordering::Relaxed), 2);
}

#[actix::test]
async fn the_queue_survives_the_restart() {
    let (bus, _) = fragile(Policy::default()).await;
    let asked: Vec<_> = [0, Fragile::PANIC, 0, 0, Fragile::PANIC, 0]
        .map(|n| actix::spawn(bus.request(Ask { n }).into_future()))
        .into();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap().map(|answer| answer.n).ok());
    }
    assert_eq!(answers, [Some(1), None, Some(1), Some(2), None, Some(1)]);
}

#[actix::test]
async fn beyond_the_limit_the_handler_is_down_and_says_so() {
    let (bus, _) = fragile(Policy::default().restarts_max(2).restarts_within(secs(60))).await;
    for _ in 0..3 {
        assert_eq!(ask(&bus, Fragile::PANIC).await.unwrap_err().code(), "panic");
    }
    tokio::time::sleep(millis(1)).await;
    let begun = tokio::time::Instant::now();
    let error = ask(&bus, 0).await.unwrap_err();
    assert!(matches!(error, RequestError::Unavailable { .. }), "{error}");
    assert_took(begun, millis(0));
    assert_eq!(bus.health().down, ["oracle.Fragile"]);
    assert_eq!(bus.metrics().handlers["oracle.Fragile"].status, HandlerStatus::Down);

    let before = bus.dead_letters().count();
    bus.publish(Ask { n: 0 }).await.unwrap();
    let letter = bus.dead_letters().all().await.unwrap().pop().unwrap();
    assert_eq!(bus.dead_letters().count(), before + 1);
    assert!(matches!(letter.reason, DeadReason::Unavailable));
}

#[actix::test]
async fn what_waits_when_the_handler_goes_down_is_told() {
    let (bus, _) = fragile(Policy::default().restarts_max(0)).await;
    let asked: Vec<_> =
        [Fragile::PANIC, 0, 0].map(|n| actix::spawn(bus.request(Ask { n }).into_future())).into();
    let mut codes = Vec::new();
    for answer in asked {
        codes.push(answer.await.unwrap().unwrap_err().code().to_owned());
    }
    assert_eq!(codes, ["panic", "unavailable", "unavailable"]);
    bus.quiet().await;
}

#[actix::test]
async fn never_restarted_means_down_after_a_panic_and_ended_after_a_stop() {
    let (bus, _) = fragile(Policy::default().restart(Restart::Never)).await;
    assert_eq!(ask(&bus, Fragile::STOP).await.unwrap(), 1);
    tokio::time::sleep(millis(1)).await;
    assert!(matches!(ask(&bus, 0).await, Err(RequestError::Unavailable { .. })));
    assert_eq!(bus.metrics().handlers["oracle.Fragile"].status, HandlerStatus::Ended);
    assert!(bus.health().down.is_empty(), "it ended by its own will");
}

#[actix::test]
async fn an_actor_that_cannot_start_does_not_spin() {
    struct Stillborn;
    impl Actor for Stillborn {
        type Context = Context<Self>;
        fn started(&mut self, _: &mut Context<Self>) {
            panic!("no way");
        }
    }
    impl Handler<Delivery<Tick>> for Stillborn {
        type Result = HandlerResult<()>;
        fn handle(&mut self, _: Delivery<Tick>, _: &mut Context<Self>) -> Self::Result {
            Ok(())
        }
    }
    let policy = Policy::default().restarts_max(3).restart_delay(secs(1), secs(10));
    let subscriber = Subscriber::new(|| Stillborn).on::<Tick, ()>().policy(policy);
    let begun = tokio::time::Instant::now();
    let bus = TestBus::start([Domain::new("clock").actor(subscriber)]).await.unwrap();
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_took(begun, secs(1 + 2 + 4));
    assert_eq!(tracked.dead_letters().len(), 1);
    assert_eq!(bus.health().down, ["clock.Stillborn"]);
}

#[actix::test]
async fn every_third_event_panics_and_the_neighbour_does_not_notice() {
    let neighbour = Notes::default();
    let count = Arc::new(AtomicU32::new(0));
    let handled = Notes::default();
    let write = handled.clone();
    let shaky = on(async move |event: &Tick, _: &EventContext| {
        assert!(count.fetch_add(1, Ordering::Relaxed) % 3 != 2, "every third");
        write.add(event.n);
        Ok(())
    })
    .with(Policy::default().concurrency(1));
    let clock = Domain::new("clock").handler(shaky).handler(neighbour.of_ticks());
    let bus = TestBus::start([clock]).await.unwrap();
    for n in 1..=30 {
        bus.publish(Tick { n }).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!(neighbour.all(), (1..=30).collect::<Vec<_>>());
    assert_eq!(handled.all(), (1..=30).filter(|n| n % 3 != 0).collect::<Vec<_>>());
    tokio::time::sleep(secs(1)).await;
    let metrics = bus.metrics();
    assert_eq!(metrics.handlers["clock.On"].restarts, 10);
    assert_eq!(metrics.handlers["clock.On"].status, HandlerStatus::Up);
    assert_eq!(bus.dead_letters().count(), 10, "each panic left its event behind");
}

#[actix::test]
async fn a_panic_can_be_retried_on_the_rebuilt_actor() {
    let count = Arc::new(AtomicU32::new(0));
    let shaky = on(async move |event: &Ask, ctx: &EventContext| {
        assert!(count.fetch_add(1, Ordering::Relaxed) > 0, "the first time only");
        Ok(Answer { n: event.n + i64::from(ctx.attempt()) })
    });
    let policy = Policy::default().attempts_max(2);
    let bus = TestBus::start([Domain::new("oracle").handler(shaky.with(policy))]).await.unwrap();
    assert_eq!(ask(&bus, 40).await.unwrap(), 42);
    assert_eq!(bus.metrics().handlers["oracle.On"].retries, 1);
}

#[actix::test]
async fn other_deliveries_of_a_short_form_handler_outlive_its_panic() {
    let handler = on(async |event: &Ask, _: &EventContext| {
        tokio::time::sleep(millis(10)).await;
        assert!(event.n != 13, "unlucky");
        tokio::time::sleep(millis(10)).await;
        Ok(Answer { n: event.n })
    });
    let bus = TestBus::start([Domain::new("oracle").handler(handler)]).await.unwrap();
    let (lucky, unlucky) = tokio::join!(ask(&bus, 7), ask(&bus, 13));
    assert_eq!(lucky.unwrap(), 7);
    assert_eq!(unlucky.unwrap_err().code(), "panic");
}

#[actix::test]
async fn a_panic_while_an_actor_stops_is_contained() {
    struct Grumbler;
    impl Actor for Grumbler {
        type Context = Context<Self>;
        fn stopped(&mut self, _: &mut Context<Self>) {
            panic!("not like this");
        }
    }
    impl Handler<Delivery<Ask, Answer>> for Grumbler {
        type Result = HandlerResult<Answer>;
        fn handle(&mut self, ask: Delivery<Ask, Answer>, _: &mut Context<Self>) -> Self::Result {
            assert!(ask.n > 0, "negative");
            Ok(Answer { n: ask.n })
        }
    }
    let subscriber = Subscriber::new(|| Grumbler).on::<Ask, Answer>();
    let bus = TestBus::start([Domain::new("oracle").actor(subscriber)]).await.unwrap();
    assert_eq!(ask(&bus, -1).await.unwrap_err().code(), "panic");
    assert_eq!(ask(&bus, 1).await.unwrap(), 1);
    bus.runtime().stop().await;
}

#[actix::test]
async fn an_event_that_is_not_even_delivered_has_its_error_fact() {
    let doomed = on(async |_: &Tick, _: &EventContext| -> HandlerResult<()> { panic!("always") });
    let mended = Notes::default();
    let write = mended.clone();
    let mender = on(async move |fact: &Failed<Tick>, _: &EventContext| {
        write.add(fact.event.n);
        assert!(fact.event.n == 1 || fact.code == "unavailable", "{}", fact.code);
        Ok(())
    });
    let policy = Policy::default().restart(Restart::Never);
    let clock = Domain::new("clock").handler(doomed.with(policy));
    let bus = TestBus::start([clock, Domain::new("ears").handler(mender)]).await.unwrap();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    tokio::time::sleep(millis(1)).await;
    let tracked = bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    assert_eq!(tracked.names(), ["clock.tick", "clock.tick.error"]);
    assert_eq!(mended.all(), [1, 2]);
}

#[actix::test]
async fn time_is_virtual_again_in_a_second_bus() {
    let first = TestBus::start([]).await.unwrap();
    tokio::time::resume();
    let second = TestBus::start([]).await.unwrap();
    let begun = std::time::Instant::now();
    tokio::time::sleep(secs(3600)).await;
    assert!(begun.elapsed() < secs(60));
    drop((first, second));
}
