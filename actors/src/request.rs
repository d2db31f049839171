//! The builder behind `bus.request(event)`: publishes the event with a reply slot and waits for the
//! first of reply, error, end of the chain, timeout and shutdown.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix::{Message, Recipient};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::chain::{Answer, Chain, ChainPlan, Parcel};
use crate::clock::secs;
use crate::envelope::Envelope;
use crate::error::RequestError;
use crate::event::{Event, Replies, TraceId};
use crate::publish::{Address, address_setters};
use crate::router::Router;

/// A request about to be made: `.await` it for the reply `R`.
///
/// # Cancel safety
/// Dropped while it waits, the reply is lost to the requester; the handlers go on.
#[must_use = "nothing is requested until it is awaited"]
pub struct Request<E, R> {
    event: Arc<E>,
    address: Address,
    timeout: Option<Duration>,
    waits_for_room: bool,
    reply: PhantomData<fn() -> R>,
}

/// Longer waits are cut to this: a point in time further off cannot be computed.
const TIMEOUT_MAX: Duration = secs(365 * 24 * 60 * 60);

/// The outcome of a request, as it arrives at an actor's address.
#[derive(Debug)]
pub struct Reply<R>(pub Result<R, RequestError>);

impl<R: 'static> Message for Reply<R> {
    type Result = ();
}

impl<E: Replies> Request<E, E::Reply> {
    pub(crate) fn new(address: Address, event: E) -> Self {
        let event = Arc::new(event);
        Self { event, address, timeout: None, waits_for_room: true, reply: PhantomData }
    }
}

impl<E: Event, R: Event> Request<E, R> {
    address_setters!();

    #[cfg(feature = "testing")]
    pub(crate) fn address_mut(&mut self) -> &mut Address {
        &mut self.address
    }

    /// Waits at most so long. Default: the runtime's request timeout, 30 s. Within a handler never
    /// longer than what is left of the chain's own deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits for another event than the declared reply, from anywhere later in the chain.
    pub fn until<L: Event>(self) -> Request<E, L> {
        let Self { event, address, timeout, waits_for_room, .. } = self;
        Request { event, address, timeout, waits_for_room, reply: PhantomData }
    }

    /// Fails with [`RequestError::Full`] where it would have to wait for room in a queue: what an
    /// edge does, so that its clients learn of the load at once.
    pub fn no_wait(mut self) -> Self {
        self.waits_for_room = false;
        self
    }

    /// Sends the outcome to an actor, whenever it comes, and returns at once.
    ///
    /// # Panics
    /// Outside an actix system.
    pub fn reply_to(self, address: Recipient<Reply<R>>)
    where
        R: Send,
    {
        actix_rt::spawn(async move {
            let outcome = self.await;
            // An actor that is gone wants no reply.
            let _ = address.send(Reply(outcome)).await;
        });
    }

    /// Waits for the reply as an envelope, with its identifiers and context.
    ///
    /// # Errors
    /// As for awaiting the request itself.
    pub async fn envelope(self) -> Result<Envelope, RequestError> {
        let router = Arc::clone(self.address.router());
        let timeout = self.timeout.unwrap_or(router.limits.request_timeout);
        let (origin, waits_for_room) = (self.address.origin(), self.waits_for_room);
        let patience = self.address.patience(timeout.min(TIMEOUT_MAX));
        let deadline = Instant::now() + patience;
        let envelope = self.address.seal(self.event, Some(deadline));
        router.totals.requested.fetch_add(1, Relaxed);
        let (event, trace_id) = (E::NAME, envelope.trace_id());
        check_responders(&router, event, R::NAME, trace_id)?;

        let (reply_to, reply) = oneshot::channel();
        let chain = {
            let phase = Arc::clone(&router.phase);
            let (requested, wanted) = (event, Some(R::NAME));
            let plan = ChainPlan { requested, wanted, trace_id, patience, phase };
            // A requester that no longer waits has dropped its receiver.
            Chain::new(plan, Box::new(move |answer: Answer| drop(reply_to.send(answer))))
        };
        let parcel = Parcel::new(envelope, Some(chain));
        let exchange = async {
            let refused = |refused| RequestError::not_accepted(refused, trace_id);
            let reached = if waits_for_room {
                router.publish(parcel, origin).await.map_err(refused)?
            } else {
                // The chain ends with the last parcel, and this one goes with its block.
                let parcel = parcel;
                router.try_publish(&parcel, origin).map_err(refused)?
            };
            // The slot is filled before its last holder goes.
            match reply.await.unwrap_or(Err(RequestError::Shutdown { event, trace_id })) {
                Err(RequestError::NoReply { .. }) if reached == 0 => {
                    Err(RequestError::NoHandler { event, trace_id })
                }
                answer => answer,
            }
        };
        match timeout_at(deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(RequestError::Timeout { event, after: patience, trace_id }),
        }
    }
}

impl<E: Event, R: Event> IntoFuture for Request<E, R> {
    type Output = Result<R, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let envelope = self.envelope().await?;
            let name = envelope.name();
            let trace_id = envelope.trace_id();
            let reply = envelope.event::<R>().ok_or(RequestError::TypeClash {
                event: name,
                registered: "another type",
                trace_id,
            })?;
            drop(envelope);
            Ok(Arc::unwrap_or_clone(reply))
        })
    }
}

fn check_responders(
    router: &Router,
    event: &'static str,
    wanted: &'static str,
    trace_id: TraceId,
) -> Result<(), RequestError> {
    let Some(route) = router.table().route(event) else {
        return Err(RequestError::NoHandler { event, trace_id });
    };
    if let Some((_, handlers)) = route.competing.iter().find(|(output, _)| *output == wanted) {
        let handlers = handlers.clone();
        return Err(RequestError::Ambiguous { event, handlers, trace_id });
    }
    Ok(())
}
