//! Which attempts of a handler are in work, and since when: what the watchdog looks at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::envelope::Envelope;
use crate::event::TraceId;
use crate::seat::Seat;

/// An attempt that is in work for longer than its handler's
/// [`stuck_after`](crate::Policy::stuck_after).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Stuck {
    /// The handler.
    pub handler: String,
    /// The event's name.
    pub event: &'static str,
    /// The chain.
    pub trace_id: TraceId,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// For how long, by the machine's clock.
    pub running_for: Duration,
}

/// The attempts in work.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Attempts>);

#[derive(Default)]
struct Attempts {
    in_work: Vec<Entry>,
    next_id: u64,
}

struct Entry {
    id: u64,
    /// Of the machine, not of tokio: a thread that is kept stops tokio's timers, and a clock that is
    /// advanced by a test says nothing about a handler.
    since: Instant,
    event: &'static str,
    trace_id: TraceId,
    attempt: u32,
    is_reported: bool,
}

/// Keeps an attempt among those in work until it is dropped.
pub(crate) struct Watched {
    seat: Arc<Seat>,
    id: u64,
}

impl Watch {
    pub(crate) fn begin(seat: &Arc<Seat>, envelope: &Envelope, attempt: u32) -> Watched {
        let (event, trace_id) = (envelope.name(), envelope.trace_id());
        let mut attempts = seat.watch.0.lock();
        let id = attempts.next_id;
        attempts.next_id += 1;
        let since = Instant::now();
        attempts.in_work.push(Entry { id, since, event, trace_id, attempt, is_reported: false });
        drop(attempts);
        Watched { seat: Arc::clone(seat), id }
    }
}

impl Seat {
    /// The attempts that are in work for too long.
    pub(crate) fn stuck(&self) -> Vec<Stuck> {
        let (attempts, now) = (self.watch.0.lock(), Instant::now());
        let stuck = attempts.in_work.iter().filter(|attempt| attempt.is_stuck(self, now));
        stuck.map(|attempt| attempt.shown(self, now)).collect()
    }

    /// Those of them that this has not said before.
    pub(crate) fn newly_stuck(&self) -> Vec<Stuck> {
        let (mut attempts, now) = (self.watch.0.lock(), Instant::now());
        let is_new = |attempt: &&mut Entry| !attempt.is_reported && attempt.is_stuck(self, now);
        let stuck = attempts.in_work.iter_mut().filter(is_new);
        stuck
            .map(|attempt| {
                attempt.is_reported = true;
                attempt.shown(self, now)
            })
            .collect()
    }
}

impl Entry {
    fn is_stuck(&self, seat: &Seat, now: Instant) -> bool {
        now.duration_since(self.since) >= seat.rules.stuck_after
    }

    fn shown(&self, seat: &Seat, now: Instant) -> Stuck {
        let &Self { event, trace_id, attempt, since, .. } = self;
        let running_for = now.duration_since(since);
        Stuck { handler: seat.handler.to_string(), event, trace_id, attempt, running_for }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let in_work = &mut self.seat.watch.0.lock().in_work;
        let Some(place) = in_work.iter().position(|attempt| attempt.id == self.id) else { return };
        let attempt = in_work.swap_remove(place);
        if attempt.is_reported {
            let Stuck { handler, event, trace_id, attempt, running_for } =
                attempt.shown(&self.seat, Instant::now());
            tracing::warn!(handler, event, %trace_id, attempt, ?running_for, "was stuck, and ended");
        }
    }
}
