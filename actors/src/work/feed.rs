//! How the events of one type reach an actor, and what is done in its place when it cannot.

use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, MailboxError};
use futures_util::FutureExt;
use parking_lot::Mutex;

use crate::context::{Ended, EventContext, Outbox, Scope, Within};
use crate::envelope::Envelope;
use crate::error::{HandlerError, HandlerResult, panic_text};
use crate::event::{Event, EventType};
use crate::handler::{Delivery, EventHandler, Input, Resident};
use crate::metrics::HandlerStatus;
use crate::output::Output;
use crate::pattern::Pattern;
use crate::upkeep::Upkeep;

/// How events of one type, or of all names that match a pattern, reach an actor of type `A`.
pub(crate) struct Feed<A: Actor> {
    pub(crate) takes: Takes,
    pub(crate) send: Hand<A>,
    /// Calls a short-form handler where it lives, without a way through the mailbox of its actor.
    pub(crate) direct: Option<Direct>,
    pub(crate) fallback: Option<Box<Fallback>>,
}

/// Gives an actor an event, at once where its upkeep is at hand.
type Hand<A> = fn(&Addr<A>, Option<&Upkeep<HandlerStatus>>, Envelope, Scope) -> Sending;

type Direct = fn(Resident, EventContext) -> Sending;

/// Which events a feed takes.
pub(crate) enum Takes {
    Events(EventType),
    Matching(Pattern),
}

/// A call of the handler; gives what the handler put out.
pub(crate) type Sending = Pin<Box<dyn Future<Output = Sent>>>;

type Sent = Result<Outbox, SendError>;

/// Answers in the handler's place, to the error with which it failed.
pub(crate) type Fallback = dyn Fn(EventContext, HandlerError) -> FallingBack + Send + Sync;

pub(crate) type FallingBack = Pin<Box<dyn Future<Output = HandlerResult<Outbox>>>>;

/// Why a message brought no success.
pub(crate) enum SendError {
    Handler(HandlerError),
    /// The actor did not answer: it ended, or dropped the answer.
    Lost,
}

impl Ended for Result<Outbox, SendError> {
    fn failure(&self) -> Option<&str> {
        match self {
            Ok(_) => None,
            Err(SendError::Handler(error)) => Some(error.error_code()),
            Err(SendError::Lost) => Some("lost"),
        }
    }
}

impl<A: Actor<Context = Context<A>>> Feed<A> {
    pub(crate) fn of<E: Event, O: Output>() -> Self
    where
        A: Handler<Delivery<E, O>>,
    {
        Self::new::<E, O>(Takes::Events(EventType::of::<E>()))
    }

    pub(crate) fn matching<O: Output>(pattern: Pattern) -> Self
    where
        A: Handler<Delivery<Envelope, O>>,
    {
        Self::new::<Envelope, O>(Takes::Matching(pattern))
    }

    fn new<I: Input, O: Output>(takes: Takes) -> Self
    where
        A: Handler<Delivery<I, O>>,
    {
        Self { takes, send: send::<A, I, O>, direct: None, fallback: None }
    }

    /// Calls the handler itself, where it lives on the thread of its host.
    pub(crate) fn call_directly<H: EventHandler>(&mut self) {
        self.direct = Some(|resident, ctx| Box::pin(call::<H>(resident, ctx)));
    }

    /// Answers by this function when the actor could not.
    pub(crate) fn fall_back_to<I: Input, O: Output>(
        &mut self,
        fallback: impl AsyncFn(&I, HandlerError, &EventContext) -> HandlerResult<O>
        + Send
        + Sync
        + 'static,
    ) {
        let fallback = Arc::new(fallback);
        self.fallback = Some(Box::new(move |ctx, error| {
            let fallback = Arc::clone(&fallback);
            Box::pin(async move {
                let Some(event) = I::of(ctx.envelope()) else { return Err(error) };
                fallback(event, error, &ctx).await?.publish(&ctx);
                Ok(ctx.seal())
            })
        }));
    }

    /// Answers by the handler's own fallback, of a clone.
    pub(crate) fn fall_back_to_handler<H: EventHandler>(&mut self, prototype: H) {
        // Behind a lock, because a handler need not be `Sync`.
        let prototype = Mutex::new(prototype);
        self.fallback = Some(Box::new(move |ctx, error| {
            let handler = prototype.lock().clone();
            Box::pin(async move {
                let Some(event) = H::Input::of(ctx.envelope()) else { return Err(error) };
                handler.fallback(event, error, &ctx).await?.publish(&ctx);
                Ok(ctx.seal())
            })
        }));
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        match &self.takes {
            Takes::Events(event) => event.name == name,
            Takes::Matching(pattern) => pattern.matches(name),
        }
    }
}

async fn call<H: EventHandler>(resident: Resident, ctx: EventContext) -> Result<Outbox, SendError> {
    // The router has checked the type under this name, and a handler's host knows its type.
    let handler = resident.downcast_ref::<H>().ok_or(SendError::Lost)?;
    let event = H::Input::of(ctx.envelope()).ok_or(SendError::Lost)?;
    let result = {
        let work = AssertUnwindSafe(async {
            handler.handle(event, &ctx).await?.publish(&ctx);
            Ok(())
        });
        let span = ctx.span();
        let work = work.catch_unwind();
        if span.is_disabled() { work.await } else { Within::new(span, work).await }
    };
    match result {
        Ok(Ok(())) => Ok(ctx.into_outbox()),
        Ok(Err(error)) => Err(SendError::Handler(error)),
        Err(panic) => Err(SendError::Handler(HandlerError::panic(panic_text(&*panic)))),
    }
}

/// Gives the actor the event. On its own thread the actor handles it at once.
fn send<A, I, O>(
    addr: &Addr<A>,
    upkeep: Option<&Upkeep<HandlerStatus>>,
    envelope: Envelope,
    scope: Scope,
) -> Sending
where
    A: Actor<Context = Context<A>> + Handler<Delivery<I, O>>,
    I: Input,
    O: Output,
{
    // The router has checked the type under this name.
    let Some(event) = I::hold(&envelope) else { return Box::pin(ready(Err(SendError::Lost))) };
    // The actor may keep its context, also when nobody waits for it any more.
    let scope = SealedAtLast(Arc::new(scope));
    let ctx = EventContext::shared(envelope.clone(), Arc::clone(&scope.0));
    let answer = {
        let _visit = upkeep.and_then(Upkeep::visit);
        addr.send(Delivery::<I, O>::new(event, ctx))
    };
    Box::pin(async move { settle(answer.await, envelope, &scope) })
}

fn settle<O: Output>(
    answer: Result<HandlerResult<O>, MailboxError>,
    envelope: Envelope,
    scope: &SealedAtLast,
) -> Sent {
    match answer {
        Ok(Ok(output)) => {
            let ctx = EventContext::shared(envelope, Arc::clone(&scope.0));
            // An event's own key is what a user wrote.
            catch_unwind(AssertUnwindSafe(|| output.publish(&ctx)))
                .map_err(|panic| HandlerError::panic(panic_text(&*panic)))
                .map_err(SendError::Handler)?;
            Ok(ctx.seal())
        }
        Ok(Err(error)) => Err(SendError::Handler(error)),
        Err(MailboxError::Closed | MailboxError::Timeout) => Err(SendError::Lost),
    }
}

/// A scope into which nothing can be put any more when this is dropped.
struct SealedAtLast(Arc<Scope>);

impl Drop for SealedAtLast {
    fn drop(&mut self) {
        self.0.seal();
    }
}
