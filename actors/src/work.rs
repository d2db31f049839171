//! One delivery from the queue to its outcome: layers, attempts, outputs, failure.

use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{Actor, Context};
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::chain::{Asker, Chain, Parcel};
use crate::context::Outbox;
use crate::crew::Crew;
use crate::dead_letter::DeadReason;
use crate::envelope::Envelope;
use crate::error::{ErrorKind, HandlerError, HandlerResult, RequestError, panic_text};
use crate::event_log::Entry;
use crate::lane::Lane;
use crate::layer::retry::Next as NextAttempt;
use crate::layer::{Inbound, LayerFuture, Next};
use crate::live::LiveGuard;
use crate::metrics::LastError;
use crate::observed::{Delivered, Observed};
use crate::publish::Publisher;
use crate::router::Router;
use crate::seat::{Seat, Spot};
use crate::table::Table;

mod feed;
pub(crate) use feed::{Feed, SendError, Takes};
mod gates;
mod attempt;
use attempt::Call;

/// Everything that the deliveries of one handler on one thread share.
pub(crate) struct Work<A: Actor> {
    pub(crate) router: Arc<Router>,
    pub(crate) seat: Arc<Seat>,
    /// The handler as a publisher.
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) feeds: Vec<Feed<A>>,
    pub(crate) crew: Rc<Crew<A>>,
    /// Deliveries that wait for their time and leave their place in work to others.
    pub(crate) resting: Cell<usize>,
    /// What is handled in place right now.
    pub(crate) spot: Arc<Spot>,
    /// What was begun and has to wait: the host takes it over.
    pub(crate) left: Left,
}

/// Deliveries that wait for something, until the host takes them over.
#[derive(Default)]
pub(crate) struct Left {
    deliveries: RefCell<Vec<Waiting>>,
    pub(crate) added: Notify,
}

/// A delivery that waits for something.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = ()>>>;

impl Left {
    fn add(&self, delivery: Waiting) {
        self.deliveries.borrow_mut().push(delivery);
        self.added.notify_one();
    }

    pub(crate) fn len(&self) -> usize {
        self.deliveries.borrow().len()
    }

    pub(crate) fn take(&self) -> Vec<Waiting> {
        self.deliveries.take()
    }
}

/// A delivery in work, which is over when this is dropped, for whatever reason.
struct InWork<'w> {
    router: &'w Router,
    seat: &'w Seat,
    /// `None` once another one stands for the delivery.
    parcel: Option<&'w Parcel>,
    /// Whether it is counted among those in flight; not while it is handled in place.
    is_counted: bool,
}

impl<'w> InWork<'w> {
    /// Stands for a delivery that is handled in place.
    fn in_place(router: &'w Router, seat: &'w Seat, parcel: &'w Parcel) -> Self {
        Self { router, seat, parcel: Some(parcel), is_counted: false }
    }

    /// Stands for a delivery that is counted already.
    fn counted(router: &'w Router, seat: &'w Seat, parcel: &'w Parcel) -> Self {
        Self { router, seat, parcel: Some(parcel), is_counted: true }
    }

    fn hand_over(mut self) {
        self.parcel = None;
    }
}

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        let Some(parcel) = self.parcel else { return };
        if self.seat.rules.ordered_by_key
            && let Some(key) = parcel.envelope.key()
        {
            self.seat.queue.release(key);
        }
        if self.is_counted {
            self.seat.counters.in_flight.fetch_sub(1, Relaxed);
        }
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

/// How far the first attempt came when it was polled once.
enum First<A: Actor> {
    /// Something may stand between: nothing has been begun.
    Unbegun,
    Waits(Call<A>),
    Done(HandlerResult<Outbox>),
}

impl<A: Actor<Context = Context<A>>> Lane for Work<A> {
    fn take(
        self: Rc<Self>,
        parcel: Parcel,
        table: &Table,
        asker: Option<&mut Asker<'_>>,
        cx: &mut TaskContext<'_>,
    ) -> Result<(), Parcel> {
        if self.spot.is_taken() {
            return Err(parcel);
        }
        self.router.live.begin();
        let refused = self.begin(parcel, table, asker, cx);
        if refused.is_some() {
            self.router.live.end();
        }
        refused.map_or(Ok(()), Err)
    }
}

impl<A: Actor<Context = Context<A>>> Work<A> {
    /// Brings one delivery, which counts as live, to its end, or leaves it to the host.
    pub(crate) fn deliver(
        self: &Rc<Self>,
        parcel: Parcel,
        table: &Table,
        cx: &mut TaskContext<'_>,
    ) {
        if let Some(parcel) = self.begin(parcel, table, None, cx) {
            self.seat.counters.in_flight.fetch_add(1, Relaxed);
            let delivery = Rc::clone(self).go_on(parcel, First::Unbegun, Instant::now());
            let mut delivery: Waiting = Box::pin(delivery);
            // Most are done at once: they need no place among those that wait.
            if delivery.as_mut().poll(cx).is_pending() {
                self.left.add(delivery);
            }
        }
    }

    /// Calls the handler, if nothing stands between, and brings the delivery to its end if it is
    /// done at once; else it is left to the host. Gives back what it could not begin.
    fn begin(
        self: &Rc<Self>,
        mut parcel: Parcel,
        table: &Table,
        asker: Option<&mut Asker<'_>>,
        cx: &mut TaskContext<'_>,
    ) -> Option<Parcel> {
        let started = Instant::now();
        let in_work = InWork::in_place(&self.router, &self.seat, &parcel);
        let first = match self.first_attempt(&parcel, started, cx) {
            First::Unbegun => {
                in_work.hand_over();
                return Some(parcel);
            }
            First::Done(Ok(outputs)) if parcel.replay.is_none() => {
                self.record(&parcel, started, None, 1);
                self.publish(&parcel, outputs, table, asker, cx);
                return None;
            }
            first => first,
        };
        in_work.hand_over();
        self.seat.counters.in_flight.fetch_add(1, Relaxed);
        if let Some(asker) = asker {
            parcel.chain = Some(asker.chain());
        }
        self.left.add(Box::pin(Rc::clone(self).go_on(parcel, first, started)));
        None
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
        let mut sending = self.send(parcel, feed, &turn, &life, 1);
        let polled = {
            let _taken = self.spot.take(&self.seat, place, parcel.envelope.trace_id(), now);
            sending.as_mut().poll(cx)
        };
        match polled {
            Poll::Ready(Ok(outputs)) => First::Done(Ok(outputs)),
            Poll::Ready(Err(error)) => First::Done(Err(self.judge(parcel, &life, 1, error))),
            Poll::Pending => First::Waits(self.watch(parcel, turn, life, sending, 1)),
        }
    }

    /// Brings a delivery, which counts as in work, to its end.
    async fn go_on(self: Rc<Self>, parcel: Parcel, first: First<A>, started: Instant) {
        let _in_work = InWork::counted(&self.router, &self.seat, &parcel);
        let attempts = Cell::new(u32::from(!matches!(first, First::Unbegun)));
        let outcome = match first {
            First::Unbegun => self.handle(&parcel, &attempts).await,
            first => self.attempt_or_fall_back(&parcel, &attempts, first).await,
        };
        self.record(&parcel, started, outcome.as_ref().err(), attempts.get());
        let is_handled = match outcome {
            Ok(outputs) => {
                self.publish_all(&parcel, outputs).await;
                true
            }
            Err(error) => {
                let is_handled = error.kind() == ErrorKind::Duplicate;
                self.end(&parcel, error, started, attempts.get()).await;
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

    /// Publishes what the handler put out; the host waits for those who have no room.
    fn publish(
        self: &Rc<Self>,
        parcel: &Parcel,
        outputs: Outbox,
        table: &Table,
        asker: Option<&mut Asker<'_>>,
        cx: &mut TaskContext<'_>,
    ) {
        let chain = match asker {
            Some(asker) => asker.look_among(&outputs),
            None => parcel.chain.clone(),
        };
        self.offer(chain.as_deref(), &outputs);
        let mut left = outputs.len();
        for envelope in outputs {
            left -= 1;
            // What follows in place comes last, so that it sees what was put out beside it.
            let cx = (left == 0).then_some(&mut *cx);
            let parcel = Parcel::new(envelope, chain.clone());
            if let Some(rest) = self.router.publish_onward_now(parcel, table, cx) {
                let work = Rc::clone(self);
                self.router.live.begin();
                self.left.add(Box::pin(async move {
                    let _live = LiveGuard::go_on(&work.router.live);
                    work.router.publish_onward_rest(rest).await;
                }));
            }
        }
    }

    fn offer(&self, chain: Option<&Chain>, outputs: &[Envelope]) {
        if let Some(chain) = chain {
            outputs.iter().for_each(|envelope| chain.offer(envelope));
        }
    }

    /// As [`publish`](Self::publish), waiting for room.
    async fn publish_all(&self, parcel: &Parcel, outputs: Outbox) {
        self.offer(parcel.chain.as_deref(), &outputs);
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
        let took = ended - started;
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
                    at: self.router.clock.now(),
                }),
            ),
        }
        let handler = &*self.seat.handler;
        let delivered = Delivered { envelope, handler, error, attempts, took };
        self.router.observer.see(|| Observed::Delivered(delivered));
        self.router.event_log.push(&Entry {
            ended,
            envelope,
            handler: Some(&self.seat.handler),
            took,
            error: failure.map(HandlerError::error_code),
            attempts,
        });
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
