//! Which attempts of a handler are in work, and since when: what the watchdog looks at.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

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
    /// What each thread handles in place.
    spots: Vec<Arc<Spot>>,
}

/// What one thread handles in place right now, if anything: written by that thread alone, and read
/// by the watchdog. No clock is read for it: the watchdog remembers when it saw an event first.
#[derive(Default)]
pub(crate) struct Spot {
    /// Twice the number of events so far, and one more while one is handled.
    turn: AtomicU64,
    /// Which of the seat's inputs it is.
    input: AtomicUsize,
    trace_id: [AtomicU64; 2],
    seen: Mutex<Option<Seen>>,
    /// Whether it was reported as stuck.
    is_reported: AtomicBool,
}

/// An event that was being handled when somebody looked first.
struct Seen {
    turn: u64,
    at: Instant,
}

/// A spot that is taken, until this is dropped.
pub(crate) struct Taken<'s> {
    spot: &'s Spot,
    seat: &'s Seat,
}

impl Spot {
    pub(crate) fn new(seat: &Seat) -> Arc<Self> {
        let spot = Arc::<Self>::default();
        seat.watch.0.lock().spots.push(Arc::clone(&spot));
        spot
    }

    /// Whether an event is being handled.
    pub(crate) fn is_taken(&self) -> bool {
        !self.turn.load(Relaxed).is_multiple_of(2)
    }

    /// Takes the spot for the time in which an event is handled. Nothing here is locked: what is
    /// read while it changes belongs to an event that is not stuck.
    pub(crate) fn take<'s>(&'s self, seat: &'s Seat, input: usize, trace_id: TraceId) -> Taken<'s> {
        let (high, low) = trace_id.0.as_u64_pair();
        self.input.store(input, Relaxed);
        self.trace_id[0].store(high, Relaxed);
        self.trace_id[1].store(low, Relaxed);
        self.turn.store(self.turn.load(Relaxed) + 1, Release);
        Taken { spot: self, seat }
    }

    /// What is handled, when it takes too long; `is_report` when this is to be said only once.
    fn stuck(&self, seat: &Seat, now: Instant, is_report: bool) -> Option<Stuck> {
        let turn = self.turn.load(Acquire);
        let mut seen = self.seen.lock();
        if turn.is_multiple_of(2) {
            *seen = None;
            return None;
        }
        let same = seen.take().filter(|seen| seen.turn == turn);
        let seen = seen.insert(same.unwrap_or(Seen { turn, at: now }));
        let running_for = now.saturating_duration_since(seen.at);
        let is_stuck = running_for >= seat.rules.stuck_after;
        if !is_stuck || (is_report && self.is_reported.swap(true, Relaxed)) {
            return None;
        }
        Some(self.shown(seat, running_for))
    }

    fn shown(&self, seat: &Seat, running_for: Duration) -> Stuck {
        let event = seat.wiring.inputs.get(self.input.load(Relaxed));
        let (high, low) = (self.trace_id[0].load(Relaxed), self.trace_id[1].load(Relaxed));
        Stuck {
            handler: seat.handler.to_string(),
            // A pattern takes events of all names.
            event: event.map_or("", |event| event.name),
            trace_id: TraceId(Uuid::from_u64_pair(high, low)),
            attempt: 1,
            running_for,
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let spot = self.spot;
        spot.turn.store(spot.turn.load(Relaxed) + 1, Release);
        if spot.is_reported.load(Relaxed)
            && spot.is_reported.swap(false, Relaxed)
            && let Some(Seen { at, .. }) = spot.seen.lock().take()
        {
            log_end(&spot.shown(self.seat, at.elapsed()));
        }
    }
}

fn log_end(stuck: &Stuck) {
    let Stuck { handler, event, trace_id, attempt, running_for } = stuck;
    tracing::warn!(handler, event, %trace_id, attempt, ?running_for, "was stuck, and ended");
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
    /// How many events are handled in place right now.
    pub(crate) fn in_place(&self) -> usize {
        self.watch.0.lock().spots.iter().filter(|spot| spot.is_taken()).count()
    }

    /// Forgets the spot of a thread that handles nothing more.
    pub(crate) fn leave_spot(&self, spot: &Arc<Spot>) {
        self.watch.0.lock().spots.retain(|other| !Arc::ptr_eq(other, spot));
    }

    /// The attempts that are in work for too long.
    pub(crate) fn stuck(&self) -> Vec<Stuck> {
        let (attempts, now) = (self.watch.0.lock(), Instant::now());
        let stuck = attempts.in_work.iter().filter(|attempt| attempt.is_stuck(self, now));
        let stuck = stuck.map(|attempt| attempt.shown(self, now));
        stuck.chain(attempts.spots.iter().filter_map(|spot| spot.stuck(self, now, false))).collect()
    }

    /// Those of them that this has not said before.
    pub(crate) fn newly_stuck(&self) -> Vec<Stuck> {
        let (mut attempts, now) = (self.watch.0.lock(), Instant::now());
        let is_new = |attempt: &&mut Entry| !attempt.is_reported && attempt.is_stuck(self, now);
        let Attempts { in_work, spots, .. } = &mut *attempts;
        let stuck = in_work.iter_mut().filter(is_new).map(|attempt| {
            attempt.is_reported = true;
            attempt.shown(self, now)
        });
        let in_place = spots.iter().filter_map(|spot| spot.stuck(self, now, true));
        stuck.chain(in_place).collect()
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
            log_end(&attempt.shown(&self.seat, Instant::now()));
        }
    }
}
