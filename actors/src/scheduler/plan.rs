//! When a schedule is due: plans, and what is due by them. Nothing here reads a clock.

use std::time::Duration;

use crate::clock::secs;
use crate::scheduler::cron::Cron;

/// A point of a plan's time: since the schedule was made for intervals and delays, since the Unix
/// epoch for what follows the wall clock.
pub(crate) type Moment = Duration;

/// When ticks are due.
pub(crate) enum Plan {
    /// At each multiple of an interval, which is not zero.
    Every(Duration),
    /// At one moment.
    Once(Moment),
    /// At the times that an expression names.
    Cron(Box<Cron>),
}

/// The ticks that have become due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// How many there are.
    pub(crate) count: u64,
    /// Whether the latest of them is not too late.
    pub(crate) is_on_time: bool,
    /// The first that is still to come.
    pub(crate) next: Option<Moment>,
}

/// How late a tick may be at most.
const LATE_MAX: Duration = secs(60);
/// How late a tick may be however short its interval is.
const LATE_MIN: Duration = secs(1);
/// How many ticks of a cron expression are looked for one by one; of more, the rest is not counted.
const DUE_COUNTED_MAX: u64 = 10_000;

impl Plan {
    /// The first tick of a plan that begins at `moment`. What lies in the past is due at once.
    pub(crate) fn first(&self, moment: Moment) -> Option<Moment> {
        match self {
            Self::Once(at) => Some(*at),
            Self::Every(_) | Self::Cron(_) => self.after(moment),
        }
    }

    /// The first tick after `moment`.
    pub(crate) fn after(&self, moment: Moment) -> Option<Moment> {
        match self {
            Self::Every(interval) => multiple(*interval, quotient(moment, *interval) + 1),
            Self::Once(at) => (*at > moment).then_some(*at),
            Self::Cron(cron) => cron.after(moment),
        }
    }

    /// What is due at `now` when `next` is the earliest tick that was not dealt with.
    pub(crate) fn due(&self, next: Moment, now: Moment) -> Due {
        if now < next {
            return Due { count: 0, is_on_time: false, next: Some(next) };
        }
        if let Self::Once(_) = self {
            return Due { count: 1, is_on_time: true, next: None };
        }
        let (count, latest) = self.count(next, now);
        let next = self.after(now);
        let gap = next.map_or(Duration::MAX, |next| next.saturating_sub(latest));
        let is_on_time = now.saturating_sub(latest) <= (gap / 10).clamp(LATE_MIN, LATE_MAX);
        Due { count, is_on_time, next }
    }

    /// How many ticks there are from `next` to `now`, both included, and the latest of them.
    fn count(&self, next: Moment, now: Moment) -> (u64, Moment) {
        if let Self::Every(interval) = self {
            let (first, last) = (quotient(next, *interval), quotient(now, *interval));
            let count = u64::try_from(last - first + 1).unwrap_or(u64::MAX);
            return (count, multiple(*interval, last).unwrap_or(now));
        }
        let (mut count, mut latest) = (1, next);
        while count < DUE_COUNTED_MAX
            && let Some(later) = self.after(latest).filter(|later| *later <= now)
        {
            (count, latest) = (count + 1, later);
        }
        (count, latest)
    }
}

fn quotient(moment: Moment, interval: Duration) -> u128 {
    moment.as_nanos() / interval.as_nanos().max(1)
}

fn multiple(interval: Duration, times: u128) -> Option<Moment> {
    const NANOS: u128 = 1_000_000_000;
    let nanos = interval.as_nanos().checked_mul(times)?;
    let seconds = u64::try_from(nanos / NANOS).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % NANOS).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // A table.
    fn a_tick_is_late_after_a_tenth_of_its_interval_within_limits() {
        let check = |interval, lateness, expected| {
            let now = secs(interval) + Duration::from_millis(lateness);
            let due = Plan::Every(secs(interval)).due(secs(interval), now);
            let next = Some(secs(2 * interval));
            assert_eq!(due, Due { count: 1, is_on_time: expected, next }, "{interval} s, {lateness} ms");
        };
        check(5, 1_000, true);
        check(5, 1_001, false);
        check(300, 30_000, true);
        check(300, 30_001, false);
        check(86_400, 60_000, true);
        check(86_400, 60_001, false);
    }
}
