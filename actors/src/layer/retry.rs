//! Whether a failed delivery is tried again, and after which pause: the failure and the attempts so
//! far enter, the pause or a stop leaves.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{ErrorKind, HandlerError};

/// How the pause before another attempt is drawn.
///
/// The pause doubles with each failure up to a cap; that value is the whole in this table. Handlers
/// that failed together must not come back together, or they overload what just failed.
///
/// | jitter | the shortest pause | the longest pause | for |
/// |---|---|---|---|
/// | `Full` | 0 | the whole | most handlers: it spreads the attempts best |
/// | `Equal` | half of the whole | the whole | what needs some rest before each attempt |
/// | `None` | the whole | the whole | a single client, and tests |
///
/// No pause is ever longer than the cap. Source: Marc Brooker, "Exponential Backoff And Jitter",
/// AWS Architecture Blog, 2015.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Anything up to the whole.
    #[default]
    Full,
    /// At least half of the whole.
    Equal,
    /// Exactly the whole.
    None,
}

impl Jitter {
    /// The pause for a `random` number between 0 and 1.
    fn pause(self, whole: Duration, random: f64) -> Duration {
        let half = whole / 2;
        match self {
            Self::Full => share(whole, random),
            Self::Equal => half + share(whole.saturating_sub(half), random),
            Self::None => whole,
        }
    }
}

/// The failures to which a limit of attempts applies.
///
/// | failure | the handler's error |
/// |---|---|
/// | `Error` | a `retry`, which any library's error becomes |
/// | `Timeout` | the handler took too long |
/// | `Panic` | it panicked, or its actor stopped before it answered |
/// | `Code` | any of these three with this code |
///
/// A limit for a code goes before one for a kind, which goes before `attempts_max`; of two for the
/// same failure the later one holds. What is rejected is never tried again, whatever its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The handler returned an error that may pass.
    Error,
    /// The handler took longer than it may.
    Timeout,
    /// The handler panicked.
    Panic,
    /// The error has this code.
    Code(&'static str),
}

impl Failure {
    fn is_kind_of(self, error: &HandlerError) -> bool {
        matches!(
            (self, error.kind()),
            (Self::Error, ErrorKind::Retry)
                | (Self::Timeout, ErrorKind::Timeout)
                | (Self::Panic, ErrorKind::Panic)
        )
    }

    fn is_code_of(self, error: &HandlerError) -> bool {
        matches!(self, Self::Code(code) if code == error.error_code())
    }
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt after this pause.
    Again(Duration),
    /// The delivery has failed.
    Stop,
}

/// When a handler's deliveries are tried again.
#[derive(Clone, Debug)]
pub(crate) struct RetryRules {
    /// How many attempts there are when no rule applies.
    pub(crate) attempts_max: u32,
    /// How many attempts there are after certain failures.
    pub(crate) rules: Vec<(Failure, u32)>,
    /// The whole pause before the second attempt.
    pub(crate) delay: Duration,
    /// The cap of the doubled pause.
    pub(crate) delay_max: Duration,
    pub(crate) jitter: Jitter,
    /// No attempt begins later than this after the start of the first one.
    pub(crate) within: Option<Duration>,
}

impl RetryRules {
    /// Decides after the `attempts`th attempt failed; `random` is between 0 and 1.
    pub(crate) fn decide(
        &self,
        failure: &HandlerError,
        attempts: u32,
        started: Instant,
        now: Instant,
        random: f64,
    ) -> Next {
        if !failure.is_transient() || attempts >= self.allowed(failure) {
            return Next::Stop;
        }
        let pause = self.jitter.pause(doubled(self.delay, attempts, self.delay_max), random);
        let again = now.saturating_duration_since(started).saturating_add(pause);
        if self.within.is_some_and(|within| again > within) {
            return Next::Stop;
        }
        Next::Again(pause)
    }

    /// How many attempts a delivery has that failed like this.
    fn allowed(&self, error: &HandlerError) -> u32 {
        let latest = |applies: fn(Failure, &HandlerError) -> bool| {
            self.rules.iter().rev().find(|(failure, _)| applies(*failure, error))
        };
        latest(Failure::is_code_of)
            .or_else(|| latest(Failure::is_kind_of))
            .map_or(self.attempts_max, |(_, attempts)| *attempts)
    }
}

/// `first`, doubled for each of the `failures` after the first, at most `max`.
pub(crate) fn doubled(first: Duration, failures: u32, max: Duration) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.checked_mul(factor).map_or(max, |delay| delay.min(max))
}

/// A part of `whole`, never more than it: `mul_f64` panics where rounding leaves the range.
fn share(whole: Duration, part: f64) -> Duration {
    Duration::try_from_secs_f64(whole.as_secs_f64() * part).map_or(whole, |share| share.min(whole))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{millis, secs};

    fn rules() -> RetryRules {
        RetryRules {
            attempts_max: 5,
            rules: Vec::new(),
            delay: millis(100),
            delay_max: secs(1),
            jitter: Jitter::None,
            within: None,
        }
    }

    fn again(rules: &RetryRules, error: &HandlerError, attempts: u32) -> bool {
        let now = Instant::now();
        rules.decide(error, attempts, now, now, 0.5) != Next::Stop
    }

    #[test]
    fn the_truth_table_of_jitter() {
        let (whole, half) = (secs(8), secs(4));
        let ends = |jitter: Jitter| [0.0, 1.0].map(|random| jitter.pause(whole, random));
        assert_eq!(ends(Jitter::Full), [Duration::ZERO, whole]);
        assert_eq!(ends(Jitter::Equal), [half, whole]);
        assert_eq!(ends(Jitter::None), [whole, whole]);
        assert_eq!(Jitter::default(), Jitter::Full);
    }

    #[test]
    fn a_rule_for_a_code_goes_before_one_for_a_kind_and_that_before_the_general_limit() {
        let rules = RetryRules {
            rules: vec![(Failure::Error, 2), (Failure::Code("busy"), 4), (Failure::Panic, 1)],
            ..rules()
        };
        let allowed =
            |error: HandlerError| (1..9).take_while(|n| again(&rules, &error, *n)).count();
        assert_eq!(allowed(HandlerError::retry("x").code("busy")), 3);
        assert_eq!(allowed(HandlerError::retry("x")), 1);
        assert_eq!(allowed(HandlerError::panic("x")), 0);
        assert_eq!(allowed(HandlerError::panic("x").code("busy")), 3);
        assert_eq!(allowed(HandlerError::timeout(secs(1))), 4, "no rule: attempts_max");
    }

    #[test]
    fn the_later_of_two_rules_for_the_same_failure_holds() {
        let limits = vec![(Failure::Timeout, 9), (Failure::Timeout, 1)];
        assert!(!again(
            &RetryRules { rules: limits, ..rules() },
            &HandlerError::timeout(secs(1)),
            1
        ));
    }

    #[test]
    fn what_is_not_transient_is_never_tried_again() {
        let rules = RetryRules { rules: vec![(Failure::Code("busy"), 9)], ..rules() };
        for error in [
            HandlerError::conflict("x").code("busy"),
            HandlerError::decline().code("busy"),
            HandlerError::snooze(secs(1)).code("busy"),
        ] {
            assert!(!again(&rules, &error, 1), "{error}");
        }
    }

    #[test]
    fn no_attempt_begins_after_the_time_is_over() {
        let rules = RetryRules { within: Some(secs(3)), ..rules() };
        let (error, started) = (HandlerError::retry("x"), Instant::now());
        let at = |ms| rules.decide(&error, 1, started, started + millis(ms), 0.0);
        assert_eq!(at(2_900), Next::Again(millis(100)), "exactly at the end");
        assert_eq!(at(2_901), Next::Stop);
    }

    #[test]
    fn the_pause_doubles_up_to_its_cap() {
        let (rules, error, now) = (rules(), HandlerError::retry("x"), Instant::now());
        let pause = |attempts| rules.decide(&error, attempts, now, now, 0.0);
        let expected = [100, 200, 400, 800].map(|ms| Next::Again(millis(ms)));
        assert_eq!([1, 2, 3, 4].map(pause), expected);
        assert_eq!(doubled(millis(100), 5, secs(1)), secs(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, cases: 256, ..ProptestConfig::default()
        })]

        #[test]
        fn a_pause_stays_between_its_bounds_for_any_values(
            delay in any::<Duration>(), delay_max in any::<Duration>(),
            attempts in 1_u32.., random in 0.0..=1.0_f64, kind in 0_usize..3,
        ) {
            let jitter = [Jitter::Full, Jitter::Equal, Jitter::None][kind];
            let rules =
                RetryRules { attempts_max: u32::MAX, delay, delay_max, jitter, ..rules() };
            let now = Instant::now();
            let next = rules.decide(&HandlerError::retry("x"), attempts, now, now, random);
            let whole = doubled(delay, attempts, delay_max);
            prop_assert!(whole <= delay_max);
            match next {
                Next::Stop => prop_assert_eq!(attempts, u32::MAX),
                Next::Again(pause) => {
                    let least = match jitter {
                        Jitter::Full => Duration::ZERO,
                        Jitter::Equal => whole / 2,
                        Jitter::None => whole,
                    };
                    prop_assert!(least <= pause && pause <= whole, "{:?}", pause);
                }
            }
        }

        #[test]
        fn a_delivery_ends_within_its_attempts_and_its_time(
            attempts_max in 1_u32..20, within in 0_u64..5_000, random in 0.0..=1.0_f64,
        ) {
            let within = millis(within);
            let rules = RetryRules {
                attempts_max, within: Some(within), jitter: Jitter::Full, ..rules()
            };
            let (error, started) = (HandlerError::retry("x"), Instant::now());
            let (mut now, mut attempts) = (started, 1);
            while let Next::Again(pause) = rules.decide(&error, attempts, started, now, random) {
                now += pause;
                attempts += 1;
                prop_assert!(attempts <= attempts_max);
                prop_assert!(now - started <= within);
            }
        }
    }
}
