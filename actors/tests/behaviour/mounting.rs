//! Handlers that are mounted one by one while the runtime runs are checked and reached as those of
//! the start are.

use actix::prelude::*;
use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Runtime, RuntimeBuilder, StartFault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::play::{Answer, Ask, Begin, Begun, Notes, Tick, on};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Impostor {}
impl Event for Impostor {
    const NAME: &'static str = "clock.tick";
}

/// Writes its number down for whatever it gets.
struct Hand(i64, Notes);

impl Actor for Hand {
    type Context = Context<Self>;
}

impl<E: callboard_actors::Input> Handler<Delivery<E>> for Hand {
    type Result = HandlerResult<()>;
    fn handle(&mut self, _: Delivery<E>, _: &mut Context<Self>) -> Self::Result {
        self.1.add(self.0);
        Ok(())
    }
}

impl Handler<Delivery<Ask, Answer>> for Hand {
    type Result = HandlerResult<Answer>;
    fn handle(&mut self, ask: Delivery<Ask, Answer>, _: &mut Context<Self>) -> Self::Result {
        Ok(Answer { n: ask.n })
    }
}

impl Handler<Delivery<Begin, Begun>> for Hand {
    type Result = HandlerResult<Begun>;
    fn handle(&mut self, begin: Delivery<Begin, Begun>, _: &mut Context<Self>) -> Self::Result {
        Ok(Begun { n: begin.n })
    }
}

fn hand(n: i64, notes: &Notes) -> Subscriber<Hand> {
    let notes = notes.clone();
    Subscriber::new(move || Hand(n, notes.clone()))
}

/// What was written since the last look, in the order of the numbers.
async fn written(bus: &TestBus, notes: &Notes, seen: &mut usize) -> Vec<i64> {
    bus.quiet().await;
    let mut new = notes.all().split_off(*seen);
    *seen += new.len();
    new.sort_unstable();
    new
}

#[actix::test]
async fn ten_thousand_handlers_are_mounted_one_by_one() {
    let (notes, mut seen) = (Notes::default(), 0);
    let bus = TestBus::start([]).await.unwrap();
    let mut subscriptions = Vec::new();
    for n in 0..10_000 {
        if n == 5_000 {
            bus.publish(Tick { n: 0 }).await.unwrap();
        }
        subscriptions.push(bus.subscribe("desk", hand(n, &notes).on::<Tick, ()>()).await.unwrap());
    }
    // Not printed, so many are they.
    assert!(written(&bus, &notes, &mut seen).await.into_iter().eq(0..5_000), "the first half");
    bus.publish(Tick { n: 0 }).await.unwrap();
    assert!(written(&bus, &notes, &mut seen).await.into_iter().eq(0..10_000), "all of them");
    assert_eq!(subscriptions[9_999].handler(), "desk.Hand#10000");
    assert_eq!(bus.metrics().handlers.len(), 10_000);
    for subscription in subscriptions.drain(1..) {
        subscription.unsubscribe().await;
    }
    bus.publish(Tick { n: 0 }).await.unwrap();
    assert_eq!(written(&bus, &notes, &mut seen).await, [0]);
}

#[actix::test]
async fn a_newcomer_s_faults_are_told_at_once() {
    let notes = Notes::default();
    let oracle = on(async |ask: &Ask, _: &EventContext| Ok(Answer { n: ask.n }));
    let domains =
        [Domain::new("oracle").handler(oracle), Domain::new("ears").handler(notes.of_ticks())];
    let builder = domains.into_iter().fold(Runtime::new().requests::<Ask>(), RuntimeBuilder::mount);
    let bus = TestBus::start_with(builder).await.unwrap();
    let newcomer = hand(1, &notes)
        .on::<Ask, Answer>()
        .on::<Impostor, ()>()
        .on::<Begin, Begun>()
        .on_pattern::<()>("No!")
        .policy(Policy::default().queue_max(0));
    let error = bus.subscribe("oracle", newcomer).await.map(drop).unwrap_err();
    let text = error.to_string();
    for expected in [
        "the policy of oracle.Hand: queue_max is 0",
        "`clock.tick` is the name of two types",
        "oracle.Hand publishes `one.begun`, but domain `oracle` may publish only `oracle.*`",
        "`oracle.ask` is requested, and oracle.On and oracle.Hand",
        "No!",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in: {text}");
    }
    assert_eq!(error.faults.len(), 5, "{text}");
    let fine = bus.subscribe("oracle", hand(2, &notes).on::<Tick, ()>()).await.unwrap();
    assert_eq!(fine.handler(), "oracle.Hand", "what was refused took no name");
}

#[actix::test]
async fn a_late_handler_finds_its_place_in_line_taken() {
    let notes = Notes::default();
    let bus = TestBus::start([]).await.unwrap();
    let first = || Policy::default().priority(1);
    let wild = |n, pattern| hand(n, &notes).on_pattern::<()>(pattern).policy(first());
    bus.subscribe("desk", wild(1, "one.*")).await.unwrap();
    let other = bus.subscribe("desk", wild(2, "*.begin")).await.unwrap();
    let equal = |handlers: &str| StartFault::EqualPriority {
        event: "one.begin",
        priority: 1,
        handlers: handlers.into(),
    };
    let late = || hand(3, &notes).on::<Begin, ()>();
    let error = bus.subscribe("desk", late()).await.map(drop).unwrap_err();
    assert_eq!(error.faults, [equal("desk.Hand and desk.Hand#2")], "its name brings them together");
    other.unsubscribe().await;
    let error = bus.subscribe("desk", late().policy(first())).await.map(drop).unwrap_err();
    assert_eq!(error.faults, [equal("desk.Hand and desk.Hand#2")]);
    let named = bus.subscribe("desk", late()).await.unwrap();
    let error = bus.subscribe("desk", wild(4, "**")).await.map(drop).unwrap_err();
    assert_eq!(error.faults, [equal("desk.Hand and desk.Hand#3")]);
    named.unsubscribe().await;
    assert!(bus.subscribe("desk", wild(4, "**")).await.is_ok(), "nobody knows the name any more");
}

#[actix::test]
async fn a_name_is_free_again_after_its_handler_went() {
    let (notes, mut seen) = (Notes::default(), 0);
    let builder = Runtime::new().requests::<Ask>();
    let oracle = on(async |ask: &Ask, _: &EventContext| Ok(Answer { n: ask.n }));
    let bus = TestBus::start_with(builder.mount(Domain::new("oracle").handler(oracle))).await;
    let bus = bus.unwrap();
    let desk = async |n| bus.subscribe("desk", hand(n, &notes).on::<Tick, ()>()).await.unwrap();
    let (first, second, _third) = (desk(1).await, desk(2).await, desk(3).await);
    second.unsubscribe().await;
    first.unsubscribe().await;
    let (first, second, fourth) = (desk(4).await, desk(5).await, desk(6).await);
    let names = [&first, &second, &fourth].map(|subscription| subscription.handler().to_owned());
    assert_eq!(names, ["desk.Hand", "desk.Hand#2", "desk.Hand#4"]);
    bus.publish(Tick { n: 0 }).await.unwrap();
    assert_eq!(written(&bus, &notes, &mut seen).await, [3, 4, 5, 6]);
    assert_eq!(bus.handler("desk.Hand#2").unwrap().metrics().processed, 1);
    // The second responder is refused until the first one is gone.
    let responder = || hand(0, &notes).on::<Ask, Answer>();
    let one = bus.subscribe("oracle", responder()).await.map(drop).unwrap_err();
    assert!(matches!(one.faults[..], [StartFault::DuplicateResponder { .. }]), "{one}");
}

#[actix::test]
async fn late_patterns_and_late_names_find_each_other() {
    let (notes, mut seen) = (Notes::default(), 0);
    let bus = TestBus::start([]).await.unwrap();
    let named = bus.subscribe("desk", hand(1, &notes).on::<Tick, ()>()).await.unwrap();
    let wild = bus.subscribe("desk", hand(2, &notes).on_pattern::<()>("*.tick")).await.unwrap();
    bus.publish(Tick { n: 0 }).await.unwrap();
    bus.publish(Begin { n: 0 }).await.unwrap();
    assert_eq!(written(&bus, &notes, &mut seen).await, [1, 2]);
    bus.subscribe("desk", hand(3, &notes).on_pattern::<()>("**")).await.unwrap();
    bus.publish(Tick { n: 0 }).await.unwrap();
    bus.publish(Begin { n: 0 }).await.unwrap();
    assert_eq!(written(&bus, &notes, &mut seen).await, [1, 2, 3, 3]);
    bus.subscribe("desk", hand(4, &notes).on::<Begin, ()>()).await.unwrap();
    bus.publish(Begin { n: 0 }).await.unwrap();
    assert_eq!(written(&bus, &notes, &mut seen).await, [3, 4]);
    assert!(bus.publish(Impostor {}).await.is_err(), "the name has a type");
    named.unsubscribe().await;
    bus.publish(Impostor {}).await.unwrap();
    assert_eq!(written(&bus, &notes, &mut seen).await, [2, 3], "the name lost its type");
    wild.unsubscribe().await;
    bus.publish(Tick { n: 0 }).await.unwrap();
    assert_eq!(written(&bus, &notes, &mut seen).await, [3]);
}

#[actix::test]
async fn a_group_takes_late_members_and_lets_them_go() {
    let (notes, mut seen) = (Notes::default(), 0);
    let bus = TestBus::start([]).await.unwrap();
    let member = async |n| {
        let member = hand(n, &notes).on::<Tick, ()>().policy(Policy::default().group("crew"));
        bus.subscribe("desk", member).await.unwrap()
    };
    let first = member(1).await;
    bus.publish(Tick { n: 0 }).await.unwrap();
    assert_eq!(written(&bus, &notes, &mut seen).await, [1]);
    let _second = member(2).await;
    let wild = hand(3, &notes).on_pattern::<()>("clock.*").policy(Policy::default().group("crew"));
    bus.subscribe("desk", wild).await.unwrap();
    for _ in 0..6 {
        bus.publish(Tick { n: 0 }).await.unwrap();
    }
    assert_eq!(written(&bus, &notes, &mut seen).await, [1, 1, 2, 2, 3, 3]);
    first.unsubscribe().await;
    for _ in 0..4 {
        bus.publish(Tick { n: 0 }).await.unwrap();
    }
    assert_eq!(written(&bus, &notes, &mut seen).await, [2, 2, 3, 3]);
}
