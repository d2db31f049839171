//! What stands before each delivery and each attempt: dedupe, rate limit, breaker.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use actix::{Actor, Context};
use tokio::time::Instant;

use crate::chain::Parcel;
use crate::clock::millis;
use crate::error::{ErrorKind, HandlerError, HandlerResult};
use crate::layer::breaker::{Admission, Change, Circuit, Permit, Verdict, WhenOpen};
use crate::layer::dedupe::{Begun, Claim, DedupeBy, DedupeKey};
use crate::layer::limiter::{LimitBy, Limiter, Take};
use crate::seat::Seat;
use crate::work::Work;

/// A token that is reserved: given back when it is dropped unused.
struct Reservation {
    limiter: Arc<Limiter>,
    key: Box<str>,
    /// For which moment.
    at: Option<Instant>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            self.limiter.give_back(&self.key, at);
        }
    }
}

/// The right to call the handler: neutral when it is dropped, because the attempt was cancelled.
pub(crate) struct Pass<'s> {
    seat: &'s Seat,
    held: Option<(&'s Circuit, Permit)>,
}

impl<'s> Pass<'s> {
    /// Of a handler that has no breaker.
    pub(crate) fn without_breaker(seat: &'s Seat) -> Self {
        Self { seat, held: None }
    }
}

impl Pass<'_> {
    /// Tells the breaker how the attempt ended.
    pub(crate) fn settle(mut self, verdict: Verdict) {
        let Some((circuit, permit)) = self.held.take() else { return };
        let handler = &*self.seat.handler;
        match circuit.settle(permit, verdict, Instant::now()) {
            Some(Change::Opened) => tracing::warn!(handler, "breaker opened"),
            Some(Change::Closed) => tracing::info!(handler, "breaker closed"),
            None => {}
        }
        self.seat.circuit_changed.notify_waiters();
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some((circuit, permit)) = self.held.take() {
            circuit.give_back(permit);
            self.seat.circuit_changed.notify_waiters();
        }
    }
}

/// What the breaker makes of an error.
pub(crate) fn verdict_on(error: &HandlerError) -> Verdict {
    match error.kind() {
        ErrorKind::Retry | ErrorKind::Timeout | ErrorKind::Panic => Verdict::Failure,
        ErrorKind::Reject(_) => Verdict::Success,
        _ => Verdict::Neutral,
    }
}

impl<A: Actor<Context = Context<A>>> Work<A> {
    /// Claims the event for this handler, if duplicates matter to it.
    pub(crate) fn claim(&self, parcel: &Parcel) -> HandlerResult<Option<Claim>> {
        let Some(seen) = &self.seat.seen else { return Ok(None) };
        let key = match self.seat.policy.dedupe.as_ref().map(|dedupe| dedupe.by) {
            Some(DedupeBy::Key) => match parcel.envelope.key() {
                Some(key) => DedupeKey::Key(key.into()),
                None => return Ok(None),
            },
            _ => DedupeKey::Id(parcel.envelope.id()),
        };
        match seen.begin(key, Instant::now()) {
            Begun::First(claim) => Ok(Some(claim)),
            Begun::Duplicate => Err(HandlerError::duplicate()),
        }
    }

    /// Waits for the rate limit, if there is one.
    pub(crate) async fn keep_rate(&self, parcel: &Parcel) -> HandlerResult<()> {
        let Some(limiter) = self.seat.limiter() else { return Ok(()) };
        let envelope = &parcel.envelope;
        let key = match limiter.by() {
            LimitBy::Handler => None,
            LimitBy::EventKey => envelope.key(),
            LimitBy::Identity => envelope.metadata().identity().map(|id| &*id.subject),
        };
        let (key, now) = (key.unwrap_or_default(), Instant::now());
        match limiter.take(key, now) {
            Take::Now => Ok(()),
            Take::Refused { retry_after } | Take::NoRoom { retry_after } => {
                self.seat.counters.rate_limited.fetch_add(1, Relaxed);
                Err(HandlerError::rate_limited(retry_after))
            }
            Take::After(wait) => {
                self.seat.counters.rate_limited.fetch_add(1, Relaxed);
                let (key, at) = (key.into(), Some(now + wait));
                let mut reservation = Reservation { limiter, key, at };
                self.pause(parcel, wait).await?;
                reservation.at = None;
                Ok(())
            }
        }
    }

    /// Asks the breaker for an attempt; waits until it closes when it is a holding one.
    pub(crate) async fn pass_breaker<'s>(
        &'s self,
        parcel: &Parcel,
        circuit: &'s Circuit,
    ) -> HandlerResult<Pass<'s>> {
        let seat = &*self.seat;
        loop {
            let mut changed = pin!(seat.circuit_changed.notified());
            changed.as_mut().enable();
            let retry_after = match circuit.admit(Instant::now()) {
                Admission::Admitted(permit) => {
                    return Ok(Pass { seat, held: Some((circuit, permit)) });
                }
                Admission::Refused { retry_after } => retry_after,
            };
            if circuit.when_open() == WhenOpen::Refuse {
                seat.counters.circuit_broken.fetch_add(1, Relaxed);
                return Err(HandlerError::breaker_open(retry_after.unwrap_or(PROBING)));
            }
            tokio::select! {
                () = changed => {}
                paused = self.rest(parcel, retry_after.unwrap_or(PROBING)) => paused?,
            }
        }
    }
}

/// When to ask again while the probes of a half-open circuit are out.
const PROBING: std::time::Duration = millis(100);
