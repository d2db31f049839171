//! The state of one plan: moments of looking enter, what to do about the ticks that are due leaves.

use std::time::Duration;

use crate::clock::secs;
use crate::scheduler::missed::Missed;
use crate::scheduler::plan::{Moment, Plan};

/// A plan, and how far it has been carried out.
pub(crate) struct Ticker {
    plan: Plan,
    missed: Missed,
    /// The earliest tick that was not dealt with.
    next: Option<Moment>,
    /// When it was looked at the last time.
    seen: Moment,
    /// Ticks that wait to be made up for.
    owed: u64,
}

/// What to do at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether to publish.
    pub(crate) is_due: bool,
    /// How many ticks are given up.
    pub(crate) missed: u64,
}

/// Setting the wall clock back by no more than this repeats nothing: the schedule waits until the
/// clock has caught up. After more, such as when a wrong date was put right, it begins anew.
const SET_BACK_MAX: Duration = secs(3 * 60 * 60);

impl Ticker {
    pub(crate) fn new(plan: Plan, missed: Missed, now: Moment) -> Self {
        let next = plan.first(now);
        Self { plan, missed, next, seen: now, owed: 0 }
    }

    /// When the next tick is due; none when there is no more.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.next
    }

    /// How many ticks wait to be made up for.
    pub(crate) fn owed(&self) -> u64 {
        self.owed
    }

    /// One tick less to make up for.
    pub(crate) fn made_up(&mut self) {
        self.owed = self.owed.saturating_sub(1);
    }

    /// Looks what is due. Each tick is dealt with once: due, owed or missed.
    pub(crate) fn look(&mut self, now: Moment) -> Look {
        let is_set_back = now.saturating_add(SET_BACK_MAX) < self.seen;
        self.seen = now;
        let Some(next) = self.next else { return Look::default() };
        let next = if is_set_back { self.plan.first(now).unwrap_or(next) } else { next };
        let due = self.plan.due(next, now);
        self.next = due.next;
        let late = due.count - u64::from(due.is_on_time);
        match self.missed {
            Missed::Skip => Look { is_due: due.is_on_time, missed: late },
            Missed::RunOnce => Look { is_due: due.count > 0, missed: due.count.saturating_sub(1) },
            Missed::RunAll => {
                let owed = late.min(Missed::RUN_ALL_MAX - self.owed);
                self.owed += owed;
                Look { is_due: due.is_on_time, missed: late - owed }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::millis;
    use crate::scheduler::cron::Cron;

    /// 2026-01-01T00:00:00Z.
    const YEAR_BEGINS: u64 = 1_767_225_600;

    /// What came of looking again and again.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Sum {
        published: u64,
        missed: u64,
    }

    impl Sum {
        fn add(&mut self, look: &Look) {
            self.published += u64::from(look.is_due);
            self.missed += look.missed;
        }
    }

    fn every(interval: Duration, missed: Missed) -> Ticker {
        Ticker::new(Plan::Every(interval), missed, Duration::ZERO)
    }

    fn cron(text: &str, missed: Missed, now: Moment) -> Ticker {
        Ticker::new(Plan::Cron(Box::new(Cron::parse(text, now).unwrap())), missed, now)
    }

    fn any_missed() -> impl Strategy<Value = Missed> {
        prop_oneof![Just(Missed::Skip), Just(Missed::RunOnce), Just(Missed::RunAll)]
    }

    fn any_cron() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            Just("*/5 * * * * Europe/Berlin"),
            Just("30 2 * * * Europe/Berlin"),
            Just("*/30 2 * * * America/New_York"),
            Just("0 7 * * Mon-Fri Asia/Kolkata"),
            Just("15 30 1-3 L * *"),
        ]
    }

    fn config(cases: u32) -> ProptestConfig {
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config(256))]

        #[test]
        fn each_tick_that_was_due_is_published_owed_or_missed(
            interval in 1..100_000_u64,
            steps in vec(0..1_000_000_u64, 1..50),
            missed in any_missed(),
        ) {
            let mut ticker = every(millis(interval), missed);
            let (mut now, mut sum) = (0, Sum::default());
            for step in steps {
                now += step;
                let before = ticker.next();
                sum.add(&ticker.look(millis(now)));
                prop_assert!(ticker.next() >= before);
                prop_assert_eq!(ticker.next(), Some(millis((now / interval + 1) * interval)));
                prop_assert!(ticker.owed() <= Missed::RUN_ALL_MAX);
                prop_assert!(missed == Missed::RunAll || ticker.owed() == 0);
                prop_assert_eq!(sum.published + sum.missed + ticker.owed(), now / interval);
            }
        }

        #[test]
        fn nothing_is_made_up_for_under_skip(
            interval in 1..100_000_u64,
            steps in vec(0..1_000_000_u64, 1..50),
        ) {
            let mut ticker = every(millis(interval), Missed::Skip);
            let mut now = 0;
            for step in steps {
                now += step;
                let look = ticker.look(millis(now));
                let lateness = now % interval;
                let is_late = lateness > (interval / 10).max(1000);
                prop_assert!(!look.is_due || !is_late, "published {lateness} ms late");
                prop_assert_eq!(ticker.owed(), 0);
            }
        }

        #[test]
        fn once_for_all_loses_no_look_at_which_something_was_due(
            interval in 1..100_000_u64,
            steps in vec(0..1_000_000_u64, 1..50),
        ) {
            let mut ticker = every(millis(interval), Missed::RunOnce);
            let mut now = 0;
            for step in steps {
                let due = (now + step) / interval - now / interval;
                now += step;
                let look = ticker.look(millis(now));
                prop_assert_eq!(look, Look { is_due: due > 0, missed: due.saturating_sub(1) });
            }
        }
    }

    proptest! {
        // Each case computes some hundred times of a calendar.
        #![proptest_config(config(64))]

        #[test]
        fn cron_ticks_increase_and_each_is_dealt_with_once(
            text in any_cron(),
            start in 0..364 * 24 * 60_u64,
            steps in vec(0..200_u64, 1..20),
            missed in any_missed(),
        ) {
            let start = secs(YEAR_BEGINS + start * 60);
            let mut ticker = cron(text, missed, start);
            let (mut now, mut sum) = (start, Sum::default());
            for step in steps {
                now += secs(step * 61);
                sum.add(&ticker.look(now));
            }
            let plan = Cron::parse(text, start).unwrap();
            let (mut due, mut last) = (0, start);
            while let Some(next) = plan.after(last).filter(|next| *next <= now) {
                prop_assert!(next > last);
                (due, last) = (due + 1, next);
            }
            prop_assert_eq!(sum.published + sum.missed + ticker.owed(), due);
            prop_assert_eq!(ticker.next(), plan.after(now));
        }
    }

    #[test]
    fn a_small_step_back_repeats_nothing_and_a_large_one_begins_anew() {
        let hour = |hour: u64| secs(YEAR_BEGINS + hour * 60 * 60);
        let mut ticker = cron("0 * * * *", Missed::Skip, hour(0));
        assert!(ticker.look(hour(10)).is_due);
        assert_eq!(ticker.look(hour(7)), Look::default());
        assert_eq!(ticker.next(), Some(hour(11)));
        assert_eq!(ticker.look(hour(3)), Look::default());
        assert_eq!(ticker.next(), Some(hour(4)));
    }

    #[test]
    fn what_is_planned_once_is_never_missed() {
        let mut ticker = Ticker::new(Plan::Once(secs(5)), Missed::Skip, Duration::ZERO);
        assert_eq!(ticker.look(secs(4)), Look::default());
        assert_eq!(ticker.look(secs(9_999)), Look { is_due: true, missed: 0 });
        assert_eq!(ticker.next(), None);
        assert_eq!(ticker.look(secs(99_999)), Look::default());
    }

    #[test]
    fn the_longest_times_do_not_overflow() {
        let mut ticker = every(Duration::MAX, Missed::Skip);
        assert_eq!(ticker.look(Duration::MAX), Look { is_due: true, missed: 0 });
        assert_eq!(ticker.next(), None);
        let mut ticker = every(Duration::from_nanos(1), Missed::RunAll);
        let look = ticker.look(Duration::MAX);
        assert_eq!((look.missed, ticker.owed()), (u64::MAX - 1001, 1000));
    }

    #[test]
    fn a_jump_over_very_many_times_ends() {
        let mut ticker = cron("* * * * * *", Missed::Skip, secs(YEAR_BEGINS));
        let look = ticker.look(secs(YEAR_BEGINS * 2));
        assert_eq!(look, Look { is_due: false, missed: 10_000 });
        assert_eq!(ticker.next(), Some(secs(YEAR_BEGINS * 2 + 1)));
    }
}
