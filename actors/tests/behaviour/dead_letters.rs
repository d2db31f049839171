//! Dead letters: kept with all that is known, searched, edited, replayed, discarded, expired.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{DeadLetterError, DeadLetterQuery, ErrorKind, RequestError, Runtime, secs};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use crate::play::{Answer, Ask, Notes, Tick, on};

/// Handles ticks from `least` on and fails on smaller ones.
fn picky(
    notes: &Notes,
    least: &Arc<AtomicI64>,
    policy: Policy,
) -> impl EventHandler<Input = Tick, Output = ()> + use<> {
    let (notes, least) = (notes.clone(), Arc::clone(least));
    on(async move |event: &Tick, _: &EventContext| {
        if event.n < least.load(Ordering::Relaxed) {
            return Err(HandlerError::retry("too small").code("small"));
        }
        notes.add(event.n);
        Ok(())
    })
    .with(policy)
}

async fn picky_bus(policy: Policy) -> (TestBus, Notes, Arc<AtomicI64>) {
    let (notes, least) = (Notes::default(), Arc::new(AtomicI64::new(10)));
    let domain = Domain::new("clock").handler(picky(&notes, &least, policy));
    (TestBus::start([domain]).await.unwrap(), notes, least)
}

/// parity: W28, P6
#[actix::test]
async fn a_letter_keeps_the_event_and_what_is_known_of_its_failure() {
    let policy = Policy::default().attempts_max(3).retry_delay(secs(1), secs(1));
    let (bus, _, _) = picky_bus(policy).await;
    bus.publish(Tick { n: 1 }).tenant("acme").await.unwrap();
    bus.quiet().await;
    let letter = bus.dead_letters().all().await.unwrap().pop().unwrap();
    assert_eq!(letter.handler, "clock.On");
    assert_eq!((letter.attempts, letter.replays), (3, 0));
    assert_eq!(letter.reason.code(), "small");
    assert_eq!(letter.envelope.event::<Tick>().unwrap().n, 1);
    assert_eq!(letter.envelope.metadata().tenant(), Some("acme"));
    assert_eq!(letter.first_failed_at, letter.last_failed_at);
    assert_eq!(bus.dead_letters().get(letter.id).await.unwrap().id, letter.id);
    let json = letter.to_json();
    assert_eq!(json["payload"], json!({ "n": 1 }));
    assert_eq!(json["id"], letter.id.to_string());
    assert_eq!(letter.id.to_string().parse(), Ok(letter.id));
}

#[actix::test]
async fn letters_are_found_by_what_is_known_of_them() {
    let (bus, _, _) = picky_bus(Policy::default()).await;
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    sleep(secs(10)).await;
    let between = bus.events(&callboard_actors::EventQuery::default())[0].ts + secs(5);
    bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    let second = bus.dead_letters().all().await.unwrap().pop().unwrap();
    let found = async |query: DeadLetterQuery| {
        let letters = bus.dead_letters().list(&query).await.unwrap();
        letters.iter().map(|l| l.envelope.event::<Tick>().unwrap().n).collect::<Vec<_>>()
    };
    let query = DeadLetterQuery::default;
    assert_eq!(found(query()).await, [1, 2]);
    assert_eq!(found(query().limit(1)).await, [1]);
    assert_eq!(found(query().handler("clock.On")).await, [1, 2]);
    assert_eq!(found(query().handler("clock.Off")).await, [0; 0]);
    assert_eq!(found(query().event_type("clock.tick").code("small")).await, [1, 2]);
    assert_eq!(found(query().code("panic")).await, [0; 0]);
    assert_eq!(found(query().trace_id(second.envelope.trace_id())).await, [2]);
    assert_eq!(found(query().before(between)).await, [1]);
    assert_eq!(found(query().since(between)).await, [2]);
    assert_eq!(found(query().text("TOO SMALL")).await, [1, 2]);
    assert_eq!(found(query().text("\"n\":2")).await, [2]);
    assert_eq!(found(query().key("none")).await, [0; 0]);
}

/// parity: P6
#[actix::test]
async fn a_replayed_letter_is_handled_once_and_gone() {
    let (bus, notes, least) = picky_bus(Policy::default()).await;
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    bus.publish_tracked(Tick { n: 2 }).await.unwrap();
    least.store(2, Ordering::Relaxed);
    let report = bus.dead_letters().replay(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!((report.handled, report.failed, report.skipped), (1, 1, 0));
    assert_eq!(notes.all(), [2]);
    let letters = bus.dead_letters().all().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].attempts, letters[0].replays), (2, 1), "attempts add up");
    assert_eq!(bus.metrics().dead_lettered, 2, "a replay that fails makes no new letter");
}

/// parity: W28
#[actix::test]
async fn a_replay_ends_though_a_letter_fails_always() {
    let (bus, _, _) = picky_bus(Policy::default()).await;
    for n in 0..5 {
        bus.publish_tracked(Tick { n }).await.unwrap();
    }
    let before = bus.dead_letters().all().await.unwrap()[0].first_failed_at;
    sleep(secs(3)).await;
    let report = bus.dead_letters().replay(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!((report.handled, report.failed), (0, 5));
    let letter = &bus.dead_letters().all().await.unwrap()[0];
    assert_eq!(letter.first_failed_at, before);
    assert!(letter.last_failed_at >= before + secs(3));
}

#[actix::test]
async fn a_replay_reaches_only_the_handler_that_failed() {
    let (notes, others, least) = (Notes::default(), Notes::default(), Arc::new(AtomicI64::new(10)));
    let domain = Domain::new("clock").handler(others.of_ticks()).handler(picky(
        &notes,
        &least,
        Policy::default().ttl(secs(1)),
    ));
    let bus = TestBus::start([domain]).await.unwrap();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    sleep(secs(60)).await;
    least.store(0, Ordering::Relaxed);
    bus.dead_letters().replay(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!(others.all(), [1]);
    assert_eq!(notes.all(), [1], "its age does not count");
}

#[actix::test]
async fn two_replays_at_once_deliver_a_letter_once() {
    let (bus, notes, least) = picky_bus(Policy::default()).await;
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    least.store(0, Ordering::Relaxed);
    let (letters, query) = (bus.dead_letters(), DeadLetterQuery::default());
    let (one, two) = futures_util::join!(letters.replay(&query), letters.replay(&query));
    assert_eq!((one.unwrap().handled, two.unwrap().skipped), (1, 1));
    assert_eq!(notes.all(), [1]);
}

#[actix::test]
async fn a_replay_that_nobody_waits_for_settles_its_letter() {
    let notes = Notes::default();
    let write = notes.clone();
    let slow = on(async move |event: &Tick, _: &EventContext| {
        sleep(secs(5)).await;
        write.add(event.n);
        if write.all().len() == 1 { Err(HandlerError::retry("not yet")) } else { Ok(()) }
    });
    let bus = TestBus::start([Domain::new("clock").handler(slow)]).await.unwrap();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    let (letters, query) = (bus.dead_letters(), DeadLetterQuery::default());
    let given_up = tokio::time::timeout(secs(1), letters.replay(&query)).await;
    assert!(given_up.is_err());
    bus.quiet().await;
    assert_eq!(notes.all(), [1, 1]);
    assert_eq!(letters.count(), 0);
}

#[actix::test]
async fn an_edited_letter_is_replayed_with_its_new_payload_and_its_old_context() {
    let (bus, notes, _) = picky_bus(Policy::default()).await;
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    let letters = bus.dead_letters();
    let letter = letters.all().await.unwrap().pop().unwrap();
    let error = letters.edit(letter.id, json!({ "m": 1 })).await.unwrap_err();
    assert!(matches!(&error, DeadLetterError::BadPayload { event: "clock.tick", .. }), "{error}");
    let edited = letters.edit(letter.id, json!({ "n": 70 })).await.unwrap();
    assert_eq!(edited.envelope.id(), letter.envelope.id());
    assert_eq!(edited.envelope.trace_id(), letter.envelope.trace_id());
    letters.replay(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!(notes.all(), [70]);
    let error = letters.edit(letter.id, json!({ "n": 70 })).await.unwrap_err();
    assert_eq!(error, DeadLetterError::NotFound { id: letter.id });
}

#[actix::test]
async fn letters_are_discarded_purged_and_expire() {
    let (notes, least) = (Notes::default(), Arc::new(AtomicI64::new(10)));
    let domain = Domain::new("clock").handler(picky(&notes, &least, Policy::default()));
    let builder = Runtime::new().mount(domain).dead_letters_ttl(secs(100));
    let bus = TestBus::start_with(builder).await.unwrap();
    for n in 0..4 {
        bus.publish_tracked(Tick { n }).await.unwrap();
    }
    let letters = bus.dead_letters();
    let first = letters.all().await.unwrap().remove(0);
    letters.discard(first.id).await.unwrap();
    let error = letters.discard(first.id).await.unwrap_err();
    assert_eq!(error, DeadLetterError::NotFound { id: first.id });
    let query = DeadLetterQuery::default().code("small").limit(2);
    assert_eq!(letters.purge(&query).await.unwrap(), 2);
    assert_eq!(letters.all().await.unwrap().len(), 1);
    sleep(secs(99)).await;
    assert_eq!(letters.all().await.unwrap().len(), 1);
    sleep(secs(2)).await;
    assert_eq!(letters.all().await.unwrap().len(), 0);
    assert_eq!(bus.metrics().dead_letters, 0);
}

/// parity: P6, K10
#[actix::test]
async fn a_hook_hears_of_each_letter_and_may_panic() {
    let (notes, least) = (Notes::default(), Arc::new(AtomicI64::new(10)));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&heard);
    let builder = Runtime::new()
        .mount(Domain::new("clock").handler(picky(&notes, &least, Policy::default())))
        .on_dead_letter(|_| panic!("a bad hook"))
        .on_dead_letter(move |letter| write.lock().push(letter.reason.code().to_owned()));
    let bus = TestBus::start_with(builder).await.unwrap();
    bus.publish_tracked(Tick { n: 1 }).await.unwrap();
    bus.publish_tracked(Tick { n: 20 }).await.unwrap();
    assert_eq!(*heard.lock(), ["small"]);
    assert_eq!(notes.all(), [20]);
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Move {
    account: String,
    amount: i64,
}

impl Event for Move {
    const NAME: &'static str = "bank.move";

    fn key(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.account.as_str().into())
    }
}

impl Replies for Move {
    type Reply = Answer;
}

/// A bank that refuses amounts below `least`, and keeps the order of each account.
async fn bank() -> (TestBus, Notes, Arc<AtomicI64>) {
    let (notes, least) = (Notes::default(), Arc::new(AtomicI64::new(0)));
    let (write, limit) = (notes.clone(), Arc::clone(&least));
    let booking = on(async move |event: &Move, _: &EventContext| {
        if event.amount < limit.load(Ordering::Relaxed) {
            return Err(HandlerError::retry("not covered").code("uncovered"));
        }
        write.add(event.amount);
        Ok(())
    })
    .with(Policy::default().ordered_by_key().parks_key());
    let bus = TestBus::start([Domain::new("bank").handler(booking)]).await.unwrap();
    (bus, notes, least)
}

fn transfer(account: &str, amount: i64) -> Move {
    Move { account: account.to_owned(), amount }
}

#[actix::test]
async fn a_dead_letter_parks_its_key_and_no_other() {
    let (bus, notes, least) = bank().await;
    for (account, amount) in [("a", -1), ("a", 2), ("b", 3), ("a", 4)] {
        bus.publish(transfer(account, amount)).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!(notes.all(), [3]);
    let codes: Vec<_> = bus.dead_letters().all().await.unwrap();
    let codes: Vec<_> = codes.iter().map(|l| (l.reason.code(), l.attempts)).collect();
    assert_eq!(codes, [("uncovered", 1), ("parked", 0), ("parked", 0)]);

    // The first fails again: nothing of its key moves.
    let report = bus.dead_letters().replay(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!((report.handled, report.failed, report.skipped), (0, 1, 2));
    // One from the middle would break the order.
    let middle = DeadLetterQuery::default().code("parked").limit(1);
    let report = bus.dead_letters().replay(&middle).await.unwrap();
    assert_eq!((report.handled, report.skipped), (0, 1));

    least.store(-5, Ordering::Relaxed);
    bus.publish(transfer("a", 5)).await.unwrap();
    bus.quiet().await;
    let report = bus.dead_letters().replay(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!(report.handled, 4);
    assert_eq!(notes.all(), [3, -1, 2, 4, 5]);
    bus.publish_tracked(transfer("a", 6)).await.unwrap();
    assert_eq!(notes.all().last(), Some(&6), "the key is free again");
}

#[actix::test]
async fn a_discarded_letter_frees_its_key() {
    let (bus, notes, _) = bank().await;
    bus.publish_tracked(transfer("a", -1)).await.unwrap();
    let letter = bus.dead_letters().all().await.unwrap().pop().unwrap();
    bus.dead_letters().discard(letter.id).await.unwrap();
    bus.publish_tracked(transfer("a", 2)).await.unwrap();
    assert_eq!(notes.all(), [2]);
}

#[actix::test]
async fn who_asks_is_told_that_the_key_is_parked() {
    let failing =
        on(
            async |event: &Ask, _: &EventContext| {
                if event.n == 0 { Err(HandlerError::retry("no")) } else { Ok(Answer { n: 1 }) }
            },
        );
    let policy = Policy::default().ordered_by_key().parks_key();
    let bus = TestBus::start([Domain::new("oracle").handler(failing.with(policy))]).await.unwrap();
    let ask = |n| bus.request(Ask { n });
    ask(0).await.unwrap_err();
    assert_eq!(bus.dead_letters().count(), 1);
    // Events without a key are never parked.
    assert_eq!(ask(1).await.unwrap().n, 1);
    let (bus, _, _) = bank().await;
    bus.publish_tracked(transfer("a", -1)).await.unwrap();
    let refused = bus.request(transfer("a", 1)).await.unwrap_err();
    assert!(
        matches!(&refused, RequestError::Handler { error, .. } if error.kind() == ErrorKind::Parked),
        "{refused}"
    );
    assert_eq!(bus.dead_letters().count(), 1, "whoever asked was told");
}
