//! The policies of runtime, domain and handler become one: value by value, the narrower wins.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Failure, Inbound, Next, RateLimit, Runtime, StartFault, millis, secs};

use crate::play::{Answer, Ask, Log, Notes, Tick, on, settle};

fn answering(policy: Policy) -> impl EventHandler<Input = Ask, Output = Answer> {
    on(async |event: &Ask, _: &EventContext| Ok(Answer { n: event.n })).with(policy)
}

#[actix::test]
async fn the_narrower_scope_wins_for_each_value_alone() {
    let runtime = Policy::default().queue_max(9).attempts_max(4).timeout(secs(5)).ttl(secs(50));
    let domain = Policy::default().queue_max(8).attempts_max(3);
    let oracle =
        Domain::new("oracle").policy(domain).handler(answering(Policy::default().queue_max(7)));
    let bus = TestBus::start_with(Runtime::new().policy(runtime).mount(oracle)).await.unwrap();
    let printed = bus.handler("oracle.On").unwrap().policy().to_string();
    let words: Vec<_> = printed.split(' ').collect();
    for expected in [
        "queue_max=7",
        "attempts_max=3",
        "timeout=5s",
        "ttl=50s",
        "concurrency=64",
        "overflow=wait",
        "stuck_after=10s",
    ] {
        assert!(words.contains(&expected), "{expected} is missing in: {printed}");
    }
    let graph = bus.runtime().graph().await;
    assert_eq!(graph.policy("oracle.On").unwrap().to_string(), printed);
    assert!(graph.policy("oracle.Nobody").is_none());
    assert_eq!(graph.to_json()["handlers"][0]["policy"]["queue_max"], "7");
    assert_eq!(bus.metrics().handlers["oracle.On"].queue_max, 7, "it is what counts");
}

struct Silent;

impl actix::Actor for Silent {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Delivery<Tick>> for Silent {
    type Result = HandlerResult<()>;
    fn handle(&mut self, _: Delivery<Tick>, _: &mut actix::Context<Self>) -> Self::Result {
        Ok(())
    }
}

/// The concurrency of the short and of the full form.
async fn concurrency(runtime: Policy, domain: Policy) -> [String; 2] {
    let mixed = Domain::new("oracle")
        .policy(domain)
        .handler(answering(Policy::default()))
        .actor(Subscriber::new(|| Silent).on::<Tick, ()>());
    let bus = TestBus::start_with(Runtime::new().policy(runtime).mount(mixed)).await.unwrap();
    ["oracle.On", "oracle.Silent"].map(|name| {
        let printed = bus.handler(name).unwrap().policy().to_string();
        let word = printed.split(' ').find_map(|word| word.strip_prefix("concurrency="));
        word.unwrap().to_owned()
    })
}

#[actix::test]
async fn what_a_form_has_by_default_yields_to_every_scope() {
    let plain = Policy::default;
    assert_eq!(concurrency(plain(), plain()).await, ["64", "1"]);
    assert_eq!(concurrency(plain(), plain().concurrency(5)).await, ["5", "5"]);
    assert_eq!(concurrency(plain().concurrency(6), plain()).await, ["6", "6"]);
}

#[actix::test]
async fn layers_of_all_scopes_add_up_the_wider_further_outside() {
    let log = Log::default();
    let layer = |name: &'static str| {
        let log = log.clone();
        async move |_: &Inbound, next: Next<'_>| {
            log.add(name);
            next.run().await
        }
    };
    let policy = |delivery, attempt| {
        Policy::default().around_delivery(layer(delivery)).around_attempt(layer(attempt))
    };
    let oracle = Domain::new("oracle")
        .policy(policy("domain", "domain attempt"))
        .handler(answering(policy("handler", "handler attempt")));
    let runtime = Runtime::new().policy(policy("runtime", "runtime attempt"));
    let bus = TestBus::start_with(runtime.mount(oracle)).await.unwrap();
    bus.request(Ask { n: 1 }).await.unwrap();
    assert_eq!(
        log.all(),
        ["runtime", "domain", "handler", "runtime attempt", "domain attempt", "handler attempt"]
    );
}

#[actix::test]
async fn predicates_of_all_scopes_must_hold() {
    let notes = Notes::default();
    let write = notes.clone();
    let unless =
        |divisor: i64| Policy::default().when_event(move |event: &Tick| event.n % divisor != 0);
    let handler = on(async move |event: &Tick, _: &EventContext| {
        write.add(event.n);
        Ok(())
    });
    let clock = Domain::new("clock").policy(unless(3)).handler(handler.with(unless(5)));
    let runtime = Runtime::new().policy(unless(2)).mount(clock);
    let bus = TestBus::start_with(runtime).await.unwrap();
    for n in 1..=12 {
        bus.publish(Tick { n }).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!(notes.all(), [1, 7, 11]);
    let printed = bus.handler("clock.On").unwrap().policy().to_string();
    assert!(printed.contains("when=3 predicates"), "{printed}");
}

#[actix::test]
async fn of_two_limits_for_one_failure_the_narrower_scope_s_holds() {
    let tries = Log::default();
    let write = tries.clone();
    let failing = on(async move |_: &Tick, _: &EventContext| {
        write.add("try");
        Err::<(), _>(HandlerError::retry("no"))
    });
    let limit = |attempts| Policy::default().attempts_for(Failure::Error, attempts);
    let clock = Domain::new("clock").policy(limit(5)).handler(failing.with(limit(2)));
    let bus = TestBus::start([clock]).await.unwrap();
    bus.publish(Tick { n: 1 }).await.unwrap();
    bus.quiet().await;
    assert_eq!(tries.len(), 2);
}

#[actix::test]
async fn a_fault_names_the_scope_that_has_it_and_no_other() {
    let oracle = Domain::new("oracle")
        .policy(Policy::default().rate_limit(RateLimit::new(0, secs(1))))
        .handler(answering(Policy::default().attempts_max(0)))
        .handler(answering(Policy::default().priority(1)));
    let runtime = Runtime::new().policy(Policy::default().timeout(secs(0))).mount(oracle);
    let error = TestBus::start_with(runtime).await.unwrap_err();
    let mut owners: Vec<_> = error
        .faults
        .iter()
        .map(|fault| match fault {
            StartFault::BadPolicy { owner, .. } => owner.as_str(),
            other => panic!("{other}"),
        })
        .collect();
    owners.sort_unstable();
    assert_eq!(owners, ["domain `oracle`", "oracle.On", "the runtime"], "{error}");
}

#[actix::test]
async fn what_only_contradicts_itself_when_merged_is_the_handler_s_fault() {
    let oracle = Domain::new("oracle")
        .policy(Policy::default().group("all"))
        .handler(answering(Policy::default().priority(1)))
        .handler(answering(Policy::default()));
    let error = TestBus::start([oracle]).await.unwrap_err();
    assert!(
        matches!(&error.faults[..], [StartFault::BadPolicy { owner, .. }] if owner == "oracle.On"),
        "{error}"
    );
}

#[actix::test]
async fn a_handler_that_comes_later_lives_by_the_policy_of_its_domain() {
    let domain = || Domain::new("clock").policy(Policy::default().queue_max(3).timeout(secs(2)));
    for clock in [domain(), domain().handler(Notes::default().of_ticks())] {
        let runtime = Runtime::new().policy(Policy::default().stuck_after(millis(700)));
        let bus = TestBus::start_with(runtime.mount(clock)).await.unwrap();
        let silent = Subscriber::new(|| Silent).on::<Tick, ()>();
        let silent = silent.policy(Policy::default().timeout(secs(1)));
        let subscription = bus.subscribe("clock", silent).await.unwrap();
        let printed = subscription.handle().policy().to_string();
        for expected in ["queue_max=3", "timeout=1s", "stuck_after=700ms", "concurrency=1"] {
            assert!(printed.contains(expected), "{expected} is missing in: {printed}");
        }
        settle().await;
    }
}
