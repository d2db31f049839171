//! The ring of recent deliveries: one record each, for people who ask what just happened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Serialize;

use crate::clock::rfc3339;
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

    fn matches(&self, record: &Entry) -> bool {
        self.event_type.as_ref().is_none_or(|name| name == record.event_type)
            && self.trace_id.is_none_or(|trace_id| trace_id == record.trace_id)
    }
}

/// A record as it is kept: what it has in common with others is shared.
pub(crate) struct Entry {
    pub(crate) ts: SystemTime,
    pub(crate) event_type: &'static str,
    pub(crate) event_id: EventId,
    pub(crate) trace_id: TraceId,
    pub(crate) source: Arc<str>,
    /// `None` when nobody subscribed.
    pub(crate) handler: Option<Arc<str>>,
    pub(crate) took: Duration,
    pub(crate) error: Option<String>,
    pub(crate) attempts: u32,
}

impl Entry {
    fn shown(&self) -> EventRecord {
        EventRecord {
            ts: self.ts,
            event_type: self.event_type,
            event_id: self.event_id,
            trace_id: self.trace_id,
            source: self.source.to_string(),
            handler: self.handler.as_deref().unwrap_or_default().to_owned(),
            duration_ms: (self.took.as_secs_f64() * 1e6).round() / 1e3,
            ok: self.error.is_none(),
            error: self.error.clone(),
            attempts: self.attempts,
        }
    }
}

pub(crate) struct EventLog {
    ring: Mutex<VecDeque<Entry>>,
    max: usize,
}

impl EventLog {
    pub(crate) fn new(max: usize) -> Self {
        Self { ring: Mutex::new(VecDeque::new()), max }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.max > 0
    }

    pub(crate) fn push(&self, entry: Entry) {
        let mut ring = self.ring.lock();
        if ring.len() == self.max {
            ring.pop_front();
        }
        ring.push_back(entry);
    }

    /// The newest records that match, oldest first.
    pub(crate) fn recent(&self, query: &EventQuery) -> Vec<EventRecord> {
        let ring = self.ring.lock();
        let newest = ring.iter().rev().filter(|entry| query.matches(entry)).take(query.limit);
        let mut records: Vec<_> = newest.map(Entry::shown).collect();
        records.reverse();
        records
    }
}
