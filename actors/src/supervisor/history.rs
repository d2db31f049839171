//! What a handler has behind it, and whether that allows another restart.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::layer::retry::doubled;
use crate::metrics::HandlerStatus;
use crate::policy::{Restart, RestartRules};

/// How an actor's life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It stopped its own context.
    Stopped,
    /// It, or a delivery to it, panicked.
    Panicked(String),
    /// Its supervisor rebuilds it with its siblings.
    Recalled,
    /// It was told to stop.
    Retired,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    RestartAfter(Duration),
    GiveUp(HandlerStatus),
}

/// The restarts that lie within the time that a limit looks back.
#[derive(Default)]
pub(crate) struct Window(VecDeque<Instant>);

impl Window {
    /// Counts a restart, unless `max` of them lie within the time before it; says how many do now.
    pub(crate) fn admit(&mut self, now: Instant, max: u32, within: Duration) -> Option<u32> {
        while let Some(first) = self.0.front()
            && now.duration_since(*first) >= within
        {
            self.0.pop_front();
        }
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if count >= max {
            return None;
        }
        self.0.push_back(now);
        Some(count + 1)
    }
}

/// When a handler was restarted, and how many times in a row nothing succeeded in between.
#[derive(Default)]
pub(crate) struct History {
    restarts: Window,
    in_row: u32,
    successes: u64,
}

impl History {
    pub(crate) fn decide(
        &mut self,
        rules: &RestartRules,
        end: &End,
        successes: u64,
        now: Instant,
    ) -> Verdict {
        match (end, rules.restart) {
            (End::Retired, _) => return Verdict::GiveUp(HandlerStatus::Ended),
            // A recall is its supervisor's doing, and no mark against the handler.
            (End::Recalled, _) => return Verdict::RestartAfter(Duration::ZERO),
            (End::Stopped, Restart::OnFailure | Restart::Never) => {
                return Verdict::GiveUp(HandlerStatus::Ended);
            }
            (End::Panicked(_), Restart::Never) => return Verdict::GiveUp(HandlerStatus::Down),
            (End::Stopped, Restart::Always)
            | (End::Panicked(_), Restart::Always | Restart::OnFailure) => {}
        }
        if self.restarts.admit(now, rules.max, rules.within).is_none() {
            return Verdict::GiveUp(HandlerStatus::Down);
        }
        self.in_row = if successes > self.successes { 1 } else { self.in_row + 1 };
        self.successes = successes;
        Verdict::RestartAfter(doubled(rules.delay, self.in_row, rules.delay_max))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{millis, secs};
    use crate::policy::Policy;

    fn rules(policy: Policy) -> RestartRules {
        policy.or(&Policy::built_in()).rules().restart
    }

    fn panicked() -> End {
        End::Panicked("boom".into())
    }

    #[actix::test]
    async fn the_pause_doubles_until_something_succeeds() {
        let rules = rules(Policy::default().restart_delay(millis(10), millis(50)));
        let (mut history, now) = (History::default(), Instant::now());
        let mut pause = |successes| history.decide(&rules, &panicked(), successes, now);
        for expected in [10, 20, 40, 50, 50] {
            assert_eq!(pause(0), Verdict::RestartAfter(millis(expected)));
        }
        assert_eq!(pause(1), Verdict::RestartAfter(millis(10)));
    }

    #[actix::test]
    async fn the_limit_counts_within_its_window_only() {
        let rules = rules(Policy::default().restarts_max(2).restarts_within(secs(10)));
        let (mut history, start) = (History::default(), Instant::now());
        let mut at = |s| history.decide(&rules, &panicked(), 0, start + secs(s));
        assert!(matches!(at(0), Verdict::RestartAfter(_)));
        assert!(matches!(at(1), Verdict::RestartAfter(_)));
        assert!(matches!(at(11), Verdict::RestartAfter(_)), "both are out of the window");
        assert!(matches!(at(12), Verdict::RestartAfter(_)));
        assert_eq!(at(13), Verdict::GiveUp(HandlerStatus::Down));
    }

    #[actix::test]
    async fn the_truth_table_of_restart() {
        use HandlerStatus::{Down, Ended};
        let decide = |restart, end: End| {
            let rules = rules(Policy::default().restart(restart));
            History::default().decide(&rules, &end, 0, Instant::now())
        };
        assert!(matches!(decide(Restart::Always, panicked()), Verdict::RestartAfter(_)));
        assert!(matches!(decide(Restart::Always, End::Stopped), Verdict::RestartAfter(_)));
        assert!(matches!(decide(Restart::OnFailure, panicked()), Verdict::RestartAfter(_)));
        assert_eq!(decide(Restart::OnFailure, End::Stopped), Verdict::GiveUp(Ended));
        assert_eq!(decide(Restart::Never, panicked()), Verdict::GiveUp(Down));
        assert_eq!(decide(Restart::Never, End::Stopped), Verdict::GiveUp(Ended));
        for restart in [Restart::Always, Restart::OnFailure, Restart::Never] {
            let recalled = decide(restart, End::Recalled);
            assert_eq!(recalled, Verdict::RestartAfter(Duration::ZERO));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]

        #[test]
        fn no_window_holds_more_restarts_than_its_limit_and_no_pause_is_longer_than_its_own(
            gaps in vec((0_u64..2_000, 0_u64..2), 1..80),
            max in 0_u32..6,
            within in 1_u64..5_000,
            first in 0_u64..500,
            longest in 0_u64..2_000,
        ) {
            let rules = RestartRules {
                restart: Restart::Always,
                max,
                within: millis(within),
                delay: millis(first),
                delay_max: millis(longest),
            };
            let (mut history, start) = (History::default(), Instant::now());
            let (mut at, mut successes) = (0, 0);
            let mut restarts: Vec<u64> = Vec::new();
            for (gap, succeeded) in gaps {
                at += gap;
                successes += succeeded;
                let recent = restarts.iter().filter(|then| at - **then < within).count();
                match history.decide(&rules, &panicked(), successes, start + millis(at)) {
                    Verdict::RestartAfter(pause) => {
                        prop_assert!(pause <= millis(longest));
                        prop_assert!(recent < max as usize, "{recent} of {max} were used up");
                        restarts.push(at);
                    }
                    Verdict::GiveUp(status) => {
                        prop_assert_eq!(status, HandlerStatus::Down);
                        prop_assert!(recent >= max as usize, "only {recent} of {max} were used");
                    }
                }
            }
        }
    }
}
