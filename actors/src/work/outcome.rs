//! What follows when a handler is done: its outputs, or word of its failure, and the record of both.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context as TaskContext;

use actix::{Actor, Context};
use tokio::time::Instant;

use crate::chain::{Asker, Chain, Parcel};
use crate::context::Outbox;
use crate::dead_letter::DeadReason;
use crate::envelope::Envelope;
use crate::error::{ErrorKind, HandlerError, RequestError};
use crate::event_log::Entry;
use crate::live::LiveGuard;
use crate::metrics::LastError;
use crate::observed::{Delivered, Observed};
use crate::table::Table;
use crate::work::Work;

impl<A: Actor<Context = Context<A>>> Work<A> {
    /// Says to all whom it concerns that the event was not handled.
    pub(super) async fn end(
        &self,
        parcel: &Parcel,
        error: HandlerError,
        started: Instant,
        attempts: u32,
    ) {
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

    /// Publishes what the handler put out; the host waits for those who have no room.
    pub(super) fn publish(
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
        offer(chain.as_deref(), &outputs);
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

    /// As [`publish`](Self::publish), waiting for room.
    pub(super) async fn publish_all(&self, parcel: &Parcel, outputs: Outbox) {
        offer(parcel.chain.as_deref(), &outputs);
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

    /// Says when the handler was done.
    pub(super) fn record(
        &self,
        parcel: &Parcel,
        started: Instant,
        error: Option<&HandlerError>,
        attempts: u32,
    ) -> Instant {
        let counters = &self.seat.counters;
        let (envelope, ended) = (&parcel.envelope, Instant::now());
        let took = ended - started;
        let failure = error.filter(|error| error.kind() != ErrorKind::Decline);
        match error.map(HandlerError::kind) {
            Some(ErrorKind::Unavailable) => return ended,
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
        ended
    }
}

fn offer(chain: Option<&Chain>, outputs: &[Envelope]) {
    if let Some(chain) = chain {
        for envelope in outputs {
            chain.offer(envelope);
        }
    }
}
