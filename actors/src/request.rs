//! The builder behind `bus.request(event)`: publishes the event with a reply slot and waits for the
//! first of reply, error, end of the chain, timeout and shutdown.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix::{Message, Recipient};
use tokio::sync::oneshot;
use tokio::task::coop::poll_proceed;
use tokio::time::{Instant, Timeout, timeout_at};

use crate::chain::{Answer, Asker, Parcel};
use crate::clock::secs;
use crate::envelope::Envelope;
use crate::error::RequestError;
use crate::event::{Event, Replies, TraceId};
use crate::publish::{Address, address_setters};
use crate::router::{Published, WhenFull};

/// A request about to be made: `.await` it for the reply `R`.
///
/// # Cancel safety
/// Dropped while it waits, the reply is lost to the requester; the handlers go on.
#[must_use = "nothing is requested until it is awaited"]
pub struct Request<E, R> {
    event: E,
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
        self.into_future().reply_to(address);
    }

    /// Waits for the reply as an envelope, with its identifiers and context.
    ///
    /// # Errors
    /// As for awaiting the request itself.
    pub async fn envelope(self) -> Result<Envelope, RequestError> {
        let mut asking = Asking::Begun(self);
        poll_fn(|cx| asking.poll(cx)).await
    }

    /// Publishes the event; the reply may be there at once.
    fn begin(self, cx: &mut Context<'_>) -> Result<Envelope, Unanswered> {
        let Self { event, address, timeout, waits_for_room, .. } = self;
        let router = address.router();
        let now = Instant::now();
        let timeout = timeout.unwrap_or(router.limits.request_timeout);
        let patience = address.patience(timeout.min(TIMEOUT_MAX), now);
        let deadline = now + patience;
        let origin = address.origin();
        let (publisher, envelope) = address.seal(event, Some(deadline));
        let router = &publisher.router;
        router.totals.requested.fetch_add(1, Relaxed);
        let (event, trace_id) = (E::NAME, envelope.trace_id());

        let mut asker = Asker {
            requested: event,
            wanted: R::NAME,
            trace_id,
            asked_at: now,
            patience,
            phase: &router.phase,
            refused: None,
            reply: None,
            answer: None,
        };
        let parcel = Parcel::new(envelope, None);
        let when_full = if waits_for_room { WhenFull::Wait } else { WhenFull::Refuse };
        let reach = router.publish_now(parcel, origin, Some(&mut asker), when_full, cx);
        let refused = move |refused| RequestError::not_accepted(refused, trace_id);
        let reach = reach.map_err(refused)?;
        if let Some(refused) = asker.refused {
            return Err(refused.into());
        }
        if let Some(reply) = asker.reply {
            return Ok(reply);
        }
        let Some(reply) = asker.answer else {
            return Err(RequestError::NoHandler { event, trace_id }.into());
        };
        let terms = Terms { event, trace_id, patience };
        let waiting = match reach {
            Published::To(reached) => {
                Waiting { reply: Box::pin(timeout_at(deadline, reply)), reached, terms }
            }
            Published::Partly(rest) => {
                let exchange = async move {
                    let reached = publisher.router.publish_rest(rest).await.map_err(refused)?;
                    terms.settle(reply.await.ok(), reached)
                };
                let exchange = async move {
                    timeout_at(deadline, exchange).await.unwrap_or(Err(terms.late()))
                };
                return Err(Unanswered::Queues(Box::pin(exchange)));
            }
        };
        Err(Unanswered::Waits(waiting))
    }
}

/// A request that has no reply yet.
enum Unanswered {
    Waits(Waiting),
    Queues(Exchange),
    Failed(RequestError),
}

type Exchange = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl From<RequestError> for Unanswered {
    fn from(error: RequestError) -> Self {
        Self::Failed(error)
    }
}

/// What a requester is told when there is no reply.
#[derive(Clone, Copy)]
struct Terms {
    event: &'static str,
    trace_id: TraceId,
    patience: Duration,
}

impl Terms {
    /// The slot is filled before its last holder goes, unless the runtime ends.
    fn settle(self, answer: Option<Answer>, reached: usize) -> Answer {
        let Self { event, trace_id, .. } = self;
        match answer.unwrap_or(Err(RequestError::Shutdown { event, trace_id })) {
            Err(RequestError::NoReply { .. }) if reached == 0 => {
                Err(RequestError::NoHandler { event, trace_id })
            }
            answer => answer,
        }
    }

    fn late(self) -> RequestError {
        let Self { event, trace_id, patience } = self;
        RequestError::Timeout { event, after: patience, trace_id }
    }
}

/// A request that has reached its handlers. It is written by hand, because many wait at once.
struct Waiting {
    reply: Pin<Box<Timeout<oneshot::Receiver<Answer>>>>,
    reached: usize,
    terms: Terms,
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Self { reply, reached, terms } = self;
        Poll::Ready(match ready!(reply.as_mut().poll(cx)) {
            Ok(answer) => terms.settle(answer.ok(), *reached),
            Err(_) => Err(terms.late()),
        })
    }
}

/// A request on its way to a reply in its envelope.
enum Asking<E, R> {
    Begun(Request<E, R>),
    Waits(Waiting),
    Queues(Exchange),
    Ended,
}

impl<E: Event, R: Event> Asking<E, R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        if let Self::Begun(_) = self {
            ready!(poll_proceed(cx)).made_progress();
            if let Self::Begun(request) = mem::replace(self, Self::Ended) {
                *self = match request.begin(cx) {
                    Ok(reply) => return Poll::Ready(Ok(reply)),
                    Err(Unanswered::Failed(error)) => return Poll::Ready(Err(error)),
                    Err(Unanswered::Waits(waiting)) => Self::Waits(waiting),
                    Err(Unanswered::Queues(exchange)) => Self::Queues(exchange),
                };
            }
        }
        match self {
            Self::Waits(waiting) => waiting.poll(cx),
            Self::Queues(exchange) => exchange.as_mut().poll(cx),
            Self::Begun(_) | Self::Ended => panic!("a request was polled after it had ended"),
        }
    }
}

/// The future of a [`Request`].
///
/// Its first poll uses up some of the budget that tokio gives each task, so that a loop of requests
/// leaves other tasks their turns.
#[must_use = "nothing is requested until it is polled"]
pub struct Requesting<E, R> {
    asking: Asking<E, R>,
}

// The event is never pinned: it is moved into its envelope.
impl<E, R> Unpin for Request<E, R> {}
impl<E, R> Unpin for Requesting<E, R> {}

impl<E: Event, R: Event> Requesting<E, R> {
    /// As [`Request::reply_to`], of a request that may have been polled already.
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
}

impl<E: Event, R: Event> IntoFuture for Request<E, R> {
    type Output = Result<R, RequestError>;
    type IntoFuture = Requesting<E, R>;

    fn into_future(self) -> Requesting<E, R> {
        Requesting { asking: Asking::Begun(self) }
    }
}

impl<E: Event, R: Event> Future for Requesting<E, R> {
    type Output = Result<R, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let envelope = ready!(self.asking.poll(cx))?;
        let (event, trace_id) = (envelope.name(), envelope.trace_id());
        let clash = RequestError::TypeClash { event, registered: "another type", trace_id };
        Poll::Ready(envelope.into_event().ok_or(clash))
    }
}
