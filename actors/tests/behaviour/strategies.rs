//! What one handler's failure means for its siblings and for its domain.

use std::sync::Arc;

use actix::prelude::*;
use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{
    Escalation, HandlerStatus, RequestError, Restart, Runtime, StartFault, Strategy, secs,
};
use parking_lot::Mutex;

use crate::play::{Answer, Ask, Log, Notes, Tick, on};

/// Counts its ticks, and writes down when it starts and stops.
struct Player {
    name: &'static str,
    seen: u32,
    log: Log,
}

impl Actor for Player {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        self.log.add(format!("+{}", self.name));
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.log.add(format!("-{}", self.name));
    }
}

const COUNT: i64 = 0;
const PANIC: i64 = 1;
const STOP: i64 = 2;

impl Handler<Delivery<Tick>> for Player {
    type Result = HandlerResult<()>;

    fn handle(&mut self, tick: Delivery<Tick>, ctx: &mut Context<Self>) -> Self::Result {
        match tick.n % 10 {
            PANIC => panic!("{} forgot the text", self.name),
            STOP => ctx.stop(),
            _ => {
                self.seen += 1;
                self.log.add(format!("{}{}", self.name, self.seen));
            }
        }
        Ok(())
    }
}

/// A player who hears what is said to all, and to the given number.
fn player(name: &'static str, number: i64, log: &Log, policy: Policy) -> Subscriber<Player> {
    let log = log.clone();
    let mine = move |tick: &Tick| tick.n / 10 == number || tick.n / 10 == ALL;
    Subscriber::new(move || Player { name, seen: 0, log: log.clone() })
        .on::<Tick, ()>()
        .named(name)
        .policy(policy.when_event(mine))
}

const ALL: i64 = 9;

fn to(number: i64, what: i64) -> Tick {
    Tick { n: number * 10 + what }
}

fn trio(log: &Log, policy: &Policy) -> Domain {
    Domain::new("cast")
        .actor(player("a", 1, log, policy.clone()))
        .actor(player("b", 2, log, policy.clone()))
        .actor(player("c", 3, log, policy.clone()))
}

/// Plays to a domain of three; what is in the log after each event.
async fn played(domain: impl Fn(Domain) -> Domain, events: &[Tick]) -> (TestBus, Vec<String>) {
    let log = Log::default();
    let bus = TestBus::start([domain(trio(&log, &Policy::default()))]).await.unwrap();
    bus.quiet().await;
    tokio::time::sleep(secs(1)).await;
    let mut written = vec![log.take()];
    for event in events {
        bus.publish_tracked(event.clone()).await.unwrap();
        tokio::time::sleep(secs(5)).await;
        written.push(log.take());
    }
    (bus, written)
}

fn restarts(bus: &TestBus) -> [u64; 3] {
    let handlers = bus.metrics().handlers;
    ["cast.a", "cast.b", "cast.c"].map(|name| handlers[name].restarts)
}

#[actix::test]
async fn one_for_one_leaves_siblings_alone() {
    let events = [to(ALL, COUNT), to(2, PANIC), to(ALL, COUNT)];
    let (bus, written) = played(|domain| domain, &events).await;
    assert_eq!(written, ["+a +b +c", "a1 b1 c1", "-b +b", "a2 b1 c2"]);
    assert_eq!(restarts(&bus), [0, 1, 0]);
}

#[actix::test]
async fn one_for_all_stops_in_reverse_and_rebuilds_in_order() {
    let events = [to(ALL, COUNT), to(2, PANIC), to(ALL, COUNT)];
    let (bus, written) = played(|domain| domain.strategy(Strategy::OneForAll), &events).await;
    assert_eq!(written, ["+a +b +c", "a1 b1 c1", "-b -c -a +a +b +c", "a1 b1 c1"]);
    assert_eq!(restarts(&bus), [1, 1, 1]);
    assert!(bus.health().down.is_empty());
}

#[actix::test]
async fn rest_for_one_rebuilds_those_after_it() {
    let events = [to(ALL, COUNT), to(2, PANIC), to(ALL, COUNT), to(3, PANIC), to(ALL, COUNT)];
    let (bus, written) = played(|domain| domain.strategy(Strategy::RestForOne), &events).await;
    let expected = ["+a +b +c", "a1 b1 c1", "-b -c +b +c", "a2 b1 c1", "-c +c", "a3 b2 c1"];
    assert_eq!(written, expected);
    assert_eq!(restarts(&bus), [0, 1, 2]);
}

#[actix::test]
async fn an_actor_that_stops_by_itself_touches_no_sibling() {
    let events = [to(ALL, COUNT), to(2, STOP), to(ALL, COUNT)];
    let (bus, written) = played(|domain| domain.strategy(Strategy::OneForAll), &events).await;
    assert_eq!(written, ["+a +b +c", "a1 b1 c1", "-b +b", "a2 b1 c2"]);
    assert_eq!(restarts(&bus), [0, 1, 0]);
}

#[actix::test]
async fn a_sibling_that_is_never_rebuilt_is_left_as_it_is() {
    let log = Log::default();
    let never = Policy::default().restart(Restart::Never);
    let domain = Domain::new("cast")
        .strategy(Strategy::OneForAll)
        .actor(player("a", 1, &log, never))
        .actor(player("b", 2, &log, Policy::default()));
    let bus = TestBus::start([domain]).await.unwrap();
    bus.publish_tracked(to(ALL, COUNT)).await.unwrap();
    bus.publish_tracked(to(2, PANIC)).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    bus.publish_tracked(to(ALL, COUNT)).await.unwrap();
    assert_eq!(log.take(), "+a +b a1 b1 -b +b a2 b1");
}

#[actix::test]
async fn who_comes_at_run_time_is_the_last() {
    let log = Log::default();
    let domain = trio(&log, &Policy::default()).strategy(Strategy::RestForOne);
    let bus = TestBus::start([domain]).await.unwrap();
    bus.subscribe("cast", player("d", 4, &log, Policy::default())).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    log.take();
    bus.publish_tracked(to(3, PANIC)).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(log.take(), "-c -d +c +d");
}

/// A domain of a player who may panic, and of a slow responder that answers in ten seconds.
async fn slow_sibling(policy: Policy) -> (TestBus, Notes) {
    let (log, notes) = (Log::default(), Notes::default());
    let write = notes.clone();
    let slow = on(async move |event: &Ask, ctx: &EventContext| {
        write.add(i64::from(ctx.attempt()));
        tokio::time::sleep(secs(10)).await;
        Ok(Answer { n: event.n })
    });
    let domain = Domain::new("oracle")
        .strategy(Strategy::OneForAll)
        .handler(slow.with(policy))
        .actor(player("b", 2, &log, Policy::default()));
    (TestBus::start([domain]).await.unwrap(), notes)
}

#[actix::test]
async fn what_is_in_work_on_a_sibling_fails_and_may_be_tried_again() {
    for (attempts_max, answered) in [(1, false), (2, true)] {
        let policy = Policy::default().attempts_max(attempts_max);
        let (bus, notes) = slow_sibling(policy).await;
        let asked = actix::spawn(bus.request(Ask { n: 7 }).into_future());
        tokio::time::sleep(secs(1)).await;
        bus.publish(to(2, PANIC)).await.unwrap();
        let answer = asked.await.unwrap();
        if answered {
            assert_eq!(answer.unwrap().n, 7);
            assert_eq!(notes.all(), [1, 2]);
        } else {
            let error = answer.unwrap_err();
            assert_eq!(error.code(), "restarted", "{error}");
            assert_eq!(notes.all(), [1]);
        }
    }
}

#[actix::test]
async fn the_queue_of_a_rebuilt_sibling_survives() {
    let (bus, notes) = slow_sibling(Policy::default().concurrency(1).attempts_max(2)).await;
    let ask = |n| actix::spawn(bus.request(Ask { n }).timeout(secs(100)).into_future());
    let asked: Vec<_> = (0..3).map(ask).collect();
    tokio::time::sleep(secs(1)).await;
    bus.publish(to(2, PANIC)).await.unwrap();
    for (n, asked) in (0..).zip(asked) {
        assert_eq!(asked.await.unwrap().unwrap().n, n);
    }
    assert_eq!(notes.all(), [1, 2, 1, 1]);
}

/// A domain whose players may not be rebuilt even once.
async fn brittle(escalation: Escalation) -> (TestBus, Log, Arc<Mutex<Vec<String>>>) {
    let (log, down) = (Log::default(), Arc::new(Mutex::new(Vec::new())));
    let domain = trio(&log, &Policy::default().restarts_max(0)).escalation(escalation);
    let write = Arc::clone(&down);
    let builder = Runtime::new()
        .mount(domain)
        .on_down(move |handler| {
            write.lock().push(handler.to_owned());
            assert_ne!(handler, "cast.a", "a hook may panic");
        })
        .mount(Domain::new("other").handler(Notes::default().of_ticks()));
    let bus = TestBus::start_with(builder).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    log.take();
    (bus, log, down)
}

#[actix::test]
async fn an_isolated_handler_goes_down_alone() {
    let (bus, log, down) = brittle(Escalation::Isolate).await;
    bus.publish_tracked(to(2, PANIC)).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(bus.health().down, ["cast.b"]);
    assert_eq!(*down.lock(), ["cast.b"]);
    let tracked = bus.publish_tracked(to(ALL, COUNT)).await.unwrap();
    assert_eq!(log.take(), "-b a1 c1");
    assert_eq!(tracked.dead_letters()[0].reason.code(), "unavailable");
}

#[actix::test]
async fn a_domain_restarts_with_fresh_histories_and_then_goes_down_as_a_whole() {
    let (bus, log, down) = brittle(Escalation::restart_domain(2, secs(60))).await;
    for _ in 0..2 {
        bus.publish_tracked(to(2, PANIC)).await.unwrap();
        tokio::time::sleep(secs(5)).await;
        assert_eq!(log.take(), "-b -c -a +a +b +c");
        assert!(bus.health().down.is_empty());
    }
    bus.publish_tracked(to(3, PANIC)).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(log.take(), "-c -b -a");
    assert_eq!(bus.health().down, ["cast.a", "cast.b", "cast.c"]);
    let mut told = down.lock().clone();
    told.sort();
    assert_eq!(told, ["cast.a", "cast.b", "cast.c"], "each once");
    let status = |name| bus.handler(name).unwrap().status();
    assert_eq!(status("cast.a"), HandlerStatus::Down);
    assert_eq!(status("other.On"), HandlerStatus::Up);
    let tracked = bus.publish_tracked(to(ALL, COUNT)).await.unwrap();
    let codes: Vec<_> = tracked.dead_letters().iter().map(|l| l.reason.code()).collect();
    assert_eq!(codes, ["unavailable"; 3], "what comes is not lost");
}

#[actix::test]
async fn restarts_of_a_domain_are_forgotten_after_their_window() {
    let (bus, _, _) = brittle(Escalation::restart_domain(1, secs(60))).await;
    for _ in 0..4 {
        bus.publish_tracked(to(2, PANIC)).await.unwrap();
        tokio::time::sleep(secs(61)).await;
    }
    assert!(bus.health().down.is_empty());
    bus.publish_tracked(to(2, PANIC)).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    bus.publish_tracked(to(1, PANIC)).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(bus.health().down.len(), 3);
}

#[actix::test]
async fn a_domain_that_may_not_restart_goes_down_at_once_and_who_waits_is_told() {
    let (log, notes) = (Log::default(), Notes::default());
    let slow = on(async move |event: &Ask, _: &EventContext| {
        notes.add(event.n);
        tokio::time::sleep(secs(10)).await;
        Ok(Answer { n: event.n })
    });
    let domain = Domain::new("oracle")
        .escalation(Escalation::restart_domain(0, secs(60)))
        .handler(slow.with(Policy::default().concurrency(1)))
        .actor(player("b", 2, &log, Policy::default().restarts_max(0)));
    let bus = TestBus::start([domain]).await.unwrap();
    let asked: Vec<_> =
        (0..3).map(|n| actix::spawn(bus.request(Ask { n }).into_future())).collect();
    tokio::time::sleep(secs(1)).await;
    bus.publish(to(2, PANIC)).await.unwrap();
    let mut errors = Vec::new();
    for asked in asked {
        errors.push(asked.await.unwrap().unwrap_err());
    }
    assert_eq!(errors[0].code(), "restarted", "it was in work");
    assert!(matches!(errors[1], RequestError::Unavailable { .. }), "{}", errors[1]);
    assert!(matches!(errors[2], RequestError::Unavailable { .. }), "{}", errors[2]);
    assert_eq!(bus.health().down, ["oracle.On", "oracle.b"]);
}

#[actix::test]
async fn strategy_and_escalation_are_shown_and_checked() {
    let log = Log::default();
    let domain = trio(&log, &Policy::default())
        .strategy(Strategy::RestForOne)
        .escalation(Escalation::restart_domain(3, secs(60)));
    let bus = TestBus::start([domain]).await.unwrap();
    let graph = bus.runtime().graph().await.to_json();
    assert_eq!(graph["domains"][0]["strategy"], "rest_for_one");
    assert_eq!(graph["domains"][0]["escalation"], "restart_domain(3, 60s)");
    let faulty = Domain::new("cast").escalation(Escalation::restart_domain(3, secs(0)));
    let error = TestBus::start([faulty]).await.unwrap_err();
    assert!(
        matches!(&error.faults[..], [StartFault::BadPolicy { owner, .. }] if owner == "domain `cast`"),
        "{error}"
    );
}

#[actix::test]
async fn at_shutdown_actors_stop_in_reverse_and_once() {
    let log = Log::default();
    let first = trio(&log, &Policy::default());
    let second = Domain::new("late").actor(player("z", 5, &log, Policy::default()));
    let bus = TestBus::start([first, second]).await.unwrap();
    bus.publish_tracked(to(2, PANIC)).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    log.take();
    bus.runtime().stop().await;
    assert_eq!(log.take(), "-z -c -b -a");
}
