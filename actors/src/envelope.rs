//! An event on its way: the payload, its name and identifiers, and the metadata that is carried
//! unchanged through a whole chain.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::error::HandlerError;
use crate::event::{Event, EventId, TraceId};
use crate::failed::Failed;

/// Who acts, as the server established it; never taken from a client's payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Identity {
    /// The stable identifier of the person or program.
    pub subject: String,
    /// What it may do.
    pub permissions: Vec<String>,
}

impl Identity {
    /// An identity without permissions.
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), permissions: Vec::new() }
    }
}

/// What every event of one chain has in common. Shared, never copied, along the chain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metadata {
    /// The W3C trace id.
    pub trace_id: TraceId,
    /// The event that began the chain.
    pub correlation_id: EventId,
    /// On whose behalf.
    pub identity: Option<Identity>,
    /// For which customer of the application.
    pub tenant: Option<String>,
    /// Free facts about the chain.
    pub headers: BTreeMap<String, String>,
    pub(crate) deadline: Option<Instant>,
}

impl Metadata {
    /// How long the requester still waits; `None` when nobody set a limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn without_deadline(self: &Arc<Self>) -> Arc<Self> {
        match self.deadline {
            None => Arc::clone(self),
            Some(_) => Arc::new(Self { deadline: None, ..Self::clone(self) }),
        }
    }
}

/// An event on its way. Cheap to clone: all clones share one payload.
#[derive(Clone)]
pub struct Envelope {
    inner: Arc<Inner>,
}

struct Inner {
    id: EventId,
    name: &'static str,
    payload: Arc<dyn Payload>,
    metadata: Arc<Metadata>,
    causation_id: Option<EventId>,
    source: Arc<str>,
    timestamp: SystemTime,
    hops: u16,
    expires_at: Option<Instant>,
    key: Option<Box<str>>,
    error_fact: Option<ErrorFact>,
}

/// Makes the fact that a handler failed on an event: from the event, the handler, its error and the
/// attempts.
type ErrorFact = fn(&Envelope, &str, &HandlerError, attempts: u32, Label) -> Option<Envelope>;

/// What is written on a new envelope beside its payload.
pub(crate) struct Label {
    pub(crate) id: EventId,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) causation_id: Option<EventId>,
    pub(crate) source: Arc<str>,
    pub(crate) timestamp: SystemTime,
    pub(crate) hops: u16,
    /// When it is too old to be handled.
    pub(crate) expires_at: Option<Instant>,
}

/// Any event, with its type erased.
pub(crate) trait Payload: Any + Send + Sync {
    fn to_json(&self) -> Result<Value, serde_json::Error>;

    /// Another event of the same type, with its key.
    fn decode(&self, payload: Value) -> Result<Decoded, serde_json::Error>;
}

type Decoded = (Arc<dyn Payload>, Option<Box<str>>);

impl<E: Event> Payload for E {
    fn to_json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn decode(&self, payload: Value) -> Result<Decoded, serde_json::Error> {
        let event: Self = serde_json::from_value(payload)?;
        let key = event.key().map(Into::into);
        Ok((Arc::new(event), key))
    }
}

impl Envelope {
    pub(crate) fn new<E: Event>(event: Arc<E>, label: Label) -> Self {
        Self::make(event, label, Some(error_fact::<E>))
    }

    /// Without `error_fact` for the facts themselves: a failed fact makes no further one.
    fn make<E: Event>(event: Arc<E>, label: Label, error_fact: Option<ErrorFact>) -> Self {
        let Label { id, metadata, causation_id, source, timestamp, hops, expires_at } = label;
        let key = event.key().map(Into::into);
        let inner = Inner {
            id,
            name: E::NAME,
            payload: event,
            metadata,
            causation_id,
            source,
            timestamp,
            hops,
            expires_at,
            key,
            error_fact,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The event's own identifier.
    pub fn id(&self) -> EventId {
        self.inner.id
    }

    /// The event's name.
    pub fn name(&self) -> &'static str {
        self.inner.name
    }

    /// What the whole chain has in common.
    pub fn metadata(&self) -> &Arc<Metadata> {
        &self.inner.metadata
    }

    /// The trace id of the chain.
    pub fn trace_id(&self) -> TraceId {
        self.inner.metadata.trace_id
    }

    /// The event whose handling published this one.
    pub fn causation_id(&self) -> Option<EventId> {
        self.inner.causation_id
    }

    /// Who published it: a handler's name, or what the edge wrote (`http`, `ws`, `scheduler`).
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    pub(crate) fn shared_source(&self) -> &Arc<str> {
        &self.inner.source
    }

    /// When it was published.
    pub fn timestamp(&self) -> SystemTime {
        self.inner.timestamp
    }

    /// How many handlers the chain passed before this event was published.
    pub fn hops(&self) -> u16 {
        self.inner.hops
    }

    /// What the event is about, by which it is kept in order: its [`Event::key`].
    pub fn key(&self) -> Option<&str> {
        self.inner.key.as_deref()
    }

    /// When it is too old to be handled, if whoever published it said so.
    pub(crate) fn expires_at(&self) -> Option<Instant> {
        self.inner.expires_at
    }

    /// The fact that a handler failed on this event, unless this is such a fact.
    pub(crate) fn error_fact(
        &self,
        handler: &str,
        error: &HandlerError,
        attempts: u32,
        label: Label,
    ) -> Option<Self> {
        self.inner.error_fact.and_then(|make| make(self, handler, error, attempts, label))
    }

    /// The typed event, or `None` when it is of another type.
    pub fn event<E: Event>(&self) -> Option<Arc<E>> {
        let any: Arc<dyn Any + Send + Sync> = Arc::<dyn Payload>::clone(&self.inner.payload);
        any.downcast().ok()
    }

    /// The payload as JSON.
    ///
    /// # Errors
    /// When the event's own `Serialize` fails.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        self.inner.payload.to_json()
    }

    /// The same envelope around another payload of the same type.
    pub(crate) fn with_payload(&self, payload: Value) -> Result<Self, serde_json::Error> {
        let inner = &self.inner;
        let (payload, key) = inner.payload.decode(payload)?;
        let inner = Inner {
            payload,
            key,
            metadata: Arc::clone(&inner.metadata),
            source: Arc::clone(&inner.source),
            ..**inner
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn type_id(&self) -> TypeId {
        (*self.inner.payload).type_id()
    }
}

fn error_fact<E: Event>(
    envelope: &Envelope,
    handler: &str,
    error: &HandlerError,
    attempts: u32,
    label: Label,
) -> Option<Envelope> {
    let event = Arc::unwrap_or_clone(envelope.event::<E>()?);
    Some(Envelope::make(Arc::new(Failed::new(event, handler, error, attempts)), label, None))
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("trace_id", &self.trace_id())
            .field("causation_id", &self.causation_id())
            .field("source", &self.source())
            .finish_non_exhaustive()
    }
}
