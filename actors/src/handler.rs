//! Both forms of a handler: the short `EventHandler`, and any actix actor that handles `Delivery`.
//! The short form is built on the full one.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Context, Handler, Message};
use futures_util::FutureExt;

use crate::context::{EventContext, Within};
use crate::envelope::{Envelope, Shared};
use crate::error::{HandlerError, HandlerResult, panic_text};
use crate::event::Event;
use crate::output::Output;
use crate::policy::Policy;

/// What a handler takes: an [`Event`], or any event at all, as an [`Envelope`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "this type has no event name",
    note = "add: impl Event for {Self} {{ const NAME: &'static str = \"domain.verb\"; }}",
    note = "an event also derives Clone, Serialize, Deserialize and JsonSchema"
)]
pub trait Input: Send + Sync + 'static {
    /// How it is kept beyond the call of a handler: [`Shared`] for an event.
    type Held: Deref<Target = Self> + Clone + Send + Sync + 'static;

    #[doc(hidden)]
    fn of(envelope: &Envelope) -> Option<&Self>;

    #[doc(hidden)]
    fn hold(envelope: &Envelope) -> Option<Self::Held>;
}

#[diagnostic::do_not_recommend]
impl<E: Event> Input for E {
    type Held = Shared<E>;

    fn of(envelope: &Envelope) -> Option<&Self> {
        envelope.event()
    }

    fn hold(envelope: &Envelope) -> Option<Shared<E>> {
        envelope.shared()
    }
}

impl Input for Envelope {
    type Held = Box<Self>;

    fn of(envelope: &Envelope) -> Option<&Self> {
        Some(envelope)
    }

    fn hold(envelope: &Envelope) -> Option<Box<Self>> {
        Some(Box::new(envelope.clone()))
    }
}

/// The short form of a handler: one event in, some events out.
///
/// The value is a prototype: its fields are its dependencies, and each (re)started actor works on a
/// clone of it, as does the one on each worker thread
/// ([`Instances::PerWorker`](crate::Instances::PerWorker)): what they are to share stands behind an
/// `Arc`. Deliveries run concurrently, 64 at once by default; say
/// `Policy::default().concurrency(1)` where their order matters.
///
/// ```
/// use callboard_actors::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
/// # pub struct Ping {}
/// # impl Event for Ping { const NAME: &'static str = "net.ping"; }
/// # #[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
/// # pub struct Pong { attempt: u32 }
/// # impl Event for Pong { const NAME: &'static str = "net.pong"; }
/// #[derive(Clone)]
/// struct Answer;
///
/// impl EventHandler for Answer {
///     type Input = Ping;
///     type Output = Pong;
///
///     async fn handle(&self, _: &Ping, ctx: &EventContext) -> HandlerResult<Pong> {
///         Ok(Pong { attempt: ctx.attempt() })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "this type does not implement `EventHandler`",
    note = "add: impl EventHandler for {Self} {{ type Input = ..; type Output = ..; async fn handle(&self, event: &Self::Input, ctx: &EventContext) -> HandlerResult<Self::Output> {{ .. }} }}",
    note = "an actix actor is mounted with `.actor(Subscriber::new(factory).on::<Event, Output>())`"
)]
pub trait EventHandler: Clone + Send + 'static {
    /// The event it subscribes to; an [`Envelope`] when it subscribes to a pattern, with
    /// [`Domain::handler_on`](crate::Domain::handler_on).
    type Input: Input;
    /// What it publishes.
    type Output: Output;

    /// Handles one event.
    ///
    /// # Cancel safety
    /// At the timeout of the policy, or when the requester's time is over, the future is dropped at
    /// the `.await` where it stands.
    fn handle(
        &self,
        event: &Self::Input,
        ctx: &EventContext,
    ) -> impl Future<Output = HandlerResult<Self::Output>>;

    /// Answers in its place when it could not: after the last attempt, while the breaker is open, or
    /// when the bulkhead is full. Default: the error stays.
    ///
    /// It works on a clone of the prototype, beside the actor, and within the same timeout.
    ///
    /// # Errors
    /// What it returns is what the delivery fails with.
    fn fallback(
        &self,
        event: &Self::Input,
        error: HandlerError,
        ctx: &EventContext,
    ) -> impl Future<Output = HandlerResult<Self::Output>> {
        let _ = (event, ctx);
        async move { Err(error) }
    }

    /// How its deliveries behave.
    fn policy(&self) -> Policy {
        Policy::default()
    }
}

/// An event as it arrives at an actix actor: the message type of the full form.
///
/// It dereferences to the event. `O` is what the handler puts out.
pub struct Delivery<E: Input, O = ()> {
    event: E::Held,
    context: EventContext,
    output: PhantomData<fn() -> O>,
}

impl<E: Input, O: Output> Delivery<E, O> {
    pub(crate) fn new(event: E::Held, context: EventContext) -> Self {
        Self { event, context, output: PhantomData }
    }

    /// The event; its clones share it.
    pub fn event(&self) -> &E::Held {
        &self.event
    }

    /// The context.
    pub fn context(&self) -> &EventContext {
        &self.context
    }

    /// The event and the context, to be moved into a future.
    pub fn into_parts(self) -> (E::Held, EventContext) {
        (self.event, self.context)
    }
}

impl<E: Input, O> fmt::Debug for Delivery<E, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.context).finish()
    }
}

impl<E: Input, O> Deref for Delivery<E, O> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.event
    }
}

impl<E: Input, O: Output> Message for Delivery<E, O> {
    type Result = HandlerResult<O>;
}

/// The `Handler::Result` of an actor whose handler waits: unlike actix's own `ResponseFuture` it is
/// dropped when the delivery is cancelled, and a panic in it arrives as an error.
pub struct HandlerFuture<O>(Pin<Box<dyn Future<Output = HandlerResult<O>>>>);

impl<O: 'static> HandlerFuture<O> {
    /// Wraps a future. It runs on the actor's thread, and beside the actor: it cannot use `&mut
    /// self`.
    pub fn new(future: impl Future<Output = HandlerResult<O>> + 'static) -> Self {
        let caught = AssertUnwindSafe(future).catch_unwind();
        Self(Box::pin(caught.map(|result| {
            result.unwrap_or_else(|panic| Err(HandlerError::panic(panic_text(&*panic))))
        })))
    }
}

impl<A, M, O> MessageResponse<A, M> for HandlerFuture<O>
where
    A: Actor,
    M: Message<Result = HandlerResult<O>>,
    O: 'static,
{
    fn handle(mut self, _: &mut A::Context, reply: Option<OneshotSender<HandlerResult<O>>>) {
        let Some(mut reply) = reply else { return };
        // Most futures are ready at once; only one that waits is worth a task of its own. That task
        // polls it again, so the waker of this first poll need not be a real one.
        match self.0.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
            Poll::Ready(result) => drop(reply.send(result)),
            Poll::Pending => {
                actix_rt::spawn(async move {
                    tokio::select! {
                        () = reply.closed() => {}
                        result = self.0 => drop(reply.send(result)),
                    }
                });
            }
        }
    }
}

/// The value that a short-form handler's actor works with, on the thread where it lives.
pub(crate) type Resident = Rc<dyn Any>;

/// The actor around a short-form handler.
pub(crate) struct Shell<H> {
    handler: Rc<H>,
}

impl<H: EventHandler> Shell<H> {
    pub(crate) fn new(handler: H) -> Self {
        Self { handler: Rc::new(handler) }
    }
}

impl<H> Shell<H> {
    /// The handler itself.
    pub(crate) fn handler(&self) -> Rc<H> {
        Rc::clone(&self.handler)
    }
}

impl<H: EventHandler> Actor for Shell<H> {
    type Context = Context<Self>;
}

impl<H: EventHandler> Handler<Delivery<H::Input, H::Output>> for Shell<H> {
    type Result = HandlerFuture<H::Output>;

    fn handle(
        &mut self,
        delivery: Delivery<H::Input, H::Output>,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let handler = Rc::clone(&self.handler);
        let (event, ctx) = delivery.into_parts();
        let span = ctx.span();
        let work = async move { handler.handle(&event, &ctx).await };
        HandlerFuture::new(Within::new(span, work))
    }
}
