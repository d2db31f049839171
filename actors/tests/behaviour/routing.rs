//! Of a group one gets the event, of a line the first that does not decline, and nobody gets what it
//! does not want.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{DeadReason, Failed, HandlerStatus, Overflow, RequestError, millis, secs};
use tokio::time::sleep;

use crate::play::{Answer, Ask, Log, Order, Receipt, metrics, on, order, settle};

/// A member of a group that logs its orders; an order numbered -1 ends it.
fn member(
    log: &Log,
    name: &'static str,
    policy: Policy,
) -> impl EventHandler<Input = Order> + use<> {
    member_of("workers", log, name, policy)
}

fn member_of(
    group: &'static str,
    log: &Log,
    name: &'static str,
    policy: Policy,
) -> impl EventHandler<Input = Order> + use<> {
    let log = log.clone();
    on(async move |event: &Order, _: &EventContext| {
        assert!(event.n >= 0, "as it was told");
        log.add(format!("{name}{}", event.n));
        Ok(Receipt { n: event.n })
    })
    .with(policy.group(group).restarts_max(0))
}

async fn group(log: &Log) -> TestBus {
    let plain = Policy::default;
    let shop = Domain::new("shop")
        .handler(member(log, "a", plain()))
        .handler(member(log, "b", plain()))
        .handler(member(log, "c", plain()));
    TestBus::start([shop]).await.unwrap()
}

#[actix::test]
async fn one_member_of_a_group_gets_each_event_in_turn() {
    let log = Log::default();
    let bus = group(&log).await;
    for n in 0..6 {
        assert_eq!(bus.request(order("", n)).await.unwrap().n, n);
    }
    assert_eq!(log.all(), ["a0", "b1", "c2", "a3", "b4", "c5"]);
}

#[actix::test]
async fn a_group_beside_a_handler_and_a_second_group_each_get_a_copy() {
    let log = Log::default();
    let write = log.clone();
    let alone = on(async move |event: &Order, _: &EventContext| {
        write.add(format!("alone{}", event.n));
        Ok(())
    });
    let shop = Domain::new("shop")
        .handler(member(&log, "a", Policy::default()))
        .handler(member(&log, "b", Policy::default()))
        .handler(member_of("others", &log, "other", Policy::default()))
        .handler(alone);
    let bus = TestBus::start([shop]).await.unwrap();
    bus.publish(order("", 0)).await.unwrap();
    bus.quiet().await;
    let mut all = log.all();
    all.sort();
    assert_eq!(all, ["a0", "alone0", "other0"]);
}

#[actix::test]
async fn events_of_a_key_go_to_one_member() {
    let log = Log::default();
    let bus = group(&log).await;
    for n in 0..60 {
        bus.publish(order(&format!("key{}", n % 11), n)).await.unwrap();
    }
    bus.quiet().await;
    let mut members = std::collections::BTreeMap::<i64, std::collections::BTreeSet<char>>::new();
    for entry in log.all() {
        let (name, n) = entry.split_at(1);
        let key = n.parse::<i64>().unwrap() % 11;
        members.entry(key).or_default().extend(name.chars());
    }
    assert!(members.values().all(|names| names.len() == 1), "{members:?}");
    let used: std::collections::BTreeSet<_> = members.values().flatten().collect();
    assert!(used.len() > 1, "all keys went to one member: {members:?}");
}

#[actix::test]
async fn a_member_that_is_down_is_passed_over() {
    let log = Log::default();
    let bus = group(&log).await;
    bus.request(order("", -1)).await.unwrap_err();
    sleep(secs(2)).await;
    assert_eq!(bus.handler("shop.On").unwrap().status(), HandlerStatus::Down);
    for n in 0..4 {
        bus.request(order("", n)).await.unwrap();
    }
    for key in ["k1", "k2", "k3", "k4", "k5", "k6"] {
        bus.request(order(key, 9)).await.unwrap();
    }
    assert!(log.all().iter().all(|entry| !entry.starts_with('a')), "{:?}", log.all());
    for _ in 0..2 {
        bus.request(order("", -1)).await.unwrap_err();
        sleep(secs(2)).await;
    }
    let error = bus.request(order("", 1)).await.unwrap_err();
    assert!(matches!(error, RequestError::Unavailable { .. }), "all are down: {error}");
}

#[actix::test]
async fn a_group_asks_the_members_that_want_the_event() {
    let log = Log::default();
    let even = Policy::default().when_event(|event: &Order| event.n % 2 == 0);
    let odd = Policy::default().when_event(|event: &Order| event.n % 2 == 1 && event.n < 5);
    let shop =
        Domain::new("shop").handler(member(&log, "even", even)).handler(member(&log, "odd", odd));
    let bus = TestBus::start([shop]).await.unwrap();
    for n in 0..6 {
        bus.publish(order("", n)).await.unwrap();
    }
    bus.quiet().await;
    let mut all = log.all();
    all.sort();
    assert_eq!(all, ["even0", "even2", "even4", "odd1", "odd3"]);
    assert_eq!(bus.metrics().unheard, 6, "nobody wanted order 5, nor the five receipts");
}

/// A handler that answers with its number, or declines the questions that `declines` names.
fn oracle(
    number: i64,
    declines: fn(i64) -> bool,
    policy: Policy,
) -> impl EventHandler<Input = Ask> {
    on(async move |event: &Ask, _: &EventContext| {
        if declines(event.n) {
            return Err(HandlerError::decline());
        }
        Ok(Answer { n: number })
    })
    .with(policy)
}

#[actix::test]
async fn the_next_in_line_gets_what_was_declined() {
    let priority = |priority| Policy::default().priority(priority);
    let line = Domain::new("oracle")
        .handler(oracle(2, |n| n > 20, priority(5)))
        .handler(oracle(1, |n| n > 10, priority(9)))
        .handler(oracle(3, |n| n > 30, priority(-1)));
    let bus = TestBus::start([line]).await.unwrap();
    for (question, answer) in [(1, 1), (11, 2), (21, 3)] {
        assert_eq!(bus.request(Ask { n: question }).await.unwrap().n, answer);
    }
    assert_eq!(metrics(&bus, "oracle.On").processed, 2, "who stands behind gets no copy");
    let error = bus.request(Ask { n: 31 }).await.unwrap_err();
    assert!(matches!(error, RequestError::NoHandler { .. }), "{error}");
    bus.quiet().await;
    assert!(bus.letters().await.is_empty(), "the requester was told");
    bus.publish(Ask { n: 31 }).await.unwrap();
    bus.quiet().await;
    assert!(matches!(bus.letters().await[0].reason, DeadReason::Declined));
    assert_eq!(metrics(&bus, "oracle.On").errors, 0);
}

#[actix::test]
async fn who_has_no_priority_passes_nothing_on() {
    let line = Domain::new("oracle")
        .handler(oracle(1, |_| true, Policy::default()))
        .handler(oracle(2, |_| false, Policy::default().priority(1)));
    let bus = TestBus::start([line]).await.unwrap();
    bus.publish(Ask { n: 1 }).await.unwrap();
    bus.quiet().await;
    assert_eq!(metrics(&bus, "oracle.On#2").processed, 1, "its own copy and no second one");
    let letters = bus.letters().await;
    assert_eq!((letters.len(), letters[0].handler.as_str()), (1, "oracle.On"));
}

#[actix::test]
async fn a_line_passes_over_who_does_not_want_the_event() {
    let small =
        |priority| Policy::default().priority(priority).when_event(|event: &Ask| event.n < 10);
    let line = Domain::new("oracle")
        .handler(oracle(1, |n| n < 5, small(3)))
        .handler(oracle(2, |_| false, small(2).when_event(|event: &Ask| event.n != 3)))
        .handler(oracle(3, |_| false, Policy::default().priority(1)));
    let bus = TestBus::start([line]).await.unwrap();
    for (question, answer) in [(10, 3), (7, 1), (4, 2), (3, 3)] {
        assert_eq!(bus.request(Ask { n: question }).await.unwrap().n, answer, "{question}");
    }
}

#[actix::test]
async fn what_nobody_wants_enters_no_queue_and_is_unheard() {
    let log = Log::default();
    let write = log.clone();
    let picky = on(async move |event: &Order, _: &EventContext| {
        write.add(event.key.clone());
        Ok(Receipt { n: event.n })
    });
    let picky =
        picky.with(Policy::default().when(|envelope| envelope.key() != Some("no")).queue_max(1));
    let bus = TestBus::start([Domain::new("shop").handler(picky)]).await.unwrap();
    bus.handler("shop.On").unwrap().pause();
    for _ in 0..10 {
        bus.try_publish(order("no", 1)).unwrap();
    }
    assert_eq!((metrics(&bus, "shop.On").queue_depth, bus.metrics().unheard), (0, 10));
    let error = bus.request(order("no", 1)).await.unwrap_err();
    assert!(matches!(error, RequestError::NoHandler { .. }), "{error}");
    bus.handler("shop.On").unwrap().resume();
    bus.request(order("yes", 1)).await.unwrap();
    assert_eq!(log.all(), ["yes"]);
    assert!(bus.letters().await.is_empty());
}

#[actix::test]
async fn a_predicate_that_panics_makes_a_dead_letter_and_the_requester_is_told() {
    let log = Log::default();
    let broken = |number: i64, policy: Policy| {
        let policy = policy.when_event(move |event: &Ask| {
            assert!(event.n != number, "the predicate's");
            true
        });
        oracle(number, |_| false, policy)
    };
    let write = log.clone();
    let other = on(async move |event: &Ask, _: &EventContext| {
        write.add(event.n.to_string());
        Ok(())
    });
    let domain = Domain::new("oracle").handler(broken(1, Policy::default())).handler(other);
    let bus = TestBus::start([domain]).await.unwrap();
    let error = bus.request(Ask { n: 1 }).await.unwrap_err();
    assert_eq!(error.code(), "panic");
    assert!(error.to_string().contains("the predicate's"), "{error}");
    bus.quiet().await;
    assert_eq!(log.all(), ["1"], "others get their copy");
    let letters = bus.letters().await;
    assert_eq!((letters.len(), letters[0].handler.as_str()), (1, "oracle.On"));
    assert_eq!(bus.published::<Failed<Ask>>().one().code, "panic");
    assert_eq!(bus.metrics().unheard, 1, "the error fact alone");
    assert_eq!(bus.request(Ask { n: 2 }).await.unwrap().n, 1);
}

#[actix::test]
async fn a_predicate_further_back_in_line_may_panic_too() {
    let panicking = Policy::default().priority(2).when_event(|event: &Ask| {
        assert!(event.n != 1, "the predicate's");
        true
    });
    let line = Domain::new("oracle")
        .handler(oracle(1, |_| true, Policy::default().priority(3)))
        .handler(oracle(2, |_| true, panicking))
        .handler(oracle(3, |_| false, Policy::default().priority(1)));
    let bus = TestBus::start([line]).await.unwrap();
    assert_eq!(bus.request(Ask { n: 1 }).await.unwrap_err().code(), "panic");
    bus.quiet().await;
    let letters = bus.letters().await;
    assert_eq!((letters.len(), letters[0].handler.as_str()), (1, "oracle.On#2"));
    assert_eq!(metrics(&bus, "oracle.On#3").processed, 1, "the line goes on behind it");
    assert_eq!(bus.request(Ask { n: 2 }).await.unwrap().n, 3);
}

#[actix::test]
async fn what_is_declined_to_a_full_queue_waits_or_is_a_dead_letter() {
    for (overflow, is_handled) in [(Overflow::Wait, true), (Overflow::Reject, false)] {
        let busy = on(async |event: &Ask, _: &EventContext| {
            sleep(secs(2)).await;
            Ok(Answer { n: event.n })
        });
        let busy =
            busy.with(Policy::default().priority(1).concurrency(1).queue_max(1).overflow(overflow));
        let line = Domain::new("oracle")
            .handler(oracle(0, |_| true, Policy::default().priority(2)))
            .handler(busy);
        let bus = TestBus::start([line]).await.unwrap();
        for n in 1..=2 {
            bus.publish(Ask { n }).await.unwrap();
            settle().await;
        }
        let third = bus.request(Ask { n: 3 }).timeout(secs(20)).await;
        match third {
            Ok(answer) => assert!(is_handled && answer.n == 3),
            Err(RequestError::Full { .. }) => assert!(!is_handled),
            Err(other) => panic!("{other}"),
        }
        bus.quiet().await;
        assert_eq!(bus.dead_letters().count(), usize::from(!is_handled));
    }
}

#[actix::test]
async fn what_is_declined_to_a_paused_handler_does_not_wait_for_ever() {
    let line = Domain::new("oracle")
        .handler(oracle(0, |_| true, Policy::default().priority(2).concurrency(1)))
        .handler(oracle(1, |_| false, Policy::default().priority(1).queue_max(1)));
    let bus = TestBus::start([line]).await.unwrap();
    bus.handler("oracle.On#2").unwrap().pause();
    for n in 1..=2 {
        bus.publish(Ask { n }).await.unwrap();
    }
    sleep(secs(31) + millis(10)).await;
    assert_eq!(bus.dead_letters().count(), 1);
    assert!(matches!(bus.letters().await[0].reason, DeadReason::Full));
    bus.handler("oracle.On#2").unwrap().resume();
    bus.quiet().await;
}
