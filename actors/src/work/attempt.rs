//! One attempt: on an instance that is alive, within its time, through the layers around it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use actix::{Actor, Context};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::time::timeout;

use crate::chain::Parcel;
use crate::context::{EventContext, Outbox, Scope, Within, recorded_span, span};
use crate::crew::Turn;
use crate::error::{ErrorKind, HandlerError, HandlerResult, panic_text};
use crate::instance::Life;
use crate::layer::breaker::Verdict;
use crate::layer::{LayerFuture, Next};
use crate::seat::{Watch, Watched};
use crate::supervisor::End;
use crate::work::feed::Sending;
use crate::work::gates::{Pass, verdict_on};
use crate::work::{Feed, SendError, Work, caught};

/// A handler that was called.
pub(crate) struct Call<A: Actor> {
    pub(crate) turn: Turn<A>,
    pub(crate) life: Rc<Life<A>>,
    pub(crate) sending: Sending,
    pub(crate) watched: Watched,
    pub(crate) attempt: u32,
}

impl<A: Actor<Context = Context<A>>> Work<A> {
    /// One attempt, which is counted when the handler is called.
    pub(crate) async fn attempt(
        &self,
        parcel: &Parcel,
        attempts: &Cell<u32>,
    ) -> HandlerResult<Outbox> {
        // As a rule there is nothing to wait for; what waits is boxed, so that the others stay small.
        let turn = if let Some(turn) = self.crew.try_turn() {
            turn
        } else {
            let mut turn = Box::pin(async { Ok(self.crew.turn().await) });
            Box::pin(in_time(parcel, turn.as_mut())).await?
        };
        // Who is held back keeps no room that others share, and meets the actor of afterwards.
        let pass = match &self.seat.circuit {
            None => Pass::without_breaker(&self.seat),
            Some(circuit) => Box::pin(self.pass_breaker(parcel, circuit)).await?,
        };
        let _room = match &self.seat.policy.bulkhead {
            None => None,
            Some(bulkhead) => {
                let mut room = Box::pin(async {
                    bulkhead.enter().await.ok_or_else(HandlerError::bulkhead_full)
                });
                Some(Box::pin(in_time(parcel, room.as_mut())).await?)
            }
        };
        let life = if let Some(life) = turn.instance().life_now() {
            life
        } else {
            let mut life = Box::pin(async {
                turn.instance().life().await.ok_or_else(HandlerError::unavailable)
            });
            Box::pin(in_time(parcel, life.as_mut())).await?
        };

        let (left, limit) = (parcel.envelope.metadata().remaining(), self.seat.rules.timeout);
        if left.is_some_and(|left| left.is_zero()) {
            return Err(HandlerError::deadline());
        }
        attempts.set(attempts.get() + 1);
        let result = if self.seat.policy.around_attempt.is_empty() {
            let (feed, attempt) = (self.feed(parcel), attempts.get());
            let feed = feed.ok_or_else(HandlerError::unavailable)?;
            let watched = self.watch(parcel, attempt);
            let sending = self.send(parcel, feed, &turn, &life, attempt);
            self.finish(parcel, Call { turn, life, sending, watched, attempt }).await
        } else {
            self.call_layered(parcel, turn, &life, attempts.get()).await
        };
        pass.settle(match &result {
            Ok(_) => Verdict::Success,
            // A requester who leaves early says nothing about the handler.
            Err(error) if error.kind() == ErrorKind::Deadline => match left {
                Some(left) if left * 2 < limit => Verdict::Neutral,
                _ => Verdict::Failure,
            },
            Err(error) => verdict_on(error),
        });
        result
    }

    /// Has an eye on an attempt for as long as it takes.
    pub(crate) fn watch(&self, parcel: &Parcel, attempt: u32) -> Watched {
        Watch::begin(&self.seat, &parcel.envelope, attempt)
    }

    /// Waits for what comes of a call, within its time.
    pub(crate) async fn finish(&self, parcel: &Parcel, call: Call<A>) -> HandlerResult<Outbox> {
        let Call { turn, life, sending, watched, attempt } = call;
        let work =
            sending.map(|result| result.map_err(|error| self.judge(parcel, &life, attempt, error)));
        let result = self.in_its_time(parcel, &life, pin!(work)).await;
        self.leave(turn, watched, result)
    }

    /// Calls the handler.
    pub(crate) fn send(
        &self,
        parcel: &Parcel,
        feed: &Feed<A>,
        turn: &Turn<A>,
        life: &Life<A>,
        attempt: u32,
    ) -> Sending {
        let (envelope, scope) = (parcel.envelope.clone(), Scope::new(&self.publisher, attempt));
        match (turn.instance().resident(), feed.direct) {
            (Some(resident), Some(direct)) => direct(resident, EventContext::new(envelope, scope)),
            // The actor around a short-form handler makes the span itself.
            (_, Some(_)) => (feed.send)(&life.addr, None, envelope, scope),
            (_, None) => {
                let upkeep = turn.instance().is_here().then(|| &self.upkeep[turn.place()]);
                let span = if upkeep.is_some() { span } else { recorded_span };
                let span = span(&envelope, &scope);
                let sending = span.in_scope(|| (feed.send)(&life.addr, upkeep, envelope, scope));
                if span.is_disabled() { sending } else { Box::pin(Within::new(span, sending)) }
            }
        }
    }

    /// Calls the handler through the layers around it.
    async fn call_layered(
        &self,
        parcel: &Parcel,
        turn: Turn<A>,
        life: &Life<A>,
        attempt: u32,
    ) -> HandlerResult<Outbox> {
        let (inbound, outputs) = (self.inbound(parcel, attempt), RefCell::new(Outbox::new()));
        let inmost = || -> LayerFuture<'_> {
            Box::pin(async {
                let feed = self.feed(parcel).ok_or_else(HandlerError::unavailable)?;
                let sent = self.send(parcel, feed, &turn, life, attempt).await;
                let put_out = sent.map_err(|error| self.judge(parcel, life, attempt, error))?;
                outputs.borrow_mut().extend(put_out);
                Ok(())
            })
        };
        let next = Next {
            inbound: &inbound,
            rest: &self.seat.policy.around_attempt,
            inmost: &inmost,
            #[cfg(feature = "testing")]
            condemn: &|panic| life.condemn(panic.to_owned()),
        };
        let watched = self.watch(parcel, attempt);
        let result = {
            let work = pin!(async { caught(next.run()).await.map(|()| outputs.take()) });
            self.in_its_time(parcel, life, work).await
        };
        self.leave(turn, watched, result)
    }

    /// What comes of an attempt, unless its time is over first or the actor is to be rebuilt.
    async fn in_its_time(
        &self,
        parcel: &Parcel,
        life: &Life<A>,
        mut work: Pin<&mut impl Future<Output = HandlerResult<Outbox>>>,
    ) -> Result<HandlerResult<Outbox>, HandlerError> {
        if let Poll::Ready(result) = poll_once(work.as_mut()).await {
            return Ok(result);
        }
        let (left, limit) = (parcel.envelope.metadata().remaining(), self.seat.rules.timeout);
        let recalled = pin!(life.recalled());
        match timeout(left.map_or(limit, |left| left.min(limit)), select(work, recalled)).await {
            Ok(Either::Left((result, _))) => Ok(result),
            Ok(Either::Right(_)) => Ok(Err(HandlerError::restarted())),
            Err(_) => Err(match left {
                Some(left) if left <= limit => HandlerError::deadline(),
                _ => HandlerError::timeout(limit),
            }),
        }
    }

    /// Ends an attempt. A thread that computes cannot be interrupted: after a timeout its turn ends
    /// when it is free.
    fn leave(
        &self,
        turn: Turn<A>,
        watched: Watched,
        result: Result<HandlerResult<Outbox>, HandlerError>,
    ) -> HandlerResult<Outbox> {
        if result.is_err() && self.seat.rules.blocking.is_some() {
            actix_rt::spawn(async move {
                turn.instance().thread_is_free().await;
                drop(watched);
            });
        }
        result.unwrap_or_else(Err)
    }

    /// Lets the handler's fallback answer, within the time of one attempt.
    pub(crate) async fn fall_back(
        &self,
        parcel: &Parcel,
        error: HandlerError,
        attempts: &Cell<u32>,
    ) -> HandlerResult<Outbox> {
        let Some(fallback) = self.feed(parcel).and_then(|feed| feed.fallback.as_ref()) else {
            return Err(error);
        };
        let seat = &self.seat;
        let scope = Scope::new(&self.publisher, attempts.get());
        let ctx = EventContext::new(parcel.envelope.clone(), scope);
        let work = async { fallback(ctx, error.clone()).await };
        let result = {
            let work = pin!(AssertUnwindSafe(work).catch_unwind());
            within(Some(seat.rules.timeout), work).await
        };
        match result {
            Some(Ok(Ok(outputs))) => {
                seat.counters.fallbacks.fetch_add(1, Relaxed);
                Ok(outputs)
            }
            Some(Ok(Err(final_error))) => Err(final_error),
            Some(Err(panic)) => {
                let panic = panic_text(&*panic);
                tracing::error!(handler = %seat.handler, panic, "fallback panicked");
                Err(error)
            }
            None => Err(error),
        }
    }

    pub(crate) fn feed(&self, parcel: &Parcel) -> Option<&Feed<A>> {
        self.placed_feed(parcel).map(|(_, feed)| feed)
    }

    /// The feed and its place, which is that of its event among the seat's inputs.
    pub(crate) fn placed_feed(&self, parcel: &Parcel) -> Option<(usize, &Feed<A>)> {
        let name = parcel.envelope.name();
        self.feeds.iter().enumerate().find(|(_, feed)| feed.takes(name))
    }

    /// Turns a failed message into an error, and condemns the life in which something panicked.
    pub(crate) fn judge(
        &self,
        parcel: &Parcel,
        life: &Life<A>,
        attempt: u32,
        error: SendError,
    ) -> HandlerError {
        let panic = match (error, life.end()) {
            (SendError::Handler(error), _) if error.kind() != ErrorKind::Panic => return error,
            (SendError::Handler(error), _) => error.message().to_owned(),
            (SendError::Lost, Some(End::Panicked(panic))) => panic.clone(),
            (SendError::Lost, Some(End::Recalled)) => return HandlerError::restarted(),
            (SendError::Lost, Some(End::Stopped | End::Retired)) => {
                return HandlerError::panic("the actor stopped before it answered");
            }
            (SendError::Lost, None) => {
                "the handler's future ended without an answer: it panicked".to_owned()
            }
        };
        if life.claim_log() {
            let (handler, event) = (&*self.seat.handler, parcel.envelope.name());
            let trace_id = parcel.envelope.trace_id();
            tracing::error!(handler, event, %trace_id, attempt, panic, "handler panicked");
        }
        life.condemn(panic.clone());
        HandlerError::panic(panic)
    }
}

/// What comes of the work, unless the requester's time is over first.
async fn in_time<T>(
    parcel: &Parcel,
    mut work: Pin<&mut impl Future<Output = HandlerResult<T>>>,
) -> HandlerResult<T> {
    if let Poll::Ready(result) = poll_once(work.as_mut()).await {
        return result;
    }
    let left = parcel.envelope.metadata().remaining();
    within(left, work).await.unwrap_or_else(|| Err(HandlerError::deadline()))
}

/// The result, unless the time is over first. Most work is ready at once: only what has to wait
/// needs a timer. It is pinned by the caller: what is moved into an async function is there twice.
async fn within<T>(
    limit: Option<Duration>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    match (poll_once(work.as_mut()).await, limit) {
        (Poll::Ready(result), _) => Some(result),
        (Poll::Pending, None) => Some(work.await),
        (Poll::Pending, Some(limit)) => Box::pin(timeout(limit, work)).await.ok(),
    }
}

/// Polls once, with the waker of the task.
pub(crate) async fn poll_once<F: Future>(mut work: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await
}
