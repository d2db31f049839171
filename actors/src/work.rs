//! One delivery from the queue to its outcome: layers, attempts, outputs, failure.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix::{Actor, Context};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use crate::chain::Parcel;
use crate::crew::Crew;
use crate::dead_letter::DeadReason;
use crate::envelope::Envelope;
use crate::error::{ErrorKind, HandlerError, HandlerResult, RequestError, panic_text};
use crate::event_log::Entry;
use crate::layer::retry::Next as NextAttempt;
use crate::layer::{Inbound, LayerFuture, Next};
use crate::metrics::LastError;
use crate::observed::{Delivered, Observed};
use crate::router::Router;
use crate::seat::Seat;

mod feed;
pub(crate) use feed::{Feed, SendError, Takes};
mod gates;
mod attempt;
pub(crate) use attempt::poll_once;

/// Everything that the deliveries of one handler share.
pub(crate) struct Work<A: Actor> {
    pub(crate) router: Arc<Router>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) feeds: Vec<Feed<A>>,
    pub(crate) crew: Rc<Crew<A>>,
    /// Deliveries that wait for their time and leave their place in work to others.
    pub(crate) resting: Cell<usize>,
}

/// Counts a delivery as in work, and as finished when it is dropped for whatever reason.
struct InFlight<'w> {
    router: &'w Router,
    seat: &'w Seat,
    parcel: &'w Parcel,
}

impl<'w> InFlight<'w> {
    fn begin(router: &'w Router, seat: &'w Seat, parcel: &'w Parcel) -> Self {
        seat.counters.in_flight.fetch_add(1, Relaxed);
        Self { router, seat, parcel }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.seat.rules.ordered_by_key
            && let Some(key) = self.parcel.envelope.key()
        {
            self.seat.queue.release(key);
        }
        self.seat.counters.in_flight.fetch_sub(1, Relaxed);
        self.router.live.end();
    }
}

/// Counts a delivery as resting until it is dropped.
struct Resting<'w> {
    resting: &'w Cell<usize>,
    seat: &'w Seat,
}

impl<'w> Resting<'w> {
    fn begin(resting: &'w Cell<usize>, seat: &'w Seat) -> Self {
        resting.set(resting.get() + 1);
        seat.changed.notify_one();
        Self { resting, seat }
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.resting.set(self.resting.get() - 1);
        self.seat.changed.notify_one();
    }
}

impl<A: Actor<Context = Context<A>>> Work<A> {
    /// Brings one delivery to its end.
    pub(crate) async fn deliver(self: Rc<Self>, parcel: Parcel) {
        let _in_flight = InFlight::begin(&self.router, &self.seat, &parcel);
        let (started, attempts) = (Instant::now(), Cell::new(0));
        let outcome = self.handle(&parcel, &attempts).await;
        self.record(&parcel, started, outcome.as_ref().err(), attempts.get());
        let is_handled = match outcome {
            Ok(outputs) => {
                self.publish(&parcel, outputs).await;
                true
            }
            Err(error) => {
                let is_handled = error.kind() == ErrorKind::Duplicate;
                // Boxed, like whatever is seldom needed: what is not in the way need not be moved.
                Box::pin(self.end(&parcel, error, started, attempts.get())).await;
                is_handled
            }
        };
        if let Some(replay) = &parcel.replay {
            replay.settle(is_handled, self.router.clock.now()).await;
        }
    }

    /// Says to all whom it concerns that the event was not handled.
    async fn end(&self, parcel: &Parcel, error: HandlerError, started: Instant, attempts: u32) {
        match error.kind() {
            ErrorKind::Decline => self.pass_on(parcel).await,
            // Refused only at shutdown, where each chain tells its requester when it is dropped.
            ErrorKind::Unavailable => drop(self.router.bury_unavailable(parcel, &self.seat)),
            ErrorKind::Expired | ErrorKind::Duplicate => {
                parcel.fail_at(&self.seat.handler, &error);
            }
            ErrorKind::Deadline => {
                if let Some(chain) = &parcel.chain {
                    chain.time_out();
                }
                let error = HandlerError::timeout(started.elapsed());
                self.fail(parcel, error, false, attempts).await;
            }
            _ => {
                let told = parcel.fail_at(&self.seat.handler, &error);
                self.fail(parcel, error, told, attempts).await;
            }
        }
    }

    /// Runs the delivery through the layers around it.
    async fn handle(&self, parcel: &Parcel, attempts: &Cell<u32>) -> HandlerResult<Vec<Envelope>> {
        if parcel.expires_at.is_some_and(|end| end <= Instant::now()) {
            return Err(HandlerError::expired());
        }
        if self.is_parked(parcel) {
            return Err(HandlerError::parked());
        }
        let layers = &self.seat.policy.around_delivery;
        if layers.is_empty() {
            return self.settle(parcel, attempts).await;
        }
        Box::pin(self.handle_layered(parcel, attempts)).await
    }

    async fn handle_layered(
        &self,
        parcel: &Parcel,
        attempts: &Cell<u32>,
    ) -> HandlerResult<Vec<Envelope>> {
        let layers = &self.seat.policy.around_delivery;
        let (inbound, outputs) = (self.inbound(parcel, 0), RefCell::new(Vec::new()));
        let inmost = || -> LayerFuture<'_> {
            Box::pin(async {
                let put_out = self.settle(parcel, attempts).await?;
                outputs.borrow_mut().extend(put_out);
                Ok(())
            })
        };
        let next = Next {
            inbound: &inbound,
            rest: layers,
            inmost: &inmost,
            #[cfg(feature = "testing")]
            condemn: &|_| {},
        };
        caught(next.run()).await?;
        Ok(outputs.into_inner())
    }

    /// Whether a dead letter keeps the event from being handled before its time.
    fn is_parked(&self, parcel: &Parcel) -> bool {
        let key = parcel.envelope.key().filter(|_| self.seat.rules.parks_key);
        parcel.replay.is_none()
            && key.is_some_and(|key| self.router.dead.has_key(&self.seat.handler, key))
    }

    fn inbound(&self, parcel: &Parcel, attempt: u32) -> Inbound {
        Inbound {
            envelope: parcel.envelope.clone(),
            handler: Arc::clone(&self.seat.handler),
            domain: Arc::clone(&self.seat.domain),
            attempt,
        }
    }

    /// Dedupe, rate limit, attempts, fallback.
    async fn settle(&self, parcel: &Parcel, attempts: &Cell<u32>) -> HandlerResult<Vec<Envelope>> {
        let claim = self.claim(parcel)?;
        if self.seat.limiter.load().is_some() {
            Box::pin(self.keep_rate(parcel)).await?;
        }
        let outputs = match self.attempt_all(parcel, attempts).await {
            Err(error) if has_fallback(&error) => {
                Box::pin(self.fall_back(parcel, error, attempts)).await
            }
            result => result,
        }?;
        if let Some(claim) = claim {
            claim.done(Instant::now());
        }
        Ok(outputs)
    }

    /// Tries until success, a final error, the last attempt or the requester's deadline.
    async fn attempt_all(
        &self,
        parcel: &Parcel,
        attempts: &Cell<u32>,
    ) -> HandlerResult<Vec<Envelope>> {
        let (seat, started) = (&self.seat, Instant::now());
        loop {
            let error = match self.attempt(parcel, attempts).await {
                Ok(outputs) => return Ok(outputs),
                Err(error) => error,
            };
            let pause = if let ErrorKind::Snooze(delay) = error.kind() {
                attempts.set(attempts.get() - 1);
                delay
            } else {
                let (now, random) = (Instant::now(), self.router.clock.random());
                match seat.rules.retry.decide(&error, attempts.get(), started, now, random) {
                    NextAttempt::Again(pause) if !seat.refuses_calls(now) => {
                        seat.counters.retries.fetch_add(1, Relaxed);
                        pause
                    }
                    NextAttempt::Again(_) | NextAttempt::Stop => return Err(error),
                }
            };
            Box::pin(self.pause(parcel, pause)).await?;
        }
    }

    /// Waits, and leaves the place in work to others where order does not matter.
    async fn pause(&self, parcel: &Parcel, pause: Duration) -> HandlerResult<()> {
        let rules = &self.seat.rules;
        let _resting = (rules.concurrency > 1 || rules.ordered_by_key)
            .then(|| Resting::begin(&self.resting, &self.seat));
        self.rest(parcel, pause).await
    }

    /// Waits, unless the requester's time would be over first.
    async fn rest(&self, parcel: &Parcel, pause: Duration) -> HandlerResult<()> {
        if parcel.envelope.metadata().remaining().is_some_and(|left| left <= pause) {
            return Err(HandlerError::deadline());
        }
        sleep(pause).await;
        Ok(())
    }

    async fn publish(&self, parcel: &Parcel, outputs: Vec<Envelope>) {
        if let Some(chain) = &parcel.chain {
            for envelope in &outputs {
                chain.offer(envelope);
            }
        }
        for envelope in outputs {
            self.router.publish_onward(Parcel::new(envelope, parcel.chain.clone())).await;
        }
    }

    async fn pass_on(&self, parcel: &Parcel) {
        if self.router.pass_on(parcel).await {
            return;
        }
        let (event, trace_id) = (parcel.envelope.name(), parcel.envelope.trace_id());
        if !parcel.fail(RequestError::NoHandler { event, trace_id }) {
            self.router.bury(parcel, &self.seat.handler, DeadReason::Declined, 1);
        }
    }

    /// Publishes the error fact, and keeps the event as a dead letter unless it was refused and a
    /// requester was told.
    async fn fail(&self, parcel: &Parcel, error: HandlerError, told: bool, attempts: u32) {
        let (envelope, handler) = (&parcel.envelope, &self.seat.handler);
        let is_refused = error.is_public() || error.is_refusal();
        if !is_refused {
            tracing::error!(
                handler = %handler, event = envelope.name(), trace_id = %envelope.trace_id(),
                attempts, %error, "delivery failed"
            );
        }
        if let Some(fact) = self.router.error_fact(envelope, handler, &error, attempts) {
            self.router.publish_onward(Parcel::new(fact, parcel.chain.clone())).await;
        }
        if !(told && is_refused) {
            self.router.bury(parcel, handler, DeadReason::Failed(error), attempts);
        }
    }

    fn record(
        &self,
        parcel: &Parcel,
        started: Instant,
        error: Option<&HandlerError>,
        attempts: u32,
    ) {
        let counters = &self.seat.counters;
        let (envelope, ended) = (&parcel.envelope, Instant::now());
        let (took, ts) = (ended - started, self.router.clock.now());
        let failure = error.filter(|error| error.kind() != ErrorKind::Decline);
        match error.map(HandlerError::kind) {
            Some(ErrorKind::Unavailable) => return,
            Some(ErrorKind::Expired) => drop(counters.expired.fetch_add(1, Relaxed)),
            Some(ErrorKind::Duplicate) => drop(counters.duplicates.fetch_add(1, Relaxed)),
            _ => counters.record(
                took,
                failure.map(|error| LastError {
                    code: error.error_code().to_owned(),
                    trace_id: envelope.trace_id(),
                    at: ts,
                }),
            ),
        }
        let handler = &*self.seat.handler;
        let delivered = Delivered { envelope, handler, error, attempts, took };
        self.router.observer.see(|| Observed::Delivered(delivered));
        if self.router.event_log.is_enabled() {
            self.router.event_log.push(Entry {
                ts,
                event_type: envelope.name(),
                event_id: envelope.id(),
                trace_id: envelope.trace_id(),
                source: Arc::clone(envelope.shared_source()),
                handler: Some(Arc::clone(&self.seat.handler)),
                took,
                error: failure.map(|error| error.error_code().to_owned()),
                attempts,
            });
        }
    }
}

/// Whether the handler's fallback is asked.
fn has_fallback(error: &HandlerError) -> bool {
    error.is_transient()
        || matches!(error.kind(), ErrorKind::BreakerOpen(_) | ErrorKind::BulkheadFull)
}

/// Turns a panic in what a user wrote into an error.
async fn caught<T>(work: impl Future<Output = HandlerResult<T>>) -> HandlerResult<T> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    result.unwrap_or_else(|panic| Err(HandlerError::panic(panic_text(&*panic))))
}
