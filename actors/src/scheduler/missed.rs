//! The choice of what happens to ticks whose time went by.

/// What happens to ticks whose time went by while the process could not publish them: it was
/// suspended or busy, the clock was set forward, or the tick before them waited for room in a queue.
///
/// It concerns schedules that repeat. A tick counts as gone by when it is late by more than a tenth
/// of the time to the one after it, though never for less than 1 s and always for more than 60 s.
/// Say the ticks of 10:00, 11:00 and 12:00 are found due at 12:20; and what if it were 12:00:02:
///
/// | | at 12:20, published at once | `missed` grows by | at 12:00:02, published at once | `missed` grows by |
/// |---|---|---|---|---|
/// | `Skip` | none | 3 | the one of 12:00 | 2 |
/// | `RunOnce` | one for all | 2 | the one of 12:00, for all | 2 |
/// | `RunAll` | each, in turn | 0 | each, in turn | 0 |
///
/// So each tick that was due is published, missed, or (`skipped`) left out because the chain of an
/// earlier one still runs. What `after` and `at` plan is never missed: late is better than never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// They are counted and not made up for: for work whose next turn covers them, such as a poll.
    #[default]
    Skip,
    /// One tick makes up for all of them: for work that must not wait for its next turn, such as a
    /// daily report.
    RunOnce,
    /// Each of them is made up for, at most [`RUN_ALL_MAX`](Self::RUN_ALL_MAX): for work that counts
    /// its turns. Unless they may overlap, each waits until the chain of the one before has ended,
    /// and a tick that becomes due while one of them runs is left out as ever.
    RunAll,
}

impl Missed {
    /// How many ticks of one schedule may wait to be made up for; those beyond it are missed.
    pub const RUN_ALL_MAX: u64 = 1000;
}
