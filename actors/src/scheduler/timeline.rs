//! The two kinds of time that plans follow: the time that passes, and the clock on the wall.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};

use crate::clock::{Clock, secs};
use crate::scheduler::plan::Moment;

/// What a plan's moments are counted from, and on which clock.
#[derive(Clone, Copy)]
pub(crate) enum Timeline {
    /// From the making of a schedule, in time that passes: setting a clock does not concern it.
    Passing(Instant),
    /// From the Unix epoch, on the wall clock.
    Wall,
}

/// How long to sleep before the wall clock is looked at again: no timer notices that it was set.
const LOOK_AGAIN: Duration = secs(60);

impl Timeline {
    pub(crate) fn now(&self, clock: &Clock) -> Moment {
        match self {
            Self::Passing(since) => since.elapsed(),
            Self::Wall => since_epoch(clock.now()),
        }
    }

    /// Sleeps until `moment`, or less when it follows the wall clock.
    pub(crate) async fn sleep_towards(&self, clock: &Clock, moment: Moment) {
        let left = moment.saturating_sub(self.now(clock));
        match self {
            Self::Passing(_) => sleep(left).await,
            Self::Wall => sleep(left.min(LOOK_AGAIN)).await,
        }
    }

    /// The wall-clock time of `moment`, as the clock is set now; none where no clock can show it.
    pub(crate) fn wall_time(&self, clock: &Clock, moment: Moment) -> Option<SystemTime> {
        match self {
            Self::Passing(since) => since.checked_add(moment).map(|instant| clock.at(instant)),
            Self::Wall => UNIX_EPOCH.checked_add(moment),
        }
    }
}

/// Times before the epoch are its beginning: both lie in the past.
pub(crate) fn since_epoch(time: SystemTime) -> Moment {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
