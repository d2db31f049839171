//! One attempt: on an instance that is alive, within its time, through the layers around it.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use actix::{Actor, Context};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::time::timeout;

use crate::chain::Parcel;
use crate::context::Scope;
use crate::crew::Turn;
use crate::envelope::Envelope;
use crate::error::{ErrorKind, HandlerError, HandlerResult, panic_text};
use crate::instance::Life;
use crate::layer::breaker::Verdict;
use crate::layer::{LayerFuture, Next};
use crate::seat::Watch;
use crate::supervisor::End;
use crate::work::gates::{Pass, verdict_on};
use crate::work::{Feed, SendError, Work, caught};

impl<A: Actor<Context = Context<A>>> Work<A> {
    /// One attempt, which is counted when the handler is called.
    pub(crate) async fn attempt(
        &self,
        parcel: &Parcel,
        attempts: &Cell<u32>,
    ) -> HandlerResult<Vec<Envelope>> {
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
        let result = self.call(parcel, turn, &life, attempts.get(), left).await;
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

    async fn call(
        &self,
        parcel: &Parcel,
        turn: Turn<A>,
        life: &Life<A>,
        attempt: u32,
        left: Option<Duration>,
    ) -> HandlerResult<Vec<Envelope>> {
        let (router, seat) = (&self.router, &self.seat);
        let feed = self.feed(parcel).ok_or_else(HandlerError::unavailable)?;
        let scope = Scope::new(router, &seat.domain, &seat.handler, attempt);
        let resident = turn.instance().resident();
        let send = || async {
            let (envelope, own) = (parcel.envelope.clone(), Arc::clone(&scope));
            let sending = match (&resident, feed.direct) {
                (Some(resident), Some(direct)) => direct(Rc::clone(resident), envelope, own),
                _ => (feed.send)(&life.addr, envelope, own),
            };
            sending.await.map_err(|error| {
                // A layer may try once more, or make a success of it.
                scope.discard();
                self.judge(parcel, life, attempt, error)
            })
        };
        let layers = &seat.policy.around_attempt;
        let layered = || async {
            let inbound = self.inbound(parcel, attempt);
            let inmost = || -> LayerFuture<'_> { Box::pin(send()) };
            let next = Next {
                inbound: &inbound,
                rest: layers,
                inmost: &inmost,
                #[cfg(feature = "testing")]
                condemn: &|panic| life.condemn(panic.to_owned()),
            };
            caught(next.run()).await
        };
        let called = pin!(async {
            let mut work = pin!(async {
                if layers.is_empty() { send().await } else { Box::pin(layered()).await }
            });
            if let Poll::Ready(result) = poll_once(work.as_mut()).await {
                return result;
            }
            let recalled = Box::pin(life.recalled());
            match select(work, recalled).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => Err(HandlerError::restarted()),
            }
        });
        let watched = Watch::begin(seat, &parcel.envelope, attempt);
        let limit = seat.rules.timeout;
        let result = within(Some(left.map_or(limit, |left| left.min(limit))), called).await;
        let outputs = scope.seal();
        if let Some(result) = result {
            return result.map(|()| outputs);
        }
        if seat.rules.blocking.is_some() {
            // A thread that computes cannot be interrupted: its turn ends when it is free.
            actix_rt::spawn(async move {
                turn.instance().thread_is_free().await;
                drop(watched);
            });
        }
        match left {
            Some(left) if left <= limit => Err(HandlerError::deadline()),
            _ => Err(HandlerError::timeout(limit)),
        }
    }

    /// Lets the handler's fallback answer, within the time of one attempt.
    pub(crate) async fn fall_back(
        &self,
        parcel: &Parcel,
        error: HandlerError,
        attempts: &Cell<u32>,
    ) -> HandlerResult<Vec<Envelope>> {
        let Some(fallback) = self.feed(parcel).and_then(|feed| feed.fallback.as_ref()) else {
            return Err(error);
        };
        let (router, seat) = (&self.router, &self.seat);
        let scope = Scope::new(router, &seat.domain, &seat.handler, attempts.get());
        let work =
            async { fallback(parcel.envelope.clone(), Arc::clone(&scope), error.clone()).await };
        let result = {
            let work = pin!(AssertUnwindSafe(work).catch_unwind());
            within(Some(seat.rules.timeout), work).await
        };
        let outputs = scope.seal();
        match result {
            Some(Ok(Ok(()))) => {
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

    fn feed(&self, parcel: &Parcel) -> Option<&Feed<A>> {
        self.feeds.iter().find(|feed| feed.takes(parcel.envelope.name()))
    }

    /// Turns a failed message into an error, and condemns the life in which something panicked.
    fn judge(
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
