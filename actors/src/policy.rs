//! How deliveries to one handler behave, and what happens when it fails.

use std::time::Duration;

use crate::clock::{millis, secs};

/// The policy of one handler. `None` means: what the runtime or the form of the handler gives.
///
/// ```
/// use callboard_actors::{Overflow, Policy, secs};
/// let policy = Policy::default().queue_max(64).overflow(Overflow::Reject).timeout(secs(2));
/// assert_eq!(policy.queue_max, Some(64));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// How many events may wait. Default: the runtime's, 1 024.
    pub queue_max: Option<usize>,
    /// What happens to an event for which there is no room.
    pub overflow: Overflow,
    /// How many deliveries are in work at once. Default: 1 for an actor, which has `&mut self`, so
    /// that its events stay in order; 64 for an [`EventHandler`](crate::EventHandler).
    pub concurrency: Option<usize>,
    /// How long one attempt may take; then its future is dropped. Default: the runtime's, 30 s.
    pub timeout: Option<Duration>,
    /// How many times a delivery is tried before it has failed. Default 1.
    pub attempts_max: u32,
    /// The longest pause before the second attempt; it doubles for each further one, and the real
    /// pause is drawn between zero and that ("full jitter"). Default 100 ms.
    pub retry_delay: Duration,
    /// The limit of the doubled pause. Default 10 s.
    pub retry_delay_max: Duration,
    /// The place in the line of handlers of one event: the highest gets the event, the next one
    /// only when it declines. Without a priority a handler always gets its own copy.
    pub priority: Option<i32>,
    /// Whether the actor is rebuilt after it ended.
    pub restart: Restart,
    /// How many restarts within [`restarts_within`](Self::restarts_within) are tolerated; one more
    /// marks the handler down. Default 30.
    pub restarts_max: u32,
    /// The window for [`restarts_max`](Self::restarts_max). Default 60 s.
    pub restarts_within: Duration,
    /// The pause before the first restart; it doubles with each restart that no success came
    /// after. Default 10 ms.
    pub restart_delay: Duration,
    /// The limit of the doubled pause. Default 1 s.
    pub restart_delay_max: Duration,
    /// Give the handler this many threads of its own, because it computes or blocks. Default: none,
    /// it runs on the runtime's thread.
    pub blocking: Option<usize>,
}

/// What happens to an event when the handler's queue is full.
///
/// | policy | the publisher | the event | the queue |
/// |---|---|---|---|
/// | `Wait` | waits for room | accepted later | unchanged |
/// | `Reject` | gets [`PublishError::Full`](crate::PublishError::Full) | reaches no handler at all | unchanged |
/// | `DropOldest` | goes on | accepted | its oldest event is dropped and counted |
/// | `DropNewest` | goes on | dropped and counted | unchanged |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The publisher waits. Back-pressure is the safe default.
    #[default]
    Wait,
    /// The publisher gets an error.
    Reject,
    /// The oldest waiting event makes room.
    DropOldest,
    /// The new event is dropped.
    DropNewest,
}

/// Whether a handler's actor is rebuilt by its factory after it ended.
///
/// | policy | panic | `ctx.stop()` |
/// |---|---|---|
/// | `Always` | rebuilt | rebuilt |
/// | `OnFailure` | rebuilt | ended |
/// | `Never` | down | ended |
///
/// Rebuilt: the queue is kept and goes on. Down, or more often rebuilt than `restarts_max`: what
/// waits and what comes becomes dead letters, and health says so. Ended: the same, but by intent,
/// so health stays up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restart {
    /// After a panic and after a stop.
    #[default]
    Always,
    /// After a panic only.
    OnFailure,
    /// Not at all.
    Never,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            queue_max: None,
            overflow: Overflow::default(),
            concurrency: None,
            timeout: None,
            attempts_max: 1,
            retry_delay: millis(100),
            retry_delay_max: secs(10),
            priority: None,
            restart: Restart::default(),
            restarts_max: 30,
            restarts_within: secs(60),
            restart_delay: millis(10),
            restart_delay_max: secs(1),
            blocking: None,
        }
    }
}

impl Policy {
    /// Sets [`queue_max`](Self::queue_max), in events.
    pub fn queue_max(mut self, events: usize) -> Self {
        self.queue_max = Some(events);
        self
    }

    /// Sets [`overflow`](Self::overflow).
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Sets [`concurrency`](Self::concurrency).
    pub fn concurrency(mut self, deliveries: usize) -> Self {
        self.concurrency = Some(deliveries);
        self
    }

    /// Sets [`timeout`](Self::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets [`attempts_max`](Self::attempts_max).
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts;
        self
    }

    /// Sets [`retry_delay`](Self::retry_delay) and [`retry_delay_max`](Self::retry_delay_max).
    pub fn retry_delay(mut self, first: Duration, max: Duration) -> Self {
        self.retry_delay = first;
        self.retry_delay_max = max;
        self
    }

    /// Sets [`priority`](Self::priority).
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets [`restart`](Self::restart).
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets [`restarts_max`](Self::restarts_max).
    pub fn restarts_max(mut self, restarts: u32) -> Self {
        self.restarts_max = restarts;
        self
    }

    /// Sets [`restarts_within`](Self::restarts_within).
    pub fn restarts_within(mut self, window: Duration) -> Self {
        self.restarts_within = window;
        self
    }

    /// Sets [`restart_delay`](Self::restart_delay) and
    /// [`restart_delay_max`](Self::restart_delay_max).
    pub fn restart_delay(mut self, first: Duration, max: Duration) -> Self {
        self.restart_delay = first;
        self.restart_delay_max = max;
        self
    }

    /// Sets [`blocking`](Self::blocking).
    pub fn blocking(mut self, threads: usize) -> Self {
        self.blocking = Some(threads);
        self
    }

    /// What is wrong with the values, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.queue_max == Some(0) {
            Some("queue_max is 0: a queue needs room for one event")
        } else if self.concurrency == Some(0) {
            Some("concurrency is 0: nothing would ever be handled")
        } else if self.attempts_max == 0 {
            Some("attempts_max is 0: nothing would ever be tried")
        } else if self.timeout == Some(Duration::ZERO) {
            Some("timeout is 0: every delivery would fail")
        } else if self.blocking.is_some_and(|threads| threads == 0 || threads > THREADS_MAX) {
            Some("blocking needs 1 to 256 threads")
        } else {
            None
        }
    }
}

/// The most threads that one blocking handler may have.
const THREADS_MAX: usize = 256;

/// `first`, doubled for each of the `failures` after the first, at most `max`.
pub(crate) fn doubled(first: Duration, failures: u32, max: Duration) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.checked_mul(factor).map_or(max, |delay| delay.min(max))
}
