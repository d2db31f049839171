//! What the limiter promises, on single examples and on random ones.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const CONFIG: fn() -> ProptestConfig =
    || ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() };

fn limits() -> impl Strategy<Value = RateLimit> {
    let (tokens, per, burst) = (1_u32..20, 1_u64..2_000, prop::option::of(1_u32..20));
    (tokens, per, burst, any::<bool>(), 0_u64..5_000).prop_map(
        |(tokens, per, burst, waits, max)| {
            let mut limit = RateLimit::new(tokens, millis(per)).wait_max(millis(max));
            limit.burst = burst;
            if waits { limit } else { limit.refusing() }
        },
    )
}

/// Takes until the limiter says anything but "now".
fn burst_of(limiter: &Limiter, key: &str, now: Instant) -> usize {
    (0..1_000).take_while(|_| limiter.take(key, now) == Take::Now).count()
}

#[test]
fn a_burst_passes_and_the_rest_comes_at_the_rate() {
    let (limiter, start) = (Limiter::new(RateLimit::per_second(10).burst(3)), Instant::now());
    assert_eq!([(); 3].map(|()| limiter.take("", start)), [Take::Now; 3]);
    assert_eq!(limiter.take("", start), Take::After(millis(100)));
    assert_eq!(limiter.take("", start + millis(50)), Take::After(millis(150)));
    assert_eq!(burst_of(&limiter, "", start + secs(60)), 3, "idle time saves up one burst");
}

#[test]
fn a_wait_longer_than_allowed_is_refused_until_it_would_be_short_enough() {
    let limiter = Limiter::new(RateLimit::per_second(1).wait_max(secs(2)));
    let start = Instant::now();
    let takes = [(); 4].map(|()| limiter.take("", start));
    let refused = Take::Refused { retry_after: secs(1) };
    assert_eq!(takes, [Take::Now, Take::After(secs(1)), Take::After(secs(2)), refused]);
    assert_eq!(limiter.take("", start + secs(1)), Take::After(secs(2)));
}

#[test]
fn what_waits_last_and_gives_back_leaves_its_time_to_the_next() {
    let (limiter, start) = (Limiter::new(RateLimit::per_second(1)), Instant::now());
    limiter.take("", start);
    for _ in 0..3 {
        assert_eq!(limiter.take("", start), Take::After(secs(1)));
        limiter.give_back("", start + secs(1));
    }
    limiter.give_back("", start + secs(1));
    assert_eq!(limiter.take("", start), Take::After(secs(1)), "a token comes back only once");
}

#[test]
fn a_gap_among_those_who_wait_is_no_reason_to_begin_two_at_once() {
    let (limiter, start) = (Limiter::new(RateLimit::per_second(1)), Instant::now());
    let waits = [(); 4].map(|()| limiter.take("", start));
    assert_eq!(waits[1..], [1, 2, 3].map(|s| Take::After(secs(s))));
    limiter.give_back("", start + secs(1));
    assert_eq!(limiter.take("", start), Take::After(secs(4)), "a bucket of one saves nothing");
}

#[test]
fn a_new_limit_keeps_those_who_wait_in_their_places() {
    let (limiter, start) = (Limiter::new(RateLimit::per_second(1)), Instant::now());
    let waits = [(); 3].map(|()| limiter.take("", start));
    assert_eq!(waits[1..], [1, 2].map(|s| Take::After(secs(s))));
    limiter.set(RateLimit::per_second(10).burst(1), start);
    assert_eq!(limiter.take("", start), Take::After(millis(2_100)));
    limiter.set(RateLimit::per_minute(1), start);
    assert_eq!(limiter.take("", start), Take::Refused { retry_after: millis(32_100) });
}

#[test]
fn a_new_limit_keeps_the_tokens_that_are_left() {
    let (limiter, start) = (Limiter::new(RateLimit::per_second(10)), Instant::now());
    assert_eq!([(); 4].map(|()| limiter.take("", start)), [Take::Now; 4]);
    limiter.set(RateLimit::per_minute(20), start);
    assert_eq!(burst_of(&limiter, "", start), 6);
    limiter.set(RateLimit::per_second(100), start);
    assert_eq!(limiter.limit(), RateLimit::per_second(100));
    assert_eq!(limiter.keys(), 1);
}

#[test]
fn a_new_limit_counts_those_who_wait_after_a_gap() {
    let (limiter, start) = (Limiter::new(RateLimit::per_second(1).burst(3)), Instant::now());
    assert_eq!(burst_of(&limiter, "", start), 3);
    assert_eq!(limiter.take("", start), Take::After(secs(2)));
    limiter.give_back("", start + secs(1));
    // One waits for the second 2, and the token of the second 1 is saved.
    limiter.set(RateLimit::per_second(1), start + secs(1));
    assert_eq!(limiter.take("", start + secs(1)), Take::After(secs(2)), "not with the other one");
}

#[test]
fn absurd_rates_neither_overflow_nor_drift() {
    let start = Instant::now();
    let fast = Limiter::new(RateLimit::per_second(u32::MAX).burst(1));
    assert_eq!(fast.take("", start), Take::Now);
    assert_eq!(fast.take("", start), Take::After(Duration::from_nanos(1)));
    let mut last = start;
    for _ in 2..100_000 {
        if let Take::After(wait) = fast.take("", start) {
            last = start + wait;
        }
    }
    // 99 999 tokens at 2^32 - 1 a second.
    assert_eq!(last - start, Duration::from_nanos(23_283));

    let year = secs(365 * 86_400);
    let slow = Limiter::new(RateLimit::new(1, year).wait_max(Duration::MAX));
    assert_eq!(slow.take("", start), Take::Now);
    assert_eq!(slow.take("", start), Take::After(year));
    slow.set(RateLimit::per_second(u32::MAX), start);
    slow.set(RateLimit::new(1, Duration::MAX).burst(u32::MAX).wait_max(Duration::MAX), start);
    assert_eq!(slow.take("", start + year), Take::After(TIME_MAX));
    assert_eq!(slow.take("", start + secs(1 << 33)), Take::Now);
}

#[test]
fn a_third_of_a_second_does_not_drift() {
    let limiter = Limiter::new(RateLimit::per_second(3).burst(1).wait_max(secs(2_000)));
    let start = Instant::now();
    let takes: Vec<_> = (0..3_001).map(|_| limiter.take("", start)).collect();
    assert_eq!(takes[3_000], Take::After(secs(1_000)));
}

#[test]
fn wrong_values_are_named() {
    let limit = RateLimit::per_second;
    assert_eq!(limit(1).fault(), None);
    let wrong = [
        limit(0),
        limit(1).burst(0),
        limit(1).keys_max(0),
        limit(1).wait_max(Duration::MAX),
        RateLimit::new(1, Duration::ZERO),
        RateLimit::new(1, Duration::MAX),
    ];
    for limit in wrong {
        assert!(limit.fault().is_some(), "{limit:?}");
        Limiter::new(limit).take("", Instant::now());
    }
}

#[test]
fn a_limit_is_written_with_units() {
    let written = serde_json::to_value(RateLimit::per_second(5).by(LimitBy::EventKey)).unwrap();
    let expected = serde_json::json!({
        "tokens": 5, "per_ms": 1000.0, "burst": null, "when_empty": "wait",
        "wait_max_ms": 30_000.0, "by": "event_key", "keys_max": 10_000,
    });
    assert_eq!(written, expected);
}

#[test]
fn a_level_is_what_the_next_takes_will_find() {
    let limit = RateLimit::per_second(10).burst(3).refusing();
    let (limiter, start) = (Limiter::new(limit), Instant::now());
    let level = |left, next_after, full_after| Level { left, next_after, full_after };
    let none = Duration::ZERO;
    assert_eq!(limiter.level("a", start), level(3, none, none));
    assert_eq!(limiter.keys(), 0, "asking makes no bucket");
    for left in [2, 1, 0] {
        assert_eq!(limiter.take("a", start), Take::Now);
        assert_eq!(limiter.level("a", start).left, left);
    }
    assert_eq!(limiter.level("a", start), level(0, millis(100), millis(300)));
    assert_eq!(limiter.level("a", start + millis(30)), level(0, millis(70), millis(270)));
    assert_eq!(limiter.level("a", start + millis(100)), level(1, none, millis(200)));
    limiter.put_back("a");
    assert_eq!(limiter.level("a", start), level(1, none, millis(200)));
    assert_eq!((limiter.take("a", start), burst_of(&limiter, "a", start)), (Take::Now, 0));
    (0..9).for_each(|_| limiter.put_back("a"));
    assert_eq!(burst_of(&limiter, "a", start), 3, "never more than a burst");
}

#[test]
fn idle_keys_make_room_and_limited_ones_stay() {
    let (limiter, start) = (Limiter::new(RateLimit::per_second(1).keys_max(2)), Instant::now());
    assert_eq!(limiter.take("a", start), Take::Now);
    assert_eq!(limiter.take("b", start + millis(601)), Take::Now);
    let no_room = limiter.take("c", start + millis(601));
    assert_eq!(no_room, Take::NoRoom { retry_after: secs(1) });
    let full = start + millis(1_601);
    assert_eq!(limiter.take("b", full), Take::Now);
    assert_eq!(limiter.take("c", full), Take::Now, "a was idle");
    assert_eq!(limiter.keys(), 2);
    assert_eq!(limiter.take("b", full), Take::After(secs(1)), "b was not");
}

#[test]
fn keys_that_come_once_are_forgotten_long_before_the_memory_is_full() {
    let (limiter, start) = (Limiter::new(RateLimit::per_second(1)), Instant::now());
    for n in 0..1_000 {
        assert_eq!(limiter.take(&n.to_string(), start + secs(n)), Take::Now);
        assert!(limiter.keys() <= SWEEP_MIN);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Take,
    GiveBack(Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u64..700).prop_map(Step::Advance),
        6 => Just(Step::Take),
        2 => any::<Index>().prop_map(Step::GiveBack),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(CONFIG())]

    #[test]
    fn no_window_of_time_sees_more_than_the_burst_and_the_rate(
        limit in limits(), steps in steps(),
    ) {
        let (limiter, mut now) = (Limiter::new(limit.clone()), Instant::now());
        let mut begun: Vec<Instant> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(ms) => now += millis(ms),
                Step::Take => {
                    let at = match limiter.take("", now) {
                        Take::Now => now,
                        Take::After(wait) => {
                            prop_assert!(Duration::ZERO < wait && wait <= limit.wait_max);
                            prop_assert_eq!(limit.when_empty, WhenEmpty::Wait);
                            now + wait
                        }
                        Take::Refused { .. } | Take::NoRoom { .. } => continue,
                    };
                    prop_assert!(begun.last().is_none_or(|last| *last <= at), "out of order");
                    begun.push(at);
                }
                Step::GiveBack(index) => {
                    let waiting = begun.iter().position(|at| *at > now).unwrap_or(begun.len());
                    if waiting < begun.len() {
                        let at = begun.remove(waiting + index.index(begun.len() - waiting));
                        limiter.give_back("", at);
                    }
                }
            }
        }
        let (burst, per) = (u128::from(limit.burst.unwrap_or(limit.tokens)), limit.per.as_nanos());
        for (i, first) in begun.iter().enumerate() {
            for (count, last) in (1_u128..).zip(&begun[i..]) {
                let window = (*last - *first).as_nanos();
                let most = burst + (window * u128::from(limit.tokens)).div_ceil(per);
                prop_assert!(count <= most, "{} in {} ns, at most {}", count, window, most);
            }
        }
    }

    #[test]
    fn those_who_wait_begin_in_order_and_exactly_spaced(
        tokens in 1_u32..2_000, per in 1_u64..100_000_000, burst in 1_u32..9, keys in 1_usize..3,
    ) {
        let per = Duration::from_nanos(per);
        let limit = RateLimit::new(tokens, per).burst(burst).wait_max(secs(1_000));
        let (limiter, now) = (Limiter::new(limit), Instant::now());
        for key in ["a", "b", "c"].iter().take(keys) {
            prop_assert_eq!(burst_of(&limiter, key, now), burst as usize);
            // `burst_of` has taken the first one that waits.
            for nth in 2..50_u64 {
                let exact = (per.as_nanos() * u128::from(nth)).div_ceil(u128::from(tokens));
                let exact = Duration::from_nanos(u64::try_from(exact).unwrap());
                prop_assert_eq!(limiter.take(key, now), Take::After(exact));
            }
        }
    }

    #[test]
    fn keys_neither_influence_one_another_nor_exceed_the_memory(
        limit in limits(), keys_max in 1_usize..6,
        takes in prop::collection::vec(
            (prop_oneof![2 => 0_u64..40, 1 => 0_u64..900], 0_usize..9), 1..150,
        ),
    ) {
        let limiter = Limiter::new(limit.clone().keys_max(keys_max));
        let alone = [(); 9].map(|()| Limiter::new(limit.clone()));
        let mut now = Instant::now();
        for limiter in &alone {
            // The same origin of time for all.
            limiter.set(limit.clone(), now);
        }
        for (ms, key) in takes {
            now += millis(ms);
            let name = key.to_string();
            let has_bucket = limiter.0.lock().by_key.contains_key(&*name);
            let taken = limiter.take(&name, now);
            let no_room = matches!(taken, Take::NoRoom { .. });
            prop_assert!(limiter.keys() <= keys_max);
            if no_room {
                prop_assert!(!has_bucket, "{} has its bucket already", name);
                prop_assert_eq!(limiter.keys(), keys_max, "refused though there was room");
            } else {
                prop_assert_eq!(taken, alone[key].take("", now));
            }
        }
    }

    #[test]
    fn a_new_limit_never_hands_out_more_than_its_burst(
        old in limits(), new in limits(), before in 0_usize..40, ms in 0_u64..3_000,
    ) {
        let (limiter, start) = (Limiter::new(old.clone()), Instant::now());
        let takes: Vec<_> = (0..before).map(|_| limiter.take("", start)).collect();
        let had = burst_of(&Limiter::new(old), "", start).saturating_sub(before);
        limiter.set(new.clone(), start);
        let burst = new.burst.unwrap_or(new.tokens) as usize;
        prop_assert_eq!(
            (0..1_000).take_while(|_| limiter.take("", start) == Take::Now).count(),
            if before == 0 { burst } else { had.min(burst) }
        );
        let last = takes.iter().filter_map(|take| match take {
            Take::After(wait) => Some(*wait),
            _ => None,
        }).max().unwrap_or_default();
        let now = start + millis(ms);
        if let Take::After(wait) = limiter.take("", now) {
            prop_assert!(now + wait > start + last, "overtakes one that waits");
        }
        prop_assert!(burst_of(&limiter, "", now) <= burst);
    }

    #[test]
    fn a_refusal_says_exactly_when_it_ends(limit in limits()) {
        let (limiter, now) = (Limiter::new(limit), Instant::now());
        let mut takes = (0..1_000).map(|_| limiter.take("", now));
        let refused = takes.find_map(|take| match take {
            Take::Refused { retry_after } => Some(retry_after),
            _ => None,
        });
        if let Some(after) = refused {
            let early = limiter.take("", now + after.saturating_sub(Duration::from_nanos(1)));
            prop_assert!(matches!(early, Take::Refused { .. }), "{:?}", early);
            let late = limiter.take("", now + after);
            prop_assert!(!matches!(late, Take::Refused { .. }), "{:?}", late);
        }
    }
}
