//! The graph is checked before anything starts: all faults in one error, and it can be drawn.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Failed, Runtime, StartFault, Unheard};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::play::{Answer, Ask, Begin, Begun, Notes, Tick, on, three_links};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Impostor {}
impl Event for Impostor {
    const NAME: &'static str = "clock.tick";
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Shouting {}
impl Event for Shouting {
    const NAME: &'static str = "one.SHOUT";
}

fn begin_to<O: callboard_actors::Output>(make: fn() -> O) -> impl EventHandler<Input = Begin> {
    on(async move |_: &Begin, _: &EventContext| Ok(make()))
}

async fn faults(builder: callboard_actors::RuntimeBuilder) -> Vec<StartFault> {
    TestBus::start_with(builder).await.unwrap_err().faults
}

#[actix::test]
async fn all_faults_are_told_at_once() {
    let one = Domain::new("one")
        .handler(begin_to(|| Answer { n: 0 }))
        .handler(begin_to(|| Shouting {}))
        .handler(on(async |_: &Impostor, _: &EventContext| Ok(())))
        .actor(Subscriber::new(|| Deaf).on::<Tick, ()>().policy(Policy::default().queue_max(0)));
    let builder = Runtime::new().mount(one).mount(Domain::new("One.2")).requests::<Ask>();
    let error = TestBus::start_with(builder).await.unwrap_err();
    let text = error.to_string();
    for expected in [
        "one.On publishes `oracle.answered`, but domain `one` may publish only `one.*`",
        "`one.SHOUT` (behaviour::graph::Shouting) cannot be an event name",
        "`clock.tick` is the name of two types",
        "the policy of one.Deaf: queue_max is 0",
        "`One.2` cannot be a domain name",
        "`oracle.ask` is requested, but no handler subscribes to it",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in: {text}");
    }
    assert_eq!(error.faults.len(), 6, "{text}");
}

struct Deaf;
impl actix::Actor for Deaf {
    type Context = actix::Context<Self>;
}
impl actix::Handler<Delivery<Tick>> for Deaf {
    type Result = HandlerResult<()>;
    fn handle(&mut self, _: Delivery<Tick>, _: &mut actix::Context<Self>) -> Self::Result {
        Ok(())
    }
}

#[actix::test]
async fn two_responders_need_priorities_that_differ() {
    let answer = || on(async |_: &Ask, _: &EventContext| Ok(Answer { n: 0 }));
    let oracle = |first: Policy, second: Policy| {
        Domain::new("oracle").handler(answer().with(first)).handler(answer().with(second))
    };
    let plain = Policy::default;
    let same = faults(Runtime::new().mount(oracle(plain(), plain())).requests::<Ask>()).await;
    assert_eq!(
        same,
        [StartFault::DuplicateResponder {
            event: "oracle.ask",
            reply: "oracle.answered",
            handlers: "oracle.On and oracle.On#2".into(),
        }]
    );
    let equal =
        faults(Runtime::new().mount(oracle(plain().priority(1), plain().priority(1)))).await;
    assert!(matches!(equal[..], [StartFault::EqualPriority { priority: 1, .. }]), "{equal:?}");
    let builder = Runtime::new().mount(oracle(plain().priority(1), plain().priority(2)));
    assert!(TestBus::start_with(builder.requests::<Ask>()).await.is_ok());
}

#[actix::test]
async fn an_unheard_event_is_a_fault_where_that_is_asked_for() {
    let one = || Domain::new("one").handler(begin_to(|| Begun { n: 0 }));
    let strict = || Runtime::new().mount(one()).unheard(Unheard::Refuse);
    let unheard = StartFault::Unheard { handler: "one.On".into(), event: "one.begun" };
    assert_eq!(faults(strict()).await, [unheard]);
    assert!(TestBus::start([one()]).await.is_ok(), "by default it is a warning");
    assert!(TestBus::start_with(strict().listens::<Begun>()).await.is_ok());
    assert!(TestBus::start_with(strict().requests::<Begin>()).await.is_ok(), "it is the reply");
}

/// parity: W12
#[actix::test]
async fn a_domain_may_listen_to_another_domain() {
    let notes = Notes::default();
    let bus = TestBus::start([Domain::new("ears").handler(notes.of_ticks())]).await.unwrap();
    bus.publish_tracked(Tick { n: 4 }).await.unwrap();
    assert_eq!(notes.all(), [4]);
}

#[actix::test]
async fn names_that_end_in_error_belong_to_the_bus() {
    let forging = on(async |_: &Begin, _: &EventContext| Ok(None::<Failed<Begin>>));
    let found = faults(Runtime::new().mount(Domain::new("one").handler(forging))).await;
    assert!(matches!(found[..], [StartFault::ReservedName { event: "one.begin.error", .. }]));
}

#[actix::test]
async fn a_domain_is_mounted_once() {
    let builder = Runtime::new().mount(Domain::new("one")).mount(Domain::new("one"));
    assert_eq!(faults(builder).await, [StartFault::DuplicateDomain { domain: "one".into() }]);
}

#[actix::test]
async fn a_foreign_type_under_a_known_name_is_refused_when_published() {
    let bus =
        TestBus::start([Domain::new("ears").handler(Notes::default().of_ticks())]).await.unwrap();
    let error = bus.publish(Impostor {}).await.unwrap_err();
    assert!(error.to_string().contains("`clock.tick` is the name of"), "{error}");
}

#[actix::test]
async fn the_graph_can_be_drawn() {
    let bus = three_links(0).await;
    let graph = bus.runtime().graph().await;
    let mermaid = graph.to_mermaid();
    assert!(mermaid.starts_with("flowchart LR\n"));
    assert!(mermaid.contains("([two.went_on])") && mermaid.contains("[three.Third]"), "{mermaid}");
    assert_eq!(mermaid.matches("-->").count(), 6);
    let dot = graph.to_dot();
    assert!(dot.contains("\"two.Second\" -> \"two.went_on\";"), "{dot}");
    let json = graph.to_json();
    assert_eq!(json["handlers"][2]["subscribes_to"][0], "two.went_on");
    assert_eq!(json["handlers"][2]["domain"], "three");
}
