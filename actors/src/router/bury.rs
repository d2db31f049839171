//! What happens to events that are not handled, or not even delivered: dead letters and error facts.

use std::sync::atomic::Ordering;

use crate::chain::Parcel;
use crate::dead_letter::{DeadLetter, DeadLetterId, DeadReason};
use crate::envelope::{Envelope, Label};
use crate::error::{HandlerError, PublishError, RequestError};
use crate::observed::Observed;
use crate::phase::Phase;
use crate::router::{Router, fail_full};
use crate::seat::Seat;

impl Router {
    /// Keeps an event that a handler did not handle.
    pub(crate) fn bury(&self, parcel: &Parcel, handler: &str, reason: DeadReason, attempts: u32) {
        let envelope = parcel.envelope.clone();
        tracing::warn!(
            handler, event = envelope.name(), trace_id = %envelope.trace_id(),
            attempts, %reason, "dead letter"
        );
        if let Some(replay) = &parcel.replay {
            // It is one already.
            return replay.fail(reason, attempts);
        }
        self.totals.dead_lettered.fetch_add(1, Ordering::Relaxed);
        let (id, now) = (DeadLetterId::new(self.clock.event_id()), self.clock.now());
        let letter = DeadLetter {
            id,
            envelope,
            handler: handler.to_owned(),
            reason,
            attempts,
            replays: 0,
            first_failed_at: now,
            last_failed_at: now,
        };
        self.observer.see(|| Observed::Dead(&letter));
        let lost = self.dead.add(letter);
        self.totals.dead_letters_lost.fetch_add(lost.len() as u64, Ordering::Relaxed);
        for lost in lost {
            tracing::error!(
                handler = lost.handler, event = lost.envelope.name(),
                trace_id = %lost.envelope.trace_id(), "dead letter discarded, their store is full"
            );
        }
    }

    /// A handler that takes no events got one: it is dead, unless the runtime has stopped.
    pub(crate) fn bury_unavailable(
        &self,
        parcel: &Parcel,
        seat: &Seat,
    ) -> Result<(), PublishError> {
        let (event, trace_id) = (parcel.envelope.name(), parcel.envelope.trace_id());
        if self.phase.get() == Phase::Stopped {
            return Err(PublishError::Shutdown { event });
        }
        let handler = seat.handler.to_string();
        parcel.fail(RequestError::Unavailable { event, handler, trace_id });
        self.bury(parcel, &seat.handler, DeadReason::Unavailable, 0);
        let error = HandlerError::retry("the handler takes no events").code("unavailable");
        self.announce(parcel, &seat.handler, &error);
        Ok(())
    }

    /// A chain's event found no room in time.
    pub(super) fn bury_full(&self, parcel: &Parcel, seat: &Seat) {
        fail_full(parcel, seat);
        self.bury(parcel, &seat.handler, DeadReason::Full, 0);
        let error = HandlerError::retry("the handler's queue is full").code("full");
        self.announce(parcel, &seat.handler, &error);
    }

    /// A handler's predicate panicked on an event.
    pub(super) fn bury_unwanted(&self, parcel: &Parcel, seat: &Seat, panic: &str) {
        let handler = &*seat.handler;
        tracing::error!(
            handler, event = parcel.envelope.name(), trace_id = %parcel.envelope.trace_id(), panic,
            "a predicate panicked"
        );
        let error = HandlerError::panic(panic);
        parcel.fail_at(handler, &error);
        self.bury(parcel, handler, DeadReason::Failed(error.clone()), 0);
        self.announce(parcel, handler, &error);
    }

    /// Publishes the fact that an event was not even delivered. It waits for nothing: who has no
    /// room for it gets a dead letter.
    fn announce(&self, parcel: &Parcel, handler: &str, error: &HandlerError) {
        let Some(fact) = self.error_fact(&parcel.envelope, handler, error, 0) else { return };
        let parcel = Parcel::new(fact, parcel.chain.clone());
        self.count_published(&parcel.envelope);
        let route = self.route(&parcel.envelope);
        for place in &*self.choose(route.as_deref(), &parcel) {
            let copy = place.address(parcel.clone());
            // Refused only at shutdown, where each chain tells its requester when it is dropped.
            if self.offer(&place.seat, copy).is_ok_and(|refused| refused.is_some()) {
                self.bury(&parcel, &place.seat.handler, DeadReason::Full, 0);
            }
        }
    }

    /// The fact that a handler failed on an event, unless the event is such a fact itself. What
    /// makes good for the failure has its own time: the requester's may be over.
    pub(crate) fn error_fact(
        &self,
        envelope: &Envelope,
        handler: &str,
        error: &HandlerError,
        attempts: u32,
    ) -> Option<Envelope> {
        let mut metadata = envelope.metadata().clone();
        metadata.deadline = None;
        let label = Label {
            id: self.clock.event_id(),
            metadata,
            causation_id: Some(envelope.id()),
            span_id: envelope.parent_span_id(),
            source: handler.into(),
            timestamp: self.clock.now(),
            hops: envelope.hops() + 1,
            expires_at: None,
        };
        envelope.error_fact(handler, error, attempts, label)
    }

    pub(super) fn bury_refused(&self, parcel: &Parcel, refused: PublishError) {
        parcel.fail(RequestError::not_accepted(refused.clone(), parcel.envelope.trace_id()));
        let error = HandlerError::retry(refused.to_string()).code("refused");
        let publisher = parcel.envelope.source();
        self.bury(parcel, publisher, DeadReason::Refused(refused), 0);
        self.announce(parcel, publisher, &error);
    }
}
