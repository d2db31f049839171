//! An event on its way: the payload, its name and identifiers, and the metadata that is carried
//! unchanged through a whole chain.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::error::HandlerError;
use crate::event::{Event, EventId, TraceId};
use crate::failed::Failed;
use crate::span::SpanId;

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

/// What every event of one chain has in common: identifiers, and what is shared, never copied, along
/// the chain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metadata {
    /// The W3C trace id.
    pub trace_id: TraceId,
    /// The event that began the chain.
    pub correlation_id: EventId,
    pub(crate) deadline: Option<Instant>,
    /// Whether the trace is recorded, where somebody outside has decided that.
    pub(crate) is_sampled: Option<bool>,
    /// `None` when nothing was said: most chains have no more than identifiers.
    about: Option<Arc<About>>,
}

/// What else may be said about a chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) identity: Option<Identity>,
    pub(crate) tenant: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Metadata {
    /// Of a chain about which nothing else is known.
    pub(crate) fn new(trace_id: TraceId, correlation_id: EventId) -> Self {
        Self { trace_id, correlation_id, deadline: None, is_sampled: None, about: None }
    }

    /// On whose behalf.
    pub fn identity(&self) -> Option<&Identity> {
        self.about.as_ref()?.identity.as_ref()
    }

    /// For which customer of the application.
    pub fn tenant(&self) -> Option<&str> {
        self.about.as_ref()?.tenant.as_deref()
    }

    /// A free fact about the chain.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.about.as_ref()?.headers.get(name).map(String::as_str)
    }

    /// The free facts about the chain, by name.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.about.iter().flat_map(|about| &about.headers);
        headers.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether the trace is recorded, as whoever began it outside said in its `traceparent`; `None`
    /// when it began here.
    pub fn is_sampled(&self) -> Option<bool> {
        self.is_sampled
    }

    /// How long the requester still waits; `None` when nobody set a limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Changes what else is said, for the events of this envelope and those that follow.
    pub(crate) fn about_mut(&mut self) -> &mut About {
        Arc::make_mut(self.about.get_or_insert_default())
    }
}

/// An event on its way. Cheap to clone: all clones share one payload.
#[derive(Clone)]
pub struct Envelope {
    letter: Arc<dyn Sealed>,
}

/// What is written on an envelope beside its payload.
#[derive(Clone)]
pub(crate) struct Label {
    pub(crate) id: EventId,
    pub(crate) metadata: Metadata,
    pub(crate) causation_id: Option<EventId>,
    /// The span in which it was published, where there was one.
    pub(crate) span_id: Option<SpanId>,
    pub(crate) source: Arc<str>,
    pub(crate) timestamp: SystemTime,
    pub(crate) hops: u16,
    /// When it is too old to be handled.
    pub(crate) expires_at: Option<Instant>,
}

/// An event and what is written on its envelope: one allocation.
struct Letter<E> {
    label: Label,
    key: Option<Box<str>>,
    /// `None` for the facts themselves: a failed fact makes no further one. A pointer, because
    /// otherwise there would have to be facts about facts about facts.
    error_fact: Option<ErrorFact<E>>,
    event: E,
}

/// Makes the fact that a handler failed on an event: from the handler, its error and the attempts.
type ErrorFact<E> = fn(&E, &str, &HandlerError, attempts: u32, Label) -> Envelope;

/// Any letter, with the type of its event erased.
trait Sealed: Any + Send + Sync {
    fn label(&self) -> &Label;

    fn name(&self) -> &'static str;

    fn key(&self) -> Option<&str>;

    fn event_type_id(&self) -> TypeId;

    fn to_json(&self) -> Result<Value, serde_json::Error>;

    /// With another event of the same type.
    fn with_payload(&self, payload: Value) -> Result<Envelope, serde_json::Error>;

    /// The fact that a handler failed on the event: from the handler, its error and the attempts.
    fn error_fact(
        &self,
        handler: &str,
        error: &HandlerError,
        attempts: u32,
        label: Label,
    ) -> Option<Envelope>;
}

impl<E: Event> Letter<E> {
    fn new(event: E, label: Label, error_fact: Option<ErrorFact<E>>) -> Self {
        let key = event.key().map(Into::into);
        Self { label, key, error_fact, event }
    }
}

impl<E: Event> Sealed for Letter<E> {
    fn label(&self) -> &Label {
        &self.label
    }

    fn name(&self) -> &'static str {
        E::NAME
    }

    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn event_type_id(&self) -> TypeId {
        TypeId::of::<E>()
    }

    fn to_json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.event)
    }

    fn with_payload(&self, payload: Value) -> Result<Envelope, serde_json::Error> {
        let event: E = serde_json::from_value(payload)?;
        Ok(Letter::new(event, self.label.clone(), self.error_fact).into())
    }

    fn error_fact(
        &self,
        handler: &str,
        error: &HandlerError,
        attempts: u32,
        label: Label,
    ) -> Option<Envelope> {
        self.error_fact.map(|make| make(&self.event, handler, error, attempts, label))
    }
}

impl<E: Event> From<Letter<E>> for Envelope {
    fn from(letter: Letter<E>) -> Self {
        Self { letter: Arc::new(letter) }
    }
}

impl Envelope {
    pub(crate) fn new<E: Event>(event: E, label: Label) -> Self {
        Letter::new(event, label, Some(error_fact::<E>)).into()
    }

    pub(crate) fn label(&self) -> &Label {
        self.letter.label()
    }

    /// The event's own identifier.
    pub fn id(&self) -> EventId {
        self.label().id
    }

    /// The event's name.
    pub fn name(&self) -> &'static str {
        self.letter.name()
    }

    /// What the whole chain has in common.
    pub fn metadata(&self) -> &Metadata {
        &self.label().metadata
    }

    /// The trace id of the chain.
    pub fn trace_id(&self) -> TraceId {
        self.metadata().trace_id
    }

    /// The event whose handling published this one.
    pub fn causation_id(&self) -> Option<EventId> {
        self.label().causation_id
    }

    /// The span in which it was published: that of the handler, or of whoever called from outside;
    /// `None` where nobody told one.
    pub fn parent_span_id(&self) -> Option<SpanId> {
        self.label().span_id
    }

    /// Who published it: a handler's name, or what the edge wrote (`http`, `ws`, `scheduler`).
    pub fn source(&self) -> &str {
        &self.label().source
    }

    /// When it was published.
    pub fn timestamp(&self) -> SystemTime {
        self.label().timestamp
    }

    /// How many handlers the chain passed before this event was published.
    pub fn hops(&self) -> u16 {
        self.label().hops
    }

    /// What the event is about, by which it is kept in order: its [`Event::key`].
    pub fn key(&self) -> Option<&str> {
        self.letter.key()
    }

    /// The fact that a handler failed on this event, unless this is such a fact.
    pub(crate) fn error_fact(
        &self,
        handler: &str,
        error: &HandlerError,
        attempts: u32,
        label: Label,
    ) -> Option<Self> {
        self.letter.error_fact(handler, error, attempts, label)
    }

    /// The typed event, or `None` when it is of another type.
    pub fn event<E: Event>(&self) -> Option<&E> {
        let letter: &dyn Any = &*self.letter;
        letter.downcast_ref::<Letter<E>>().map(|letter| &letter.event)
    }

    /// The typed event, to be kept, or `None` when it is of another type.
    pub fn shared<E: Event>(&self) -> Option<Shared<E>> {
        let letter: Arc<dyn Any + Send + Sync> = self.letter.clone();
        letter.downcast().ok().map(Shared)
    }

    /// The typed event, which the last holder of the envelope need not copy.
    pub(crate) fn into_event<E: Event>(self) -> Option<E> {
        let letter: Arc<dyn Any + Send + Sync> = self.letter;
        let letter = letter.downcast::<Letter<E>>().ok()?;
        Some(Arc::try_unwrap(letter).map_or_else(|shared| shared.event.clone(), |own| own.event))
    }

    /// The payload as JSON.
    ///
    /// # Errors
    /// When the event's own `Serialize` fails.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        self.letter.to_json()
    }

    /// The same envelope around another payload of the same type.
    pub(crate) fn with_payload(&self, payload: Value) -> Result<Self, serde_json::Error> {
        self.letter.with_payload(payload)
    }

    pub(crate) fn type_id(&self) -> TypeId {
        self.letter.event_type_id()
    }
}

/// A typed event, shared with all who hold its envelope; cheap to clone.
pub struct Shared<E>(Arc<Letter<E>>);

impl<E> Clone for Shared<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> Deref for Shared<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0.event
    }
}

impl<E: fmt::Debug> fmt::Debug for Shared<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.event.fmt(f)
    }
}

fn error_fact<E: Event>(
    event: &E,
    handler: &str,
    error: &HandlerError,
    attempts: u32,
    label: Label,
) -> Envelope {
    Letter::new(Failed::new(event.clone(), handler, error, attempts), label, None).into()
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
