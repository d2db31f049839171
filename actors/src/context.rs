//! What a handler knows about the event it handles, and what it may do with the bus meanwhile.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::clock::{Clock, Wall};
use crate::dead_letter::KeeperPlan;
use crate::envelope::{Envelope, Identity, Label, Metadata, Shared};
use crate::event::{Event, EventId, Replies, TraceId};
use crate::observed::Observer;
use crate::publish::{Address, Parent, Publish, Publisher};
use crate::request::Request;
use crate::router::{Limits, Router};
use crate::span::{SpanId, TraceParent};

mod span;
pub(crate) use span::{Ended, Within, recorded_span, span};

/// The context of one delivery.
///
/// It belongs to the delivery: when the handler has returned, what is published through it is
/// lost, and logged as an error.
pub struct EventContext {
    envelope: Envelope,
    scope: ScopeRef,
}

/// The scope of one delivery: with an actor it is shared, beyond the time that it is waited for.
enum ScopeRef {
    Own(Scope),
    Shared(Arc<Scope>),
}

impl Deref for ScopeRef {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        match self {
            Self::Own(scope) => scope,
            Self::Shared(scope) => scope,
        }
    }
}

/// Who handles, and what it has put out so far.
pub(crate) struct Scope {
    /// Its domain is `None` in a test of one handler.
    publisher: Arc<Publisher>,
    attempt: u32,
    /// Of this attempt at handling the event.
    span_id: SpanId,
    /// `None` once the handler has returned.
    outbox: Mutex<Option<Outbox>>,
}

/// What a handler has put out: mostly nothing, or one event.
pub(crate) type Outbox = SmallVec<[Envelope; 1]>;

impl Scope {
    pub(crate) fn new(publisher: &Arc<Publisher>, attempt: u32) -> Self {
        let outbox = Mutex::new(Some(Outbox::new()));
        let span_id = publisher.router.clock.span_id();
        Self { publisher: Arc::clone(publisher), attempt, span_id, outbox }
    }

    /// Takes what the handler put out; nothing can follow.
    pub(crate) fn seal(&self) -> Outbox {
        self.outbox.lock().take().unwrap_or_default()
    }
}

impl EventContext {
    pub(crate) fn new(envelope: Envelope, scope: Scope) -> Self {
        Self { envelope, scope: ScopeRef::Own(scope) }
    }

    /// A context of an actor, which may keep it.
    pub(crate) fn shared(envelope: Envelope, scope: Arc<Scope>) -> Self {
        Self { envelope, scope: ScopeRef::Shared(scope) }
    }

    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Takes what was put out; nothing can follow.
    pub(crate) fn seal(&self) -> Outbox {
        self.scope.seal()
    }

    /// Takes what was put out.
    pub(crate) fn into_outbox(self) -> Outbox {
        match self.scope {
            ScopeRef::Own(scope) => scope.outbox.into_inner().unwrap_or_default(),
            ScopeRef::Shared(scope) => scope.seal(),
        }
    }

    /// A context for the test of one handler, without a runtime: requests answer `NoHandler`, and
    /// what is published can be read with [`published`](Self::published).
    pub fn test() -> Self {
        Self::of_test(|_| {}, "test", 1)
    }

    /// A context for the test of one handler, whose chain and attempt the test decides.
    pub(crate) fn of_test(fill: impl FnOnce(&mut Metadata), source: &str, attempt: u32) -> Self {
        let clock = Clock::new(None, Wall::default());
        let (limits, observer, dead) =
            (Limits::default(), Observer::default(), KeeperPlan::default());
        let router = Arc::new(Router::new(limits, clock, observer, dead));
        let (clock, source) = (&router.clock, Arc::from(source));
        let id = clock.event_id();
        let mut metadata = Metadata::new(clock.trace_id(), id);
        fill(&mut metadata);
        let timestamp = clock.now();
        let label = Label {
            id,
            metadata,
            causation_id: None,
            span_id: None,
            source,
            timestamp,
            hops: 0,
            expires_at: None,
        };
        let envelope = Envelope::new(Nothing {}, label);
        let publisher = Publisher { router, name: "test".into(), domain: None };
        Self::new(envelope, Scope::new(&Arc::new(publisher), attempt))
    }

    /// What has been published through this context so far, of one type.
    pub fn published<E: Event>(&self) -> Vec<Shared<E>> {
        let outbox = self.scope.outbox.lock();
        outbox.iter().flatten().filter_map(Envelope::shared).collect()
    }

    /// The event's own identifier.
    pub fn event_id(&self) -> EventId {
        self.envelope.id()
    }

    /// The trace id of the chain.
    pub fn trace_id(&self) -> TraceId {
        self.envelope.trace_id()
    }

    /// The span of this attempt at handling the event: the parent of what it publishes, and of its
    /// calls to other services.
    pub fn span_id(&self) -> SpanId {
        self.scope.span_id
    }

    /// What a call to another service says about where it belongs, as its header `traceparent`, for
    /// clients that do not know this context themselves. A trace that began here counts as sampled.
    pub fn trace_parent(&self) -> TraceParent {
        let is_sampled = self.is_sampled().unwrap_or(true);
        TraceParent { trace_id: self.trace_id(), span_id: self.span_id(), is_sampled }
    }

    /// Whether the trace is recorded, as whoever began it outside said; `None` when it began here.
    pub fn is_sampled(&self) -> Option<bool> {
        self.envelope.metadata().is_sampled()
    }

    /// A new span id, for a step of what the handler does.
    #[doc(hidden)]
    pub fn new_span_id(&self) -> SpanId {
        self.scope.publisher.router.clock.span_id()
    }

    /// The event that began the chain.
    pub fn correlation_id(&self) -> EventId {
        self.envelope.metadata().correlation_id
    }

    /// The event whose handling published this one.
    pub fn causation_id(&self) -> Option<EventId> {
        self.envelope.causation_id()
    }

    /// On whose behalf, as the server established it.
    pub fn identity(&self) -> Option<&Identity> {
        self.envelope.metadata().identity()
    }

    /// For which customer of the application.
    pub fn tenant(&self) -> Option<&str> {
        self.envelope.metadata().tenant()
    }

    /// A header of the chain.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.envelope.metadata().header(name)
    }

    /// Who published the event.
    pub fn source(&self) -> &str {
        self.envelope.source()
    }

    /// When the event was published.
    pub fn timestamp(&self) -> SystemTime {
        self.envelope.timestamp()
    }

    /// How long the requester still waits; `None` when nobody set a limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.envelope.metadata().remaining()
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.scope.attempt
    }

    /// Publishes an event of this domain when the handler succeeds; it is dropped when it fails.
    ///
    /// # Panics
    /// When the event's name is not in the domain's namespace: a mistake in the program.
    pub fn publish<E: Event>(&self, event: E) {
        let publisher = &self.scope.publisher;
        if let Some(domain) = &publisher.domain {
            assert!(
                in_namespace(E::NAME, domain),
                "{} publishes `{}`, but domain `{domain}` may publish only `{domain}.*`",
                publisher.name,
                E::NAME,
            );
        }
        let envelope = publisher.seal_output(self.parent(), event);
        if let Some(outbox) = &mut *self.scope.outbox.lock() {
            outbox.push(envelope);
        } else {
            tracing::error!(
                handler = %self.scope.publisher.name, event = E::NAME, trace_id = %self.trace_id(),
                "published after its handler returned; the event is lost"
            );
        }
    }

    /// Publishes an event of any domain now, whether or not the handler will succeed.
    pub fn publish_now<E: Event>(&self, event: E) -> Publish<E> {
        Publish::new(self.address(), event)
    }

    /// Asks another handler, in the same trace and within what is left of the deadline.
    pub fn request<E: Replies>(&self, event: E) -> Request<E, E::Reply> {
        Request::new(self.address(), event)
    }

    fn address(&self) -> Address {
        Address::inside(&self.scope.publisher, self.parent())
    }

    fn parent(&self) -> Parent {
        Parent::of(&self.envelope, self.scope.span_id)
    }
}

impl fmt::Debug for EventContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventContext")
            .field("envelope", &self.envelope)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

/// Whether the domain may publish events of this name.
pub(crate) fn in_namespace(name: &str, domain: &str) -> bool {
    name.strip_prefix(domain).is_some_and(|rest| rest.starts_with('.'))
}

/// The event of a context that belongs to no delivery.
#[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Nothing {}

impl Event for Nothing {
    const NAME: &'static str = "test.nothing";
}
