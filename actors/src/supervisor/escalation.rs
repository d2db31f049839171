//! What a handler beyond its limits means for its domain.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{millis, secs};
use crate::layer::retry::doubled;
use crate::supervisor::history::Window;

/// What follows when a handler of a domain fails more often than its
/// [`restarts_max`](crate::Policy::restarts_max) allows.
///
/// | | the handler | its siblings | [`Health::down`](crate::Health::down) |
/// |---|---|---|---|
/// | `Isolate` | down | go on | names the handler |
/// | `RestartDomain`, up to `max` times | rebuilt, its restarts forgotten | the same | empty |
/// | `RestartDomain`, once more | down | down | names them all |
///
/// Down: what waits and what comes becomes dead letters. A handler with
/// [`Restart::Never`](crate::Restart::Never) has no limits to go beyond: it goes down alone, and a
/// restart of its domain leaves it as it is. So does it leave a handler that ended or is down
/// already. A restart of the domain stops and builds its handlers as
/// [`Strategy::OneForAll`](crate::Strategy::OneForAll) does, after a pause of 100 ms that doubles
/// with each restart in the window, to at most 10 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Escalation {
    /// The handler is down alone.
    #[default]
    Isolate,
    /// All handlers of the domain are rebuilt, as if nothing had failed before.
    #[non_exhaustive]
    RestartDomain {
        /// How many times within the window; one more takes the whole domain down. With 0 the
        /// domain goes down at once.
        max: u32,
        /// The window, more than zero.
        within: Duration,
    },
}

impl Escalation {
    /// Rebuilds the domain at most `max` times `within` a window; once more takes it down.
    pub const fn restart_domain(max: u32, within: Duration) -> Self {
        Self::RestartDomain { max, within }
    }

    /// What is wrong with the values, if anything.
    pub(crate) fn fault(self) -> Option<&'static str> {
        match self {
            Self::RestartDomain { within: Duration::ZERO, .. } => {
                Some("restart_domain within 0: its limit would never be reached")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Escalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolate => f.write_str("isolate"),
            Self::RestartDomain { max, within } => write!(f, "restart_domain({max}, {within:?})"),
        }
    }
}

/// The pause before the first restart of a domain, and the longest.
const DELAY: (Duration, Duration) = (millis(100), secs(10));

/// What a domain does about a handler beyond its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    HandlerDown,
    RestartDomain(Duration),
    DomainDown,
}

/// The restarts of one domain.
#[derive(Default)]
pub(crate) struct Ladder(Window);

impl Ladder {
    pub(crate) fn decide(&mut self, escalation: Escalation, now: Instant) -> Step {
        match escalation {
            Escalation::Isolate => Step::HandlerDown,
            Escalation::RestartDomain { max, within } => {
                let in_window = self.0.admit(now, max, within);
                in_window.map_or(Step::DomainDown, |count| {
                    Step::RestartDomain(doubled(DELAY.0, count, DELAY.1))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_truth_table_of_escalation() {
        let now = Instant::now();
        assert_eq!(Ladder::default().decide(Escalation::Isolate, now), Step::HandlerDown);
        let mut ladder = Ladder::default();
        let mut decide = |max| ladder.decide(Escalation::restart_domain(max, secs(60)), now);
        assert_eq!(decide(0), Step::DomainDown, "0 is at once");
        assert_eq!(decide(2), Step::RestartDomain(millis(100)));
        assert_eq!(decide(2), Step::RestartDomain(millis(200)));
        assert_eq!(decide(2), Step::DomainDown);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]

        #[test]
        fn a_domain_restarts_no_more_often_than_its_limit_and_pauses_no_longer(
            gaps in vec(0_u64..2_000, 1..80),
            max in 0_u32..12,
            within in 1_u64..9_000,
        ) {
            let (mut ladder, start) = (Ladder::default(), Instant::now());
            let escalation = Escalation::restart_domain(max, millis(within));
            let (mut at, mut restarts) = (0, Vec::<u64>::new());
            for gap in gaps {
                at += gap;
                let recent = restarts.iter().filter(|then| at - **then < within).count();
                match ladder.decide(escalation, start + millis(at)) {
                    Step::RestartDomain(pause) => {
                        prop_assert!(pause >= DELAY.0 && pause <= DELAY.1);
                        prop_assert!(recent < max as usize);
                        restarts.push(at);
                    }
                    step => {
                        prop_assert_eq!(step, Step::DomainDown);
                        prop_assert!(recent >= max as usize);
                    }
                }
            }
        }
    }
}
