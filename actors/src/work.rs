//! One delivery from the queue to its outcome: attempts, time-outs, outputs, failure.

use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, MailboxError};
use tokio::time::{Instant, sleep, timeout};

use crate::chain::Parcel;
use crate::context::{EventContext, Scope};
use crate::crew::Crew;
use crate::dead_letter::DeadReason;
use crate::envelope::Envelope;
use crate::error::{ErrorKind, HandlerError, RequestError};
use crate::event::Event;
use crate::event_log::EventRecord;
use crate::handler::Delivery;
use crate::instance::Life;
use crate::metrics::LastError;
use crate::output::Output;
use crate::policy::doubled;
use crate::router::Router;
use crate::supervisor::End;
use crate::table::{EventType, Seat};

/// How events of one type reach an actor of type `A`.
pub(crate) struct Feed<A: Actor> {
    pub(crate) input: EventType,
    send: fn(&Addr<A>, Envelope, Arc<Scope>) -> Sending,
}

impl<A: Actor> Clone for Feed<A> {
    fn clone(&self) -> Self {
        Self { input: self.input, send: self.send }
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<(), SendError>>>>;

/// Why a message brought no success.
enum SendError {
    Handler(HandlerError),
    /// The actor did not answer: it ended, or dropped the answer.
    Lost,
}

impl<A: Actor<Context = Context<A>>> Feed<A> {
    pub(crate) fn of<E: Event, O: Output>() -> Self
    where
        A: Handler<Delivery<E, O>>,
    {
        Self {
            input: EventType::of::<E>(),
            send: |addr, envelope, scope| {
                let addr = addr.clone();
                Box::pin(send::<A, E, O>(addr, envelope, scope))
            },
        }
    }
}

async fn send<A, E, O>(
    addr: Addr<A>,
    envelope: Envelope,
    scope: Arc<Scope>,
) -> Result<(), SendError>
where
    A: Actor<Context = Context<A>> + Handler<Delivery<E, O>>,
    E: Event,
    O: Output,
{
    // The router has checked the type under this name.
    let event = envelope.event::<E>().ok_or(SendError::Lost)?;
    let ctx = EventContext::new(envelope.clone(), Arc::clone(&scope));
    match addr.send(Delivery::<E, O>::new(event, ctx)).await {
        Ok(Ok(output)) => {
            output.publish(&EventContext::new(envelope, scope));
            Ok(())
        }
        Ok(Err(error)) => Err(SendError::Handler(error)),
        Err(MailboxError::Closed | MailboxError::Timeout) => Err(SendError::Lost),
    }
}

/// Everything that the deliveries of one handler share.
pub(crate) struct Work<A: Actor> {
    pub(crate) router: Arc<Router>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) feeds: HashMap<&'static str, Feed<A>>,
    pub(crate) crew: Rc<Crew<A>>,
}

/// How a delivery failed.
enum Defeat {
    Handler(HandlerError),
    /// The requester's time is over.
    Deadline,
    /// The handler will take nothing any more.
    Unavailable,
}

/// Counts a delivery as in work, and as finished when it is dropped for whatever reason.
struct InFlight<'w>(&'w Router, &'w Seat);

impl<'w> InFlight<'w> {
    fn begin(router: &'w Router, seat: &'w Seat) -> Self {
        seat.counters.in_flight.fetch_add(1, Relaxed);
        Self(router, seat)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.1.counters.in_flight.fetch_sub(1, Relaxed);
        self.0.live.end();
    }
}

impl<A: Actor<Context = Context<A>>> Work<A> {
    /// Brings one delivery to its end.
    pub(crate) async fn deliver(self: Rc<Self>, parcel: Parcel) {
        let _in_flight = InFlight::begin(&self.router, &self.seat);
        let started = Instant::now();
        let mut attempts = 0;
        let outcome = self.attempt_all(&parcel, &mut attempts).await;
        let error = match &outcome {
            Ok(_) | Err(Defeat::Unavailable) => None,
            Err(Defeat::Handler(error)) => Some(error.error_code()),
            Err(Defeat::Deadline) => Some("timeout"),
        };
        let declined =
            matches!(&outcome, Err(Defeat::Handler(e)) if e.kind() == ErrorKind::Decline);
        if !matches!(outcome, Err(Defeat::Unavailable)) {
            self.record(&parcel, started, error.filter(|_| !declined), attempts);
        }
        match outcome {
            Ok(outputs) => self.publish(&parcel, outputs).await,
            Err(Defeat::Handler(_)) if declined => self.pass_on(parcel).await,
            // Refused only at shutdown, where each chain tells its requester when it is dropped.
            Err(Defeat::Unavailable) => drop(self.router.bury_unavailable(&parcel, &self.seat)),
            Err(Defeat::Handler(error)) => {
                let told = parcel.fail(RequestError::Handler {
                    event: parcel.envelope.name(),
                    handler: self.seat.handler.to_string(),
                    error: error.clone(),
                    trace_id: parcel.envelope.trace_id(),
                });
                self.fail(&parcel, error, told, attempts).await;
            }
            Err(Defeat::Deadline) => {
                if let Some(chain) = &parcel.chain {
                    chain.time_out();
                }
                let error = HandlerError::timeout(started.elapsed());
                self.fail(&parcel, error, false, attempts).await;
            }
        }
    }

    /// Tries until success, a permanent error, the last attempt or the requester's deadline.
    async fn attempt_all(
        &self,
        parcel: &Parcel,
        attempts: &mut u32,
    ) -> Result<Vec<Envelope>, Defeat> {
        let rules = &self.seat.rules;
        loop {
            *attempts += 1;
            let error = match self.attempt(parcel, *attempts).await {
                Err(Defeat::Handler(error)) => error,
                other => return other,
            };
            let pause = match error.kind() {
                ErrorKind::Snooze(delay) => {
                    *attempts -= 1;
                    delay
                }
                _ if error.is_transient() && *attempts < rules.attempts_max => {
                    self.seat.counters.retries.fetch_add(1, Relaxed);
                    let most = doubled(rules.retry_delay, *attempts, rules.retry_delay_max);
                    self.router.clock.jitter(most)
                }
                _ => return Err(Defeat::Handler(error)),
            };
            if parcel.envelope.metadata().remaining().is_some_and(|left| left <= pause) {
                return Err(Defeat::Deadline);
            }
            sleep(pause).await;
        }
    }

    /// One attempt, on an instance that is alive, within its time.
    async fn attempt(&self, parcel: &Parcel, attempt: u32) -> Result<Vec<Envelope>, Defeat> {
        let limit = self.seat.rules.timeout;
        let left = parcel.envelope.metadata().remaining();
        let waiting = timeout(left.unwrap_or(Duration::MAX), async {
            let turn = self.crew.turn().await?;
            let life = turn.instance().life().await?;
            Some((turn, life))
        });
        let Ok(placed) = waiting.await else {
            return Err(Defeat::Deadline);
        };
        let (turn, life) = placed.ok_or(Defeat::Unavailable)?;

        let left = parcel.envelope.metadata().remaining();
        let (router, seat) = (&self.router, &self.seat);
        let scope = Scope::new(router, &seat.domain, &seat.handler, attempt);
        let Some(feed) = self.feeds.get(parcel.envelope.name()) else {
            return Err(Defeat::Unavailable);
        };
        let sending = (feed.send)(&life.addr, parcel.envelope.clone(), Arc::clone(&scope));
        match timeout(left.map_or(limit, |left| left.min(limit)), sending).await {
            Ok(Ok(())) => Ok(scope.seal()),
            Ok(Err(error)) => {
                scope.seal();
                Err(Defeat::Handler(Self::judge(&life, error)))
            }
            Err(_) => {
                scope.seal();
                if seat.rules.blocking.is_some() {
                    // A thread that computes cannot be interrupted: its turn ends when it is free.
                    actix_rt::spawn(async move { turn.instance().thread_is_free().await });
                }
                match left {
                    Some(left) if left <= limit => Err(Defeat::Deadline),
                    _ => Err(Defeat::Handler(HandlerError::timeout(limit))),
                }
            }
        }
    }

    /// Turns a failed message into an error, and condemns the life in which something panicked.
    fn judge(life: &Life<A>, error: SendError) -> HandlerError {
        match error {
            SendError::Handler(error) => {
                if error.kind() == ErrorKind::Panic {
                    life.condemn(error.message().to_owned());
                }
                error
            }
            SendError::Lost => match life.end() {
                Some(End::Panicked(panic)) => HandlerError::panic(panic.clone()),
                Some(End::Stopped | End::Retired) => {
                    HandlerError::panic("the actor stopped before it answered")
                }
                None => {
                    let panic = "the handler's future ended without an answer: it panicked";
                    life.condemn(panic.to_owned());
                    HandlerError::panic(panic)
                }
            },
        }
    }

    async fn publish(&self, parcel: &Parcel, outputs: Vec<Envelope>) {
        if let Some(chain) = &parcel.chain {
            for envelope in &outputs {
                chain.offer(envelope);
            }
        }
        for envelope in outputs {
            let chain = parcel.chain.clone();
            self.router.publish_onward(Parcel { envelope, chain, rank: 0 }).await;
        }
    }

    async fn pass_on(&self, parcel: Parcel) {
        if self.router.pass_on(parcel.clone()).await {
            return;
        }
        let (event, trace_id) = (parcel.envelope.name(), parcel.envelope.trace_id());
        if !parcel.fail(RequestError::NoHandler { event, trace_id }) {
            self.router.bury(&parcel, &self.seat.handler, DeadReason::Declined, 1);
        }
    }

    /// Publishes the error fact, and keeps the event as a dead letter unless it was rejected and a
    /// requester was told.
    async fn fail(&self, parcel: &Parcel, error: HandlerError, told: bool, attempts: u32) {
        let (envelope, handler) = (&parcel.envelope, &self.seat.handler);
        if !error.is_public() {
            tracing::error!(
                handler = %handler, event = envelope.name(), trace_id = %envelope.trace_id(),
                attempts, %error, "delivery failed"
            );
        }
        if let Some(fact) = self.router.error_fact(envelope, handler, &error, attempts) {
            let chain = parcel.chain.clone();
            self.router.publish_onward(Parcel { envelope: fact, chain, rank: 0 }).await;
        }
        if !(told && error.is_public()) {
            self.router.bury(parcel, handler, DeadReason::Failed(error), attempts);
        }
    }

    fn record(&self, parcel: &Parcel, started: Instant, error: Option<&str>, attempts: u32) {
        let (envelope, ended) = (&parcel.envelope, Instant::now());
        let (took, ts) = (ended - started, self.router.clock.at(ended));
        let last_error = error.map(|code| LastError {
            code: code.to_owned(),
            trace_id: envelope.trace_id(),
            at: ts,
        });
        self.seat.counters.record(took, last_error);
        if self.router.event_log.is_enabled() {
            self.router.event_log.push(EventRecord {
                ts,
                event_type: envelope.name(),
                event_id: envelope.id(),
                trace_id: envelope.trace_id(),
                source: envelope.source().to_owned(),
                handler: self.seat.handler.to_string(),
                duration_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
                ok: error.is_none(),
                error: error.map(str::to_owned),
                attempts,
            });
        }
    }
}
