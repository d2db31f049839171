//! The ring of recent deliveries: one record each, for people who ask what just happened.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::clock::{Clock, rfc3339};
use crate::envelope::Envelope;
use crate::event::{EventId, TraceId};

/// One delivery, or one event that nobody subscribed to (then `handler` is empty).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct EventRecord {
    /// When it ended.
    #[serde(serialize_with = "rfc3339")]
    pub ts: SystemTime,
    /// The event's name.
    pub event_type: &'static str,
    /// The event.
    pub event_id: EventId,
    /// The chain.
    pub trace_id: TraceId,
    /// Who published the event.
    pub source: String,
    /// Who handled it.
    pub handler: String,
    /// How long it took, all attempts included, in milliseconds.
    pub duration_ms: f64,
    /// Whether it succeeded.
    pub ok: bool,
    /// The code of its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many attempts it took.
    pub attempts: u32,
}

/// Which records to show.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventQuery {
    /// At most so many, the newest. Default 50; 0 gives none.
    pub limit: usize,
    /// Only events of this name.
    pub event_type: Option<String>,
    /// Only events of this chain.
    pub trace_id: Option<TraceId>,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self { limit: 50, event_type: None, trace_id: None }
    }
}

impl EventQuery {
    /// Sets [`limit`](Self::limit).
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = records;
        self
    }

    /// Sets [`event_type`](Self::event_type).
    pub fn event_type(mut self, name: impl Into<String>) -> Self {
        self.event_type = Some(name.into());
        self
    }

    /// Sets [`trace_id`](Self::trace_id).
    pub fn trace_id(mut self, trace_id: TraceId) -> Self {
        self.trace_id = Some(trace_id);
        self
    }

    fn matches(&self, record: &Kept) -> bool {
        self.event_type.as_ref().is_none_or(|name| name == record.event_type)
            && self.trace_id.is_none_or(|trace_id| trace_id == record.trace_id)
    }
}

/// What there is to say about a delivery.
pub(crate) struct Entry<'d> {
    /// By tokio's clock, which has been looked at anyway.
    pub(crate) ended: Instant,
    pub(crate) envelope: &'d Envelope,
    /// `None` when nobody subscribed.
    pub(crate) handler: Option<&'d Arc<str>>,
    pub(crate) took: Duration,
    pub(crate) error: Option<&'d str>,
    pub(crate) attempts: u32,
}

/// A record as it is kept: what it has in common with others is shared.
struct Kept {
    ended: Instant,
    event_type: &'static str,
    event_id: EventId,
    trace_id: TraceId,
    source: Arc<str>,
    handler: Option<Arc<str>>,
    took: Duration,
    error: Option<Box<str>>,
    attempts: u32,
}

impl Kept {
    fn new(entry: &Entry<'_>) -> Self {
        let &Entry { ended, envelope, handler, took, error, attempts } = entry;
        let (event_type, label) = (envelope.name(), envelope.label());
        Self {
            ended,
            event_type,
            event_id: label.id,
            trace_id: label.metadata.trace_id,
            source: Arc::clone(&label.source),
            handler: handler.cloned(),
            took,
            error: error.map(Into::into),
            attempts,
        }
    }

    /// Writes another delivery in its place. Neighbours in the ring often have names in common, and
    /// to leave those as they are is cheaper than to count references.
    fn overwrite(&mut self, entry: &Entry<'_>) {
        let &Entry { ended, envelope, handler, took, error, attempts } = entry;
        let label = envelope.label();
        self.ended = ended;
        self.event_type = envelope.name();
        self.event_id = label.id;
        self.trace_id = label.metadata.trace_id;
        if !Arc::ptr_eq(&self.source, &label.source) {
            self.source = Arc::clone(&label.source);
        }
        let is_same = match (&self.handler, handler) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if !is_same {
            self.handler = handler.cloned();
        }
        self.took = took;
        if self.error.is_some() || error.is_some() {
            self.error = error.map(Into::into);
        }
        self.attempts = attempts;
    }

    fn shown(&self, clock: &Clock) -> EventRecord {
        EventRecord {
            ts: clock.at(self.ended),
            event_type: self.event_type,
            event_id: self.event_id,
            trace_id: self.trace_id,
            source: self.source.to_string(),
            handler: self.handler.as_deref().unwrap_or_default().to_owned(),
            duration_ms: (self.took.as_secs_f64() * 1e6).round() / 1e3,
            ok: self.error.is_none(),
            error: self.error.as_deref().map(str::to_owned),
            attempts: self.attempts,
        }
    }
}

/// The newest records.
pub(crate) struct EventLog {
    ring: Mutex<Ring>,
    max: usize,
}

#[derive(Default)]
struct Ring {
    records: Vec<Kept>,
    /// The place of the oldest one, when all places are taken.
    oldest: usize,
}

impl EventLog {
    pub(crate) fn new(max: usize) -> Self {
        Self { ring: Mutex::default(), max }
    }

    pub(crate) fn push(&self, entry: &Entry<'_>) {
        if self.max == 0 {
            return;
        }
        let ring = &mut *self.ring.lock();
        if ring.records.len() < self.max {
            ring.records.push(Kept::new(entry));
        } else {
            ring.records[ring.oldest].overwrite(entry);
            ring.oldest = if ring.oldest + 1 == self.max { 0 } else { ring.oldest + 1 };
        }
    }

    /// The newest records that match, oldest first.
    pub(crate) fn recent(&self, query: &EventQuery, clock: &Clock) -> Vec<EventRecord> {
        let ring = self.ring.lock();
        let (newer, older) = ring.records.split_at(ring.oldest);
        let newest = newer.iter().rev().chain(older.iter().rev());
        let newest = newest.filter(|kept| query.matches(kept)).take(query.limit);
        let mut records: Vec<_> = newest.map(|kept| kept.shown(clock)).collect();
        records.reverse();
        records
    }
}
