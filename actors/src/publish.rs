//! The builder behind `bus.publish(event)`: who publishes, in which chain, and what is written on
//! the envelope.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::poll_proceed;
use tokio::time::Instant;

use crate::chain::{Chain, Parcel};
use crate::clock::secs;
use crate::envelope::{Envelope, Identity, Label, Metadata};
use crate::error::PublishError;
use crate::event::{Event, EventId, TraceId};
use crate::router::{Origin, Published, Router, WhenFull};
use crate::span::{SpanId, TraceParent};

/// An event about to be published: `.await` it, or refuse to wait with [`try_now`](Self::try_now).
///
/// # Cancel safety
/// Dropped before it is ready, handlers whose queue had room may have the event already while
/// others do not.
#[must_use = "nothing is published until it is awaited"]
pub struct Publish<E> {
    event: E,
    address: Address,
}

/// The future of a [`Publish`].
///
/// Its first poll uses up some of the budget that tokio gives each task, so that a loop of
/// publishing leaves other tasks their turns.
#[must_use = "nothing is published until it is polled"]
pub struct Publishing<E> {
    state: State<E>,
}

enum State<E> {
    Begun(Publish<E>),
    Waiting(Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>),
    Ended,
}

// The event is never pinned: it is moved into its envelope.
impl<E> Unpin for Publish<E> {}
impl<E> Unpin for Publishing<E> {}

/// Longer lives are cut to this: a point in time further off cannot be computed.
const TTL_MAX: Duration = secs(365 * 24 * 60 * 60);

/// Who publishes: a handler, or whoever holds a bus.
#[derive(Clone)]
pub(crate) struct Publisher {
    pub(crate) router: Arc<Router>,
    pub(crate) name: Arc<str>,
    /// The handler's domain, whose events alone it may put out.
    pub(crate) domain: Option<Arc<str>>,
}

/// Where an event comes from and what its chain has in common.
#[derive(Clone)]
pub(crate) struct Address {
    publisher: Arc<Publisher>,
    /// The event that is being handled, when a handler publishes.
    parent: Option<Parent>,
    /// Boxed, because most events have none, and an address is moved a few times.
    extras: Option<Box<Extras>>,
}

/// What a publisher may write on an envelope.
#[derive(Clone, Default)]
struct Extras {
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    is_sampled: Option<bool>,
    identity: Option<Identity>,
    tenant: Option<String>,
    headers: Vec<(String, String)>,
    ttl: Option<Duration>,
    source: Option<Arc<str>>,
}

/// The place in a chain from which a handler publishes.
#[derive(Clone)]
pub(crate) struct Parent {
    metadata: Metadata,
    id: EventId,
    span_id: SpanId,
    hops: u16,
}

impl Parent {
    /// `span_id` is that of the handling.
    pub(crate) fn of(envelope: &Envelope, span_id: SpanId) -> Self {
        let label = envelope.label();
        let (metadata, hops) = (label.metadata.clone(), label.hops + 1);
        Self { metadata, id: label.id, span_id, hops }
    }
}

impl Publisher {
    /// Seals what a handler puts out.
    pub(crate) fn seal_output<E: Event>(&self, parent: Parent, event: E) -> Envelope {
        let clock = &self.router.clock;
        let timestamp = clock.now();
        let label = Label {
            id: clock.event_id_at(timestamp),
            metadata: parent.metadata,
            causation_id: Some(parent.id),
            span_id: Some(parent.span_id),
            source: Arc::clone(&self.name),
            timestamp,
            hops: parent.hops,
            expires_at: None,
        };
        Envelope::new(event, label)
    }
}

impl Address {
    pub(crate) fn outside(publisher: &Arc<Publisher>) -> Self {
        Self { publisher: Arc::clone(publisher), parent: None, extras: None }
    }

    pub(crate) fn inside(publisher: &Arc<Publisher>, parent: Parent) -> Self {
        Self { publisher: Arc::clone(publisher), parent: Some(parent), extras: None }
    }

    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.publisher.router
    }

    pub(crate) fn origin(&self) -> Origin {
        if self.parent.is_some() { Origin::Chain } else { Origin::Outside }
    }

    /// What is left of the chain's deadline at this moment, or `limit` when that is shorter.
    pub(crate) fn patience(&self, limit: Duration, now: Instant) -> Duration {
        let deadline = self.parent.as_ref().and_then(|parent| parent.metadata.deadline);
        deadline.map_or(limit, |deadline| deadline.saturating_duration_since(now).min(limit))
    }

    /// Seals the event; `deadline` is set when somebody waits for what comes of it.
    pub(crate) fn seal<E: Event>(
        self,
        event: E,
        deadline: Option<Instant>,
    ) -> (Arc<Publisher>, Envelope) {
        let Self { publisher, parent, extras } = self;
        let clock = &publisher.router.clock;
        let timestamp = clock.now();
        let id = clock.event_id_at(timestamp);
        let (hops, causation_id) = parent.as_ref().map_or((0, None), |p| (p.hops, Some(p.id)));
        let given = extras.as_deref();
        let (mut metadata, span_id) = if let Some(parent) = parent {
            (parent.metadata, Some(parent.span_id))
        } else {
            let trace_id = given.and_then(|given| given.trace_id);
            let mut metadata = Metadata::new(trace_id.unwrap_or_else(|| clock.trace_id()), id);
            metadata.is_sampled = given.and_then(|given| given.is_sampled);
            (metadata, given.and_then(|given| given.span_id))
        };
        metadata.deadline = deadline.or(metadata.deadline);
        let (mut source, mut expires_at) = (None, None);
        if let Some(extras) = extras {
            expires_at = extras.ttl.map(|ttl| Instant::now() + ttl);
            source = extras.write_on(&mut metadata);
        }
        let source = source.unwrap_or_else(|| Arc::clone(&publisher.name));
        let label =
            Label { id, metadata, causation_id, span_id, source, timestamp, hops, expires_at };
        (publisher, Envelope::new(event, label))
    }
}

impl Extras {
    /// Says about the chain what there is to say, and who publishes.
    fn write_on(self, metadata: &mut Metadata) -> Option<Arc<str>> {
        let Self { identity, tenant, headers, source, .. } = self;
        if identity.is_some() || tenant.is_some() || !headers.is_empty() {
            let about = metadata.about_mut();
            about.identity = identity.or_else(|| about.identity.take());
            about.tenant = tenant.or_else(|| about.tenant.take());
            about.headers.extend(headers);
        }
        source
    }
}

/// The setters that publishing and requesting share.
macro_rules! address_setters {
    () => {
        /// Continues the trace of a caller outside. Within a handler the chain's own trace stays.
        pub fn trace_id(mut self, trace_id: $crate::event::TraceId) -> Self {
            self.address.set_trace_id(trace_id);
            self
        }

        /// Continues the trace of a caller outside as a step of its span. Within a handler the
        /// chain's own trace stays.
        pub fn trace_parent(mut self, parent: $crate::span::TraceParent) -> Self {
            self.address.set_trace_parent(parent);
            self
        }

        /// Says on whose behalf, as the server established it.
        pub fn identity(mut self, identity: $crate::envelope::Identity) -> Self {
            self.address.set_identity(identity);
            self
        }

        /// Says for which customer of the application.
        pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
            self.address.set_tenant(tenant.into());
            self
        }

        /// Adds a header that travels through the whole chain.
        pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.address.add_header(name.into(), value.into());
            self
        }

        /// Says who publishes, for the event log.
        pub fn source(mut self, source: impl Into<std::sync::Arc<str>>) -> Self {
            self.address.set_source(source.into());
            self
        }
    };
}
pub(crate) use address_setters;

impl Address {
    pub(crate) fn set_trace_id(&mut self, trace_id: TraceId) {
        if self.parent.is_none() {
            self.extras().trace_id = Some(trace_id);
        }
    }

    pub(crate) fn set_trace_parent(&mut self, parent: TraceParent) {
        if self.parent.is_none() {
            let extras = self.extras();
            extras.trace_id = Some(parent.trace_id);
            extras.span_id = Some(parent.span_id);
            extras.is_sampled = Some(parent.is_sampled);
        }
    }

    pub(crate) fn set_identity(&mut self, identity: Identity) {
        self.extras().identity = Some(identity);
    }

    pub(crate) fn set_tenant(&mut self, tenant: String) {
        self.extras().tenant = Some(tenant);
    }

    pub(crate) fn add_header(&mut self, name: String, value: String) {
        self.extras().headers.push((name, value));
    }

    /// The trace in which it will be published, fixed from now on.
    #[cfg(feature = "testing")]
    pub(crate) fn fix_trace_id(&mut self) -> TraceId {
        let publisher = Arc::clone(&self.publisher);
        *self.extras().trace_id.get_or_insert_with(|| publisher.router.clock.trace_id())
    }

    pub(crate) fn set_source(&mut self, source: Arc<str>) {
        self.extras().source = Some(source);
    }
}

impl<E: Event> Publish<E> {
    pub(crate) fn new(address: Address, event: E) -> Self {
        Self { event, address }
    }

    address_setters!();

    #[cfg(feature = "testing")]
    pub(crate) fn address_mut(&mut self) -> &mut Address {
        &mut self.address
    }

    /// Says how old the event may get before it is handled: an older one is dropped, and counted
    /// as `expired`. A handler may set a limit of its own with
    /// [`Policy::ttl`](crate::Policy::ttl); the earlier one counts.
    pub fn ttl(mut self, age: Duration) -> Self {
        self.address.extras().ttl = Some(age.min(TTL_MAX));
        self
    }

    /// Publishes to every handler of the event, or to none when the queue of one is full.
    ///
    /// # Errors
    /// [`PublishError::Full`] names the handler; all other errors as for waiting.
    pub fn try_now(self) -> Result<(), PublishError> {
        let (publisher, parcel, origin) = self.into_parcel();
        publisher.router.try_publish(parcel, origin)
    }

    /// Publishes; `chain` is told when all that followed has ended.
    pub(crate) async fn tracked(
        self,
        track: impl FnOnce(&Router, &Envelope) -> Arc<Chain>,
    ) -> Result<(), PublishError> {
        let (publisher, mut parcel, origin) = self.into_parcel();
        let router = &publisher.router;
        parcel.chain = Some(track(router, &parcel.envelope));
        router.publish(parcel, origin).await.map(drop)
    }

    fn into_parcel(self) -> (Arc<Publisher>, Parcel, Origin) {
        let origin = self.address.origin();
        let (publisher, envelope) = self.address.seal(self.event, None);
        (publisher, Parcel::new(envelope, None), origin)
    }
}

impl<E: Event> IntoFuture for Publish<E> {
    type Output = Result<(), PublishError>;
    type IntoFuture = Publishing<E>;

    fn into_future(self) -> Publishing<E> {
        Publishing { state: State::Begun(self) }
    }
}

impl<E: Event> Future for Publishing<E> {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting(waiting) = &mut self.state {
            return waiting.as_mut().poll(cx);
        }
        let budget = ready!(poll_proceed(cx));
        let State::Begun(publish) = mem::replace(&mut self.state, State::Ended) else {
            panic!("`Publishing` was polled after it had ended");
        };
        budget.made_progress();
        let (publisher, parcel, origin) = publish.into_parcel();
        let reach = publisher.router.publish_now(parcel, origin, None, WhenFull::Wait, cx)?;
        let Published::Partly(rest) = reach else { return Poll::Ready(Ok(())) };
        let mut waiting =
            Box::pin(async move { publisher.router.publish_rest(rest).await.map(drop) });
        let outcome = waiting.as_mut().poll(cx);
        if outcome.is_pending() {
            self.state = State::Waiting(waiting);
        }
        outcome
    }
}
