//! The builder behind `bus.publish(event)`: who publishes, in which chain, and what is written on
//! the envelope.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::chain::{Chain, Parcel};
use crate::clock::secs;
use crate::envelope::{Envelope, Identity, Label, Metadata};
use crate::error::PublishError;
use crate::event::{Event, EventId, TraceId};
use crate::router::{Origin, Router};

/// An event about to be published: `.await` it, or refuse to wait with [`try_now`](Self::try_now).
///
/// # Cancel safety
/// Dropped before it is ready, handlers whose queue had room may have the event already while
/// others do not.
#[must_use = "nothing is published until it is awaited"]
pub struct Publish<E> {
    event: Arc<E>,
    address: Address,
}

/// Longer lives are cut to this: a point in time further off cannot be computed.
const TTL_MAX: Duration = secs(365 * 24 * 60 * 60);

/// Where an event comes from and what its chain has in common.
#[derive(Clone)]
pub(crate) struct Address {
    router: Arc<Router>,
    source: Arc<str>,
    /// The event that is being handled, when a handler publishes.
    parent: Option<Parent>,
    /// Boxed, because most events have none, and an address is moved a few times.
    extras: Option<Box<Extras>>,
}

/// What a publisher may write on an envelope.
#[derive(Clone, Default)]
struct Extras {
    trace_id: Option<TraceId>,
    identity: Option<Identity>,
    tenant: Option<String>,
    headers: Vec<(String, String)>,
    ttl: Option<Duration>,
}

/// The place in a chain from which a handler publishes.
#[derive(Clone)]
pub(crate) struct Parent {
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) id: EventId,
    pub(crate) hops: u16,
}

impl Address {
    pub(crate) fn outside(router: &Arc<Router>, source: &Arc<str>) -> Self {
        Self::new(router, source, None)
    }

    pub(crate) fn inside(router: &Arc<Router>, handler: &Arc<str>, parent: Parent) -> Self {
        Self::new(router, handler, Some(parent))
    }

    fn new(router: &Arc<Router>, source: &Arc<str>, parent: Option<Parent>) -> Self {
        let (router, source) = (Arc::clone(router), Arc::clone(source));
        Self { router, source, parent, extras: None }
    }

    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    pub(crate) fn origin(&self) -> Origin {
        if self.parent.is_some() { Origin::Chain } else { Origin::Outside }
    }

    /// What is left of the chain's deadline, or `limit` when that is shorter.
    pub(crate) fn patience(&self, limit: Duration) -> Duration {
        let left = self.parent.as_ref().and_then(|parent| parent.metadata.remaining());
        left.map_or(limit, |left| left.min(limit))
    }

    /// Seals the event; `deadline` is set when somebody waits for what comes of it.
    pub(crate) fn seal<E: Event>(self, event: Arc<E>, deadline: Option<Instant>) -> Envelope {
        let clock = &self.router.clock;
        let timestamp = clock.now();
        let id = clock.event_id_at(timestamp);
        let (hops, causation_id) = self.parent.as_ref().map_or((0, None), |p| (p.hops, Some(p.id)));
        let metadata = self.metadata(id, deadline);
        let source = self.source;
        let ttl = self.extras.and_then(|extras| extras.ttl);
        let expires_at = ttl.map(|ttl| Instant::now() + ttl);
        let label = Label { id, metadata, causation_id, source, timestamp, hops, expires_at };
        Envelope::new(event, label)
    }

    /// The parent's metadata when nothing changes, else a changed copy.
    fn metadata(&self, id: EventId, deadline: Option<Instant>) -> Arc<Metadata> {
        let mut metadata = match &self.parent {
            Some(parent) if self.extras.is_none() && deadline.is_none() => {
                return Arc::clone(&parent.metadata);
            }
            Some(parent) => Metadata::clone(&parent.metadata),
            None => {
                let trace_id = self.extras.as_ref().and_then(|extras| extras.trace_id);
                Metadata {
                    trace_id: trace_id.unwrap_or_else(|| self.router.clock.trace_id()),
                    correlation_id: id,
                    identity: None,
                    tenant: None,
                    headers: [].into(),
                    deadline: None,
                }
            }
        };
        metadata.deadline = deadline.or(metadata.deadline);
        if let Some(extras) = self.extras.as_deref() {
            metadata.identity = extras.identity.clone().or(metadata.identity);
            metadata.tenant = extras.tenant.clone().or(metadata.tenant);
            metadata.headers.extend(extras.headers.iter().cloned());
        }
        Arc::new(metadata)
    }
}

/// The setters that publishing and requesting share.
macro_rules! address_setters {
    () => {
        /// Continues the trace of a caller outside. Within a handler the chain's own trace stays.
        pub fn trace_id(mut self, trace_id: $crate::event::TraceId) -> Self {
            self.address = self.address.with_trace_id(trace_id);
            self
        }

        /// Says on whose behalf, as the server established it.
        pub fn identity(mut self, identity: $crate::envelope::Identity) -> Self {
            self.address = self.address.with_identity(identity);
            self
        }

        /// Says for which customer of the application.
        pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
            self.address = self.address.with_tenant(tenant.into());
            self
        }

        /// Adds a header that travels through the whole chain.
        pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.address = self.address.with_header(name.into(), value.into());
            self
        }

        /// Says who publishes, for the event log.
        pub fn source(mut self, source: impl Into<std::sync::Arc<str>>) -> Self {
            self.address = self.address.with_source(source.into());
            self
        }
    };
}
pub(crate) use address_setters;

impl Address {
    pub(crate) fn with_trace_id(mut self, trace_id: TraceId) -> Self {
        if self.parent.is_none() {
            self.extras().trace_id = Some(trace_id);
        }
        self
    }

    pub(crate) fn with_identity(mut self, identity: Identity) -> Self {
        self.extras().identity = Some(identity);
        self
    }

    pub(crate) fn with_tenant(mut self, tenant: String) -> Self {
        self.extras().tenant = Some(tenant);
        self
    }

    pub(crate) fn with_header(mut self, name: String, value: String) -> Self {
        self.extras().headers.push((name, value));
        self
    }

    /// The trace in which it will be published, fixed from now on.
    #[cfg(feature = "testing")]
    pub(crate) fn fix_trace_id(&mut self) -> TraceId {
        let router = Arc::clone(&self.router);
        *self.extras().trace_id.get_or_insert_with(|| router.clock.trace_id())
    }

    pub(crate) fn with_source(mut self, source: Arc<str>) -> Self {
        self.source = source;
        self
    }
}

impl<E: Event> Publish<E> {
    pub(crate) fn new(address: Address, event: E) -> Self {
        Self { event: Arc::new(event), address }
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
        let router = Arc::clone(self.address.router());
        let (parcel, origin) = self.into_parcel();
        router.try_publish(&parcel, origin).map(drop)
    }

    /// Publishes; `chain` is told when all that followed has ended.
    pub(crate) async fn tracked(
        self,
        track: impl FnOnce(&Router, &Envelope) -> Arc<Chain>,
    ) -> Result<(), PublishError> {
        let router = Arc::clone(self.address.router());
        let origin = self.address.origin();
        let (mut parcel, _) = self.into_parcel();
        parcel.chain = Some(track(&router, &parcel.envelope));
        router.publish(parcel, origin).await.map(drop)
    }

    fn into_parcel(self) -> (Parcel, Origin) {
        let origin = self.address.origin();
        let envelope = self.address.seal(self.event, None);
        (Parcel::new(envelope, None), origin)
    }
}

impl<E: Event> IntoFuture for Publish<E> {
    type Output = Result<(), PublishError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let router = Arc::clone(self.address.router());
        let (parcel, origin) = self.into_parcel();
        Box::pin(async move { router.publish(parcel, origin).await.map(drop) })
    }
}
