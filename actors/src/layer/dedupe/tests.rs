//! What the memory of handled events promises, on single examples, on threads and against a naive
//! model.

use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use super::*;
use crate::clock::millis;

const CONFIG: fn() -> ProptestConfig =
    || ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() };

fn key(name: &str) -> DedupeKey {
    DedupeKey::Key(name.into())
}

fn first(seen: &Seen, name: &str, now: Instant) -> Option<Claim> {
    match seen.begin(key(name), now) {
        Begun::First(claim) => Some(claim),
        Begun::Duplicate => None,
    }
}

#[test]
fn what_is_in_work_or_was_handled_within_the_window_is_a_duplicate() {
    let (seen, start) = (Seen::new(Dedupe::by_key().window(secs(10))), Instant::now());
    let claim = first(&seen, "a", start).unwrap();
    assert!(first(&seen, "a", start + secs(60)).is_none(), "in work, however long");
    assert!(first(&seen, "b", start).is_some());
    claim.done(start + secs(60));
    assert!(first(&seen, "a", start + millis(69_999)).is_none());
    assert!(first(&seen, "a", start + secs(70)).is_some());
}

#[test]
fn what_failed_or_was_cancelled_is_handled_again() {
    let (seen, now) = (Seen::new(Dedupe::by_key()), Instant::now());
    drop(first(&seen, "a", now).unwrap());
    assert_eq!(seen.len(), 0);
    assert!(first(&seen, "a", now).is_some());
}

#[test]
fn an_id_and_a_key_are_never_the_same() {
    let (seen, now) = (Seen::new(Dedupe::by_id()), Instant::now());
    let id = DedupeKey::Id(EventId(Uuid::nil()));
    let Begun::First(claim) = seen.begin(id.clone(), now) else { panic!("nothing was seen") };
    assert!(first(&seen, &Uuid::nil().to_string(), now).is_some());
    claim.done(now);
    assert!(matches!(seen.begin(id, now), Begun::Duplicate));
}

#[test]
fn the_one_handled_longest_ago_makes_room() {
    let (seen, now) = (Seen::new(Dedupe::by_key().entries_max(3)), Instant::now());
    let in_work = first(&seen, "in work", now).unwrap();
    for name in ["a", "b", "c"] {
        first(&seen, name, now).unwrap().done(now);
    }
    assert_eq!(seen.len(), 3);
    assert!(first(&seen, "in work", now).is_none());
    assert!(first(&seen, "c", now).is_none());
    assert!(first(&seen, "a", now).is_some());
    drop(in_work);
}

#[test]
fn without_room_deliveries_pass_unremembered() {
    let (seen, now) = (Seen::new(Dedupe::by_key().entries_max(1)), Instant::now());
    let held = first(&seen, "a", now).unwrap();
    first(&seen, "b", now).unwrap().done(now);
    assert!(first(&seen, "b", now).is_some());
    assert!(first(&seen, "a", now).is_none(), "what is in work stays");
    assert_eq!(seen.len(), 1);
    held.done(now);
}

#[test]
fn a_clock_that_is_read_late_keeps_nothing_forever() {
    let (seen, start) = (Seen::new(Dedupe::by_key().window(secs(10))), Instant::now());
    let [early, late] = ["early", "late"].map(|name| first(&seen, name, start).unwrap());
    late.done(start + secs(5));
    early.done(start);
    assert!(first(&seen, "early", start + secs(9)).is_none());
    drop(first(&seen, "other", start + secs(15)));
    assert_eq!(seen.len(), 0);
}

#[test]
fn wrong_values_are_named() {
    assert_eq!(Dedupe::by_id().fault(), None);
    assert!(Dedupe::by_id().window(Duration::ZERO).fault().is_some());
    assert!(Dedupe::by_id().entries_max(0).fault().is_some());
}

#[test]
fn of_many_threads_that_begin_the_same_key_at_once_one_is_first() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 50;
    let (seen, now) = (Seen::new(Dedupe::by_key()), Instant::now());
    let barrier = Barrier::new(THREADS);
    for round in 0..ROUNDS {
        let name = round.to_string();
        let claims: Vec<_> = thread::scope(|scope| {
            let begin = || {
                barrier.wait();
                first(&seen, &name, now)
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(begin)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claims.len(), 1);
        // Done, or dropped: the next round has another key.
        claims.into_iter().filter(|_| round % 2 == 0).for_each(|claim| claim.done(now));
    }
    assert_eq!(seen.len(), ROUNDS / 2);
}

/// One key as its definition says it: in work without a moment, done with one.
type Model = Vec<(usize, Option<Instant>)>;

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Begin(usize),
    Done(Index),
    Drop(Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u64..6_000).prop_map(Step::Advance),
        6 => (0_usize..8).prop_map(Step::Begin),
        3 => any::<Index>().prop_map(Step::Done),
        1 => any::<Index>().prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(CONFIG())]

    #[test]
    fn the_memory_holds_what_its_definition_says(entries_max in 1_usize..8, steps in steps()) {
        let window = secs(10);
        let seen = Seen::new(Dedupe::by_key().window(window).entries_max(entries_max));
        let (mut model, mut now) = (Model::new(), Instant::now());
        // The claim, its key, and whether the model remembers it.
        let mut claims: Vec<(Claim, usize, bool)> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(ms) => now += millis(ms),
                Step::Begin(name) => {
                    model.retain(|(_, done)| done.is_none_or(|at| now < at + window));
                    let is_duplicate = model.iter().any(|(known, _)| *known == name);
                    let begun = first(&seen, &name.to_string(), now);
                    prop_assert_eq!(begun.is_none(), is_duplicate);
                    if let Some(claim) = begun {
                        if model.len() >= entries_max
                            // The vector is in the order of the ends, see `Done`.
                            && let Some(oldest) = model.iter().position(|(_, at)| at.is_some())
                        {
                            model.remove(oldest);
                        }
                        let is_remembered = model.len() < entries_max;
                        if is_remembered {
                            model.push((name, None));
                        }
                        claims.push((claim, name, is_remembered));
                    }
                    prop_assert_eq!(seen.len(), model.len());
                    prop_assert!(seen.len() <= entries_max);
                }
                Step::Done(index) | Step::Drop(index) if !claims.is_empty() => {
                    let is_done = matches!(step, Step::Done(_));
                    let (claim, name, is_remembered) =
                        claims.swap_remove(index.index(claims.len()));
                    if is_remembered {
                        model.retain(|(known, _)| *known != name);
                        if is_done {
                            model.push((name, Some(now)));
                        }
                    }
                    if is_done { claim.done(now) } else { drop(claim) }
                    prop_assert_eq!(seen.len(), model.len());
                }
                Step::Done(_) | Step::Drop(_) => {}
            }
        }
    }
}
