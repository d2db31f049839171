//! One delivery from the queue to its outcome: layers, attempts, outputs, failure.

use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{Actor, Context};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use crate::chain::{Asker, Parcel};
use crate::context::Outbox;
use crate::crew::Crew;
use crate::error::{ErrorKind, HandlerError, HandlerResult, panic_text};
use crate::lane::Lane;
use crate::layer::retry::Next as NextAttempt;
use crate::layer::{Inbound, LayerFuture, Next};
use crate::metrics::HandlerStatus;
use crate::publish::Publisher;
use crate::router::Router;
use crate::seat::{Seat, Spot};
use crate::table::Table;
use crate::upkeep::Upkeep;

mod feed;
pub(crate) use feed::{Feed, SendError, Takes};
mod gates;
mod attempt;
use attempt::Call;
mod progress;
use progress::{InFlight, InPlace, Resting};
pub(crate) use progress::{Left, Waiting};
mod outcome;

/// Everything that the deliveries of one handler on one thread share.
pub(crate) struct Work<A: Actor> {
    pub(crate) router: Arc<Router>,
    pub(crate) seat: Arc<Seat>,
    /// The handler as a publisher.
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) feeds: Arc<[Feed<A>]>,
    pub(crate) crew: Rc<Crew<A>>,
    /// Of each of the crew.
    pub(crate) upkeep: Vec<Upkeep<HandlerStatus>>,
    /// Deliveries that wait for their time and leave their place in work to others.
    pub(crate) resting: Cell<usize>,
    /// What is handled in place right now.
    pub(crate) spot: Arc<Spot>,
    /// Whether this is where the queue is emptied.
    pub(crate) is_home: bool,
    /// What was begun and has to wait: the host takes it over.
    pub(crate) left: Left,
}

/// How far the first attempt came when it was polled once.
enum First<A: Actor> {
    /// Something may stand between: nothing has been begun.
    Unbegun,
    Waits(Call<A>),
    Done(HandlerResult<Outbox>),
}

/// How far a delivery came at once.
enum Begun {
    /// Nothing has been begun.
    Not(Parcel),
    /// It goes on elsewhere, or went on for a while.
    On,
    /// It was over then.
    Over(Instant),
}

impl<A: Actor<Context = Context<A>>> Lane for Work<A> {
    fn take(
        self: Rc<Self>,
        parcel: Parcel,
        table: &Table,
        asker: Option<&mut Asker<'_>>,
        cx: &mut TaskContext<'_>,
    ) -> Result<(), Parcel> {
        // What nobody waits for may be left behind by a thread that ends: it stays at home.
        let is_abroad = !self.is_home && asker.is_none() && parcel.chain.is_none();
        // Also one that pauses between two attempts comes before the next one.
        let is_late = self.seat.rules.concurrency == 1 && self.seat.has_in_flight();
        if self.spot.is_taken() || is_abroad || is_late {
            return Err(parcel);
        }
        // Who asks has just looked at the clock.
        let now = asker.as_ref().map_or_else(Instant::now, |asker| asker.asked_at);
        self.router.live.begin();
        if let Begun::Not(parcel) = self.begin(parcel, table, asker, now, cx) {
            self.router.live.end();
            return Err(parcel);
        }
        Ok(())
    }
}

impl<A: Actor<Context = Context<A>>> Work<A> {
    /// Brings one delivery, which counts as live, to its end, or leaves it to the host. It is
    /// `now`; says when the next one may begin.
    pub(crate) fn deliver(
        self: &Rc<Self>,
        parcel: Parcel,
        table: &Table,
        now: Instant,
        cx: &mut TaskContext<'_>,
    ) -> Instant {
        let parcel = match self.begin(parcel, table, None, now, cx) {
            Begun::Over(ended) => return ended,
            Begun::On => return Instant::now(),
            Begun::Not(parcel) => parcel,
        };
        let mut delivery = self.go_on_with(parcel, First::Unbegun, now);
        // Most are done at once: they need no place among those that wait.
        if delivery.as_mut().poll(cx).is_pending() {
            self.left.add(delivery);
        }
        Instant::now()
    }

    /// Calls the handler, if nothing stands between, and brings the delivery to its end if it is
    /// done at once; else it is left to the host.
    fn begin(
        self: &Rc<Self>,
        mut parcel: Parcel,
        table: &Table,
        asker: Option<&mut Asker<'_>>,
        started: Instant,
        cx: &mut TaskContext<'_>,
    ) -> Begun {
        let in_place = InPlace::begin(&self.router, &self.seat, &parcel);
        let first = match self.first_attempt(&parcel, started, cx) {
            First::Unbegun => {
                in_place.hand_over();
                return Begun::Not(parcel);
            }
            First::Done(Ok(outputs)) if parcel.replay.is_none() => {
                let ended = self.record(&parcel, started, None, 1);
                let is_over = outputs.is_empty();
                self.publish(&parcel, outputs, table, asker, cx);
                return if is_over { Begun::Over(ended) } else { Begun::On };
            }
            first => first,
        };
        in_place.hand_over();
        if let Some(asker) = asker {
            parcel.chain = Some(asker.chain());
        }
        self.left.add(self.go_on_with(parcel, first, started));
        Begun::On
    }

    fn go_on_with(self: &Rc<Self>, parcel: Parcel, first: First<A>, started: Instant) -> Waiting {
        // Before the future is polled, so that a thread that ends loses nothing.
        let in_flight = InFlight::begin(&self.router, &self.seat, parcel);
        Box::pin(Rc::clone(self).go_on(in_flight, first, started))
    }

    /// Calls the handler and polls it once, if nothing stands around it.
    fn first_attempt(&self, parcel: &Parcel, now: Instant, cx: &mut TaskContext<'_>) -> First<A> {
        let is_over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
        let is_late = is_over(parcel.expires_at) || is_over(parcel.envelope.metadata().deadline);
        if !self.seat.is_plain || is_late || self.seat.is_limited() {
            return First::Unbegun;
        }
        let Some(turn) = self.crew.try_turn() else { return First::Unbegun };
        let Some(life) = turn.instance().life_now() else { return First::Unbegun };
        let Some((place, feed)) = self.placed_feed(parcel) else { return First::Unbegun };
        let (sending, polled) = {
            let _taken = self.spot.take(&self.seat, place, parcel.envelope.trace_id());
            let mut sending = self.send(parcel, feed, &turn, &life, 1);
            let polled = sending.as_mut().poll(cx);
            (sending, polled)
        };
        match polled {
            Poll::Ready(Ok(outputs)) => First::Done(Ok(outputs)),
            Poll::Ready(Err(error)) => First::Done(Err(self.judge(parcel, &life, 1, error))),
            Poll::Pending => {
                let watched = self.watch(parcel, 1);
                First::Waits(Call { turn, life, sending, watched, attempt: 1 })
            }
        }
    }

    /// Brings a delivery, which counts as in work, to its end.
    async fn go_on(self: Rc<Self>, in_flight: InFlight, first: First<A>, started: Instant) {
        let parcel = &in_flight.parcel;
        let attempts = Cell::new(u32::from(!matches!(first, First::Unbegun)));
        let outcome = match first {
            First::Unbegun => self.handle(parcel, &attempts).await,
            first => self.attempt_or_fall_back(parcel, &attempts, first).await,
        };
        self.record(parcel, started, outcome.as_ref().err(), attempts.get());
        let is_handled = match outcome {
            Ok(outputs) => {
                self.publish_all(parcel, outputs).await;
                true
            }
            Err(error) => {
                let is_handled = error.kind() == ErrorKind::Duplicate;
                self.end(parcel, error, started, attempts.get()).await;
                is_handled
            }
        };
        if let Some(replay) = &parcel.replay {
            replay.settle(is_handled, self.router.clock.now()).await;
        }
        in_flight.finish();
    }

    /// Runs the delivery through the layers around it.
    async fn handle(&self, parcel: &Parcel, attempts: &Cell<u32>) -> HandlerResult<Outbox> {
        if parcel.expires_at.is_some_and(|end| end <= Instant::now()) {
            return Err(HandlerError::expired());
        }
        if self.is_parked(parcel) {
            return Err(HandlerError::parked());
        }
        if self.seat.policy.around_delivery.is_empty() {
            return self.settle(parcel, attempts).await;
        }
        self.handle_layered(parcel, attempts).await
    }

    async fn handle_layered(&self, parcel: &Parcel, attempts: &Cell<u32>) -> HandlerResult<Outbox> {
        let layers = &self.seat.policy.around_delivery;
        let (inbound, outputs) = (self.inbound(parcel, 0), RefCell::new(Outbox::new()));
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
    async fn settle(&self, parcel: &Parcel, attempts: &Cell<u32>) -> HandlerResult<Outbox> {
        let claim = self.claim(parcel)?;
        if self.seat.is_limited() {
            self.keep_rate(parcel).await?;
        }
        let outputs = self.attempt_or_fall_back(parcel, attempts, First::Unbegun).await?;
        if let Some(claim) = claim {
            claim.done(Instant::now());
        }
        Ok(outputs)
    }

    async fn attempt_or_fall_back(
        &self,
        parcel: &Parcel,
        attempts: &Cell<u32>,
        first: First<A>,
    ) -> HandlerResult<Outbox> {
        match self.attempt_all(parcel, attempts, first).await {
            Err(error) if has_fallback(&error) => {
                Box::pin(self.fall_back(parcel, error, attempts)).await
            }
            result => result,
        }
    }

    /// Tries until success, a final error, the last attempt or the requester's deadline.
    async fn attempt_all(
        &self,
        parcel: &Parcel,
        attempts: &Cell<u32>,
        mut first: First<A>,
    ) -> HandlerResult<Outbox> {
        let (seat, started) = (&self.seat, Instant::now());
        loop {
            let result = match mem::replace(&mut first, First::Unbegun) {
                First::Unbegun => Box::pin(self.attempt(parcel, attempts)).await,
                First::Waits(call) => self.finish(parcel, call).await,
                First::Done(result) => result,
            };
            let error = match result {
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
