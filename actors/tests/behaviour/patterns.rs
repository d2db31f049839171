//! A handler may subscribe to a pattern of names, and so to events that it does not know.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Envelope, RequestError, StartFault};

use crate::play::{Ask, Begin, Begun, Log, Tick, metrics, on, order};

fn watching(log: &Log, name: &'static str) -> impl EventHandler<Input = Envelope> + use<> {
    let log = log.clone();
    on(async move |envelope: &Envelope, _: &EventContext| {
        log.add(format!("{name} {}", envelope.name()));
        Ok(())
    })
}

#[actix::test]
async fn each_pattern_gets_what_matches_whoever_declares_it() {
    let log = Log::default();
    let watch = Domain::new("watch")
        .handler_on("one.*", watching(&log, "one.*"))
        .handler_on("shop.**", watching(&log, "shop.**"))
        .handler_on("**", watching(&log, "**"))
        .handler_on("clock.tick", watching(&log, "exact"));
    let bus = TestBus::start([watch]).await.unwrap();
    bus.publish(Begin { n: 1 }).await.unwrap();
    bus.publish(order("", 1)).await.unwrap();
    bus.publish(Tick { n: 1 }).await.unwrap();
    bus.publish(Ask { n: 1 }).await.unwrap();
    bus.quiet().await;
    let mut all = log.all();
    all.sort();
    assert_eq!(
        all,
        [
            "** clock.tick",
            "** one.begin",
            "** oracle.ask",
            "** shop.order",
            "exact clock.tick",
            "one.* one.begin",
            "shop.** shop.order",
        ]
    );
    assert_eq!(bus.metrics().unheard, 0);
}

#[actix::test]
async fn a_pattern_that_comes_later_gets_what_was_unheard_before() {
    struct Watcher(Log);
    impl actix::Actor for Watcher {
        type Context = actix::Context<Self>;
    }
    impl actix::Handler<Delivery<Envelope>> for Watcher {
        type Result = HandlerResult<()>;
        fn handle(
            &mut self,
            delivery: Delivery<Envelope>,
            _: &mut actix::Context<Self>,
        ) -> Self::Result {
            self.0.add(delivery.name());
            Ok(())
        }
    }
    let log = Log::default();
    let made = log.clone();
    let bus = TestBus::start([Domain::new("watch").handler_on("x.*", watching(&log, "x"))])
        .await
        .unwrap();
    bus.publish(Tick { n: 1 }).await.unwrap();
    assert_eq!(bus.metrics().unheard, 1);
    let watcher = Subscriber::new(move || Watcher(made.clone())).on_pattern::<()>("*.tick");
    let subscription = bus.subscribe("watch", watcher).await.unwrap();
    bus.publish(Tick { n: 2 }).await.unwrap();
    subscription.unsubscribe().await;
    bus.publish(Tick { n: 3 }).await.unwrap();
    bus.quiet().await;
    assert_eq!(log.all(), ["clock.tick"]);
    assert_eq!(bus.metrics().unheard, 2);
}

/// Takes ticks by name, and everything by pattern.
struct Both(Log);

impl actix::Actor for Both {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Delivery<Tick>> for Both {
    type Result = HandlerResult<()>;
    fn handle(&mut self, tick: Delivery<Tick>, _: &mut actix::Context<Self>) -> Self::Result {
        self.0.add(format!("by name {}", tick.n));
        Ok(())
    }
}

impl actix::Handler<Delivery<Envelope>> for Both {
    type Result = HandlerResult<()>;
    fn handle(&mut self, event: Delivery<Envelope>, _: &mut actix::Context<Self>) -> Self::Result {
        self.0.add(format!("by pattern {}", event.name()));
        Ok(())
    }
}

#[actix::test]
async fn of_an_event_taken_by_name_and_by_pattern_there_is_one_copy_by_name() {
    let log = Log::default();
    let made = log.clone();
    let both = Subscriber::new(move || Both(made.clone()))
        .on_pattern::<()>("**")
        .on_pattern::<()>("clock.*")
        .on::<Tick, ()>();
    let bus = TestBus::start([Domain::new("watch").actor(both)]).await.unwrap();
    bus.publish(Tick { n: 5 }).await.unwrap();
    bus.publish(Begin { n: 5 }).await.unwrap();
    bus.quiet().await;
    assert_eq!(log.all(), ["by name 5", "by pattern one.begin"]);
}

#[actix::test]
async fn error_facts_are_heard_by_pattern() {
    let log = Log::default();
    let failing = on(async |_: &Tick, _: &EventContext| Err::<(), _>(HandlerError::retry("no")));
    let other = on(async |_: &Begin, _: &EventContext| Err::<Begun, _>(HandlerError::reject("no")));
    let bus = TestBus::start([
        Domain::new("clock").handler(failing),
        Domain::new("one").handler(other),
        Domain::new("watch").handler_on("**.error", watching(&log, "seen")),
    ])
    .await
    .unwrap();
    bus.publish(Tick { n: 1 }).await.unwrap();
    bus.quiet().await;
    bus.request(Begin { n: 1 }).await.unwrap_err();
    bus.quiet().await;
    assert_eq!(log.all(), ["seen clock.tick.error", "seen one.begin.error"]);
}

#[actix::test]
async fn a_watcher_that_fails_makes_no_fact_of_a_fact() {
    let failing =
        on(async |_: &Envelope, _: &EventContext| Err::<(), _>(HandlerError::retry("no")));
    let bus = TestBus::start([Domain::new("watch").handler_on("**", failing)]).await.unwrap();
    let tracked = bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    assert_eq!(tracked.names(), ["clock.tick", "clock.tick.error"]);
    assert_eq!(tracked.dead_letters().len(), 2);
    assert_eq!(metrics(&bus, "watch.On").errors, 2);
}

#[actix::test]
async fn who_only_looks_on_answers_no_request() {
    let log = Log::default();
    let bus = TestBus::start([Domain::new("watch").handler_on("**", watching(&log, "seen"))])
        .await
        .unwrap();
    let error = bus.request(Ask { n: 1 }).await.unwrap_err();
    assert!(matches!(error, RequestError::NoReply { .. }), "{error}");
}

#[actix::test]
async fn odd_patterns_and_a_line_within_a_group_are_start_faults() {
    let log = Log::default();
    let lined = on(async |_: &Tick, _: &EventContext| Ok(()));
    let watch = Domain::new("watch")
        .handler_on("User.*", watching(&log, ""))
        .handler_on("user..x", watching(&log, ""))
        .handler(lined.with(Policy::default().group("all").priority(1)));
    let faults = TestBus::start([watch]).await.unwrap_err().faults;
    let mut odd = Vec::new();
    for fault in &faults {
        match fault {
            StartFault::BadPattern { pattern, .. } => odd.push(pattern.as_str()),
            StartFault::BadPolicy { owner, reason } => {
                assert!(owner == "watch.On#3" && reason.contains("group"), "{fault}");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((odd, faults.len()), (vec!["User.*", "user..x"], 3));
}

#[actix::test]
async fn equal_priorities_are_a_fault_by_pattern_too() {
    let tick = on(async |_: &Tick, _: &EventContext| Ok(())).with(Policy::default().priority(1));
    let any = on(async |_: &Envelope, _: &EventContext| Ok(()));
    let any = any.with(Policy::default().priority(1));
    let clock = Domain::new("clock").handler(tick).handler_on("clock.*", any);
    let faults = TestBus::start([clock]).await.unwrap_err().faults;
    let named = |fault: &StartFault| {
        matches!(fault, StartFault::EqualPriority { event: "clock.tick", priority: 1, .. })
    };
    assert!(faults.iter().any(named), "{faults:?}");
}

#[actix::test]
async fn the_graph_shows_patterns_groups_and_places_in_line() {
    let log = Log::default();
    let grouped = on(async |_: &Tick, _: &EventContext| Ok(()));
    let lined = on(async |_: &Begin, _: &EventContext| Ok(()));
    let watch = Domain::new("watch")
        .handler_on("clock.*", watching(&log, ""))
        .handler(grouped.with(Policy::default().group("workers")))
        .handler(lined.with(Policy::default().priority(7)));
    let bus = TestBus::start([watch]).await.unwrap();
    let graph = bus.runtime().graph().await;
    let json = graph.to_json();
    let handlers = json["handlers"].as_array().unwrap();
    assert_eq!(handlers[0]["patterns"][0], "clock.*");
    assert_eq!(handlers[1]["policy"]["group"], "workers");
    assert_eq!(handlers[2]["policy"]["priority"], "7");
    let mermaid = graph.to_mermaid();
    for expected in
        ["([clock.*])", "([clock.tick])", "[watch.On#2, group workers]", "[watch.On#3, priority 7]"]
    {
        assert!(mermaid.contains(expected), "{expected} is missing in: {mermaid}");
    }
    let dot = graph.to_dot();
    for expected in [
        "\"clock.*\" -> \"watch.On\"",
        "\"clock.tick\" -> \"clock.*\"",
        "\"watch.On#2\" [label=\"watch.On#2, group workers\"]",
        "\"watch.On#3\" [label=\"watch.On#3, priority 7\"]",
    ] {
        assert!(dot.contains(expected), "{expected} is missing in: {dot}");
    }
}
