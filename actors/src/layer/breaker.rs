//! Whether a failing handler gets its next delivery: moments and verdicts enter, permits or
//! refusals leave.
//!
//! Source: Michael T. Nygard, "Release It!", 2nd edition, chapter 5 ("Stability
//! Patterns").

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::clock::secs;

/// The longest ring of results, in deliveries.
const OF_LAST_MAX: u32 = 10_000;

/// When a handler that keeps failing is left alone for a while.
///
/// | state | a delivery | becomes |
/// |---|---|---|
/// | closed | is admitted, its result counts | open when the [`trip`](Self::trip) is reached |
/// | open | is refused or held | half-open after [`open_for`](Self::open_for) |
/// | half-open | is admitted as one of the [`probes`](Self::probes) | closed when all succeeded |
/// | half-open, the probes are out | is refused or held | open when one of them fails |
///
/// ```
/// use callboard_actors::{Breaker, secs};
/// // Half of the last twenty deliveries failed: leave the handler alone for 10 s.
/// let breaker = Breaker::ratio(0.5, 20).open_for(secs(10)).probes(2);
/// assert_eq!(breaker.probes, 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Breaker {
    /// How many failures open the circuit.
    pub trip: Trip,
    /// How long the circuit stays open before it is probed. More than zero. Default 30 s.
    pub open_for: Duration,
    /// How many deliveries a half-open circuit admits in all; each must succeed. At least 1, which
    /// is the default.
    pub probes: u32,
    /// What happens to a delivery that is not admitted.
    pub when_open: WhenOpen,
}

/// How many failures open a circuit.
///
/// | trip | opens after | for |
/// |---|---|---|
/// | `Consecutive` | so many failures with no success between them | what works or does not |
/// | `Ratio` | a share of failures among the last deliveries | what fails now and then |
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Trip {
    /// So many failures in a row, at least 1.
    Consecutive(u32),
    /// A share of failures among the last deliveries, once so many were seen.
    Ratio {
        /// The share that opens the circuit: above 0, at most 1.
        share: f64,
        /// Of how many deliveries: 1 to 10 000.
        of_last: u32,
    },
}

/// What happens to a delivery that an open circuit does not admit.
///
/// | policy | the delivery | the queue |
/// |---|---|---|
/// | `Refuse` | fails at once | goes on |
/// | `Hold` | waits until the circuit admits it | fills up, then its overflow policy applies |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenOpen {
    /// It fails at once.
    #[default]
    Refuse,
    /// It waits.
    Hold,
}

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CircuitState {
    /// Deliveries pass.
    Closed,
    /// No delivery passes.
    Open,
    /// A few deliveries pass, to see whether the handler works again.
    HalfOpen,
}

impl Breaker {
    fn new(trip: Trip) -> Self {
        Self { trip, open_for: secs(30), probes: 1, when_open: WhenOpen::default() }
    }

    /// Opens after so many failures in a row.
    pub fn consecutive(failures: u32) -> Self {
        Self::new(Trip::Consecutive(failures))
    }

    /// Opens when at least this `share` of the last `of_last` deliveries failed; never before so
    /// many were seen since it was closed.
    pub fn ratio(share: f64, of_last: u32) -> Self {
        Self::new(Trip::Ratio { share, of_last })
    }

    /// Sets [`open_for`](Self::open_for).
    pub fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// Sets [`probes`](Self::probes), in deliveries.
    pub fn probes(mut self, deliveries: u32) -> Self {
        self.probes = deliveries;
        self
    }

    /// Refuses deliveries while the circuit is open; this is the default.
    pub fn refusing(mut self) -> Self {
        self.when_open = WhenOpen::Refuse;
        self
    }

    /// Holds deliveries back while the circuit is open.
    pub fn holding(mut self) -> Self {
        self.when_open = WhenOpen::Hold;
        self
    }

    /// What is wrong with the values, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match self.trip {
            Trip::Consecutive(0) => Some("the breaker opens after 0 failures: always"),
            Trip::Ratio { share, .. } if !(share > 0.0 && share <= 1.0) => {
                Some("the breaker's share of failures is not above 0 and at most 1")
            }
            Trip::Ratio { of_last, .. } if !(1..=OF_LAST_MAX).contains(&of_last) => {
                Some("the breaker's share is not of the last 1 to 10000 deliveries")
            }
            _ if self.open_for.is_zero() => Some("the breaker's open_for is 0: it never refuses"),
            _ if self.probes == 0 => Some("the breaker has 0 probes: it would never close"),
            _ => None,
        }
    }
}

/// Such as `5 in a row(open 30s, 1 probes, refuse)`.
impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.trip {
            Trip::Consecutive(failures) => write!(f, "{failures} in a row")?,
            Trip::Ratio { share, of_last } => write!(f, "{share} of the last {of_last}")?,
        }
        let when_open = match self.when_open {
            WhenOpen::Refuse => "refuse",
            WhenOpen::Hold => "hold",
        };
        write!(f, "(open {:?}, {} probes, {when_open})", self.open_for, self.probes)
    }
}

/// The right to one delivery. It is settled once, by [`Circuit::settle`] or
/// [`Circuit::give_back`]; a probe that is not would keep its place forever.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Permit {
    /// In which state's life it was given: the result of an older one says nothing about now.
    generation: u64,
    is_probe: bool,
}

impl Permit {}

/// Whether a delivery may begin.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admission {
    Admitted(Permit),
    /// `retry_after` is unknown while probes are out: it ends when they do.
    Refused {
        retry_after: Option<Duration>,
    },
}

/// How a delivery ended.
///
/// | verdict | closed | half-open |
/// |---|---|---|
/// | `Success` | counts | one probe less to go |
/// | `Failure` | counts | open again |
/// | `Neutral` | nothing | the probe's place is free again |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    Failure,
    /// Cancelled, snoozed or declined: it says nothing about the handler.
    Neutral,
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Closed,
}

/// The circuit of one handler.
pub(crate) struct Circuit(Mutex<Inner>);

struct Inner {
    breaker: Breaker,
    /// Goes up with each change of state.
    generation: u64,
    state: State,
}

enum State {
    Closed(Tally),
    Open {
        since: Instant,
    },
    /// How many probes are not settled yet, and how many succeeded.
    HalfOpen {
        out: u32,
        succeeded: u32,
    },
}

impl Circuit {
    pub(crate) fn new(breaker: Breaker) -> Self {
        let state = State::Closed(Tally::default());
        Self(Mutex::new(Inner { breaker, generation: 0, state }))
    }

    /// Asks for the right to one delivery. The first one after `open_for` is the first probe.
    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let mut inner = self.0.lock();
        if let State::Open { since } = inner.state {
            let left = inner.breaker.open_for.saturating_sub(now.saturating_duration_since(since));
            if !left.is_zero() {
                return Admission::Refused { retry_after: Some(left) };
            }
            inner.enter(State::HalfOpen { out: 0, succeeded: 0 });
        }
        let (generation, probes) = (inner.generation, inner.breaker.probes);
        match &mut inner.state {
            State::HalfOpen { out, succeeded } if *out + *succeeded < probes => {
                *out += 1;
                Admission::Admitted(Permit { generation, is_probe: true })
            }
            State::Closed(_) => Admission::Admitted(Permit { generation, is_probe: false }),
            State::HalfOpen { .. } | State::Open { .. } => Admission::Refused { retry_after: None },
        }
    }

    /// Says how the delivery ended; the change is for the log.
    pub(crate) fn settle(&self, permit: Permit, verdict: Verdict, now: Instant) -> Option<Change> {
        let is_failure = match verdict {
            Verdict::Success => false,
            Verdict::Failure => true,
            Verdict::Neutral => {
                self.give_back(permit);
                return None;
            }
        };
        let mut inner = self.0.lock();
        if permit.generation != inner.generation {
            return None;
        }
        let Inner { breaker, state, .. } = &mut *inner;
        let change = match state {
            State::Closed(tally) => tally.add(breaker.trip, is_failure).then_some(Change::Opened),
            State::HalfOpen { .. } if is_failure => Some(Change::Opened),
            State::HalfOpen { out, succeeded } => {
                *out = out.saturating_sub(1);
                *succeeded += 1;
                (*succeeded >= breaker.probes).then_some(Change::Closed)
            }
            State::Open { .. } => None,
        };
        match change {
            Some(Change::Opened) => inner.enter(State::Open { since: now }),
            Some(Change::Closed) => inner.enter(State::Closed(Tally::default())),
            None => {}
        }
        change
    }

    /// Settles the delivery as neutral. Needs no clock, so a dropped delivery can do it.
    // By value: a permit is settled once.
    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn give_back(&self, permit: Permit) {
        let mut inner = self.0.lock();
        if permit.generation == inner.generation
            && let State::HalfOpen { out, .. } = &mut inner.state
        {
            *out = out.saturating_sub(1);
        }
    }

    /// The state; half-open as soon as a probe would be admitted.
    pub(crate) fn state(&self, now: Instant) -> CircuitState {
        let inner = self.0.lock();
        match inner.state {
            State::Closed(_) => CircuitState::Closed,
            State::Open { since }
                if now.saturating_duration_since(since) < inner.breaker.open_for =>
            {
                CircuitState::Open
            }
            State::Open { .. } | State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// What happens to a delivery that is not admitted.
    pub(crate) fn when_open(&self) -> WhenOpen {
        self.0.lock().breaker.when_open
    }
}

impl Inner {
    fn enter(&mut self, state: State) {
        self.generation += 1;
        self.state = state;
    }
}

/// The results since the circuit was closed, as far as they matter.
#[derive(Default)]
struct Tally {
    /// In a row, or within the ring.
    failures: u32,
    /// The last results, true for a failure; stays empty when only those in a row count.
    ring: VecDeque<bool>,
}

impl Tally {
    /// Counts a result; whether the circuit opens now.
    fn add(&mut self, trip: Trip, is_failure: bool) -> bool {
        match trip {
            Trip::Consecutive(failures) => {
                self.failures = if is_failure { self.failures + 1 } else { 0 };
                is_failure && self.failures >= failures
            }
            Trip::Ratio { share, of_last } => {
                let of_last = of_last.clamp(1, OF_LAST_MAX);
                if self.ring.len() >= of_last as usize {
                    let oldest = self.ring.pop_front();
                    self.failures -= u32::from(oldest == Some(true));
                }
                self.ring.push_back(is_failure);
                self.failures += u32::from(is_failure);
                // A quotient, not a product: 7 of 100 is exactly what is written as 0.07.
                self.ring.len() >= of_last as usize
                    && self.failures > 0
                    && f64::from(self.failures) / f64::from(of_last) >= share
            }
        }
    }
}

#[cfg(test)]
mod tests;
