//! The reply slot that rides with the events of a chain: the wanted event, the first error, or the
//! end of the chain fills it, and only once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::dead_letter::Replay;
use crate::envelope::Envelope;
use crate::error::{HandlerError, RequestError};
use crate::event::TraceId;
use crate::phase::{Phase, PhaseCell};
use crate::queue::Keyed;

/// How a chain ended for the one who waits for it.
pub(crate) type Answer = Result<Envelope, RequestError>;

/// Whom to tell; called once.
pub(crate) type ReplyTo = Box<dyn FnOnce(Answer) + Send>;

/// One request (or scheduled event) and all that follows from it.
///
/// Each event of the chain holds a clone of the `Arc`. When the last of them is gone and nobody
/// filled the slot, `Drop` fills it: that is how a requester learns at once that no reply can come.
pub(crate) struct Chain {
    requested: &'static str,
    /// `None` when only the end matters.
    wanted: Option<&'static str>,
    trace_id: TraceId,
    /// How long the requester waits.
    patience: Duration,
    slot: Mutex<Option<ReplyTo>>,
    phase: Arc<PhaseCell>,
    /// Dropped with the chain, for who wants to know only when it has ended.
    _until_end: Option<UntilEnd>,
}

/// Something that tells when it is dropped.
pub(crate) type UntilEnd = Box<dyn Send + Sync>;

/// What a chain is made from.
pub(crate) struct ChainPlan {
    pub(crate) requested: &'static str,
    pub(crate) wanted: Option<&'static str>,
    pub(crate) trace_id: TraceId,
    pub(crate) patience: Duration,
    pub(crate) phase: Arc<PhaseCell>,
}

impl Chain {
    pub(crate) fn new(plan: ChainPlan, reply_to: ReplyTo) -> Arc<Self> {
        Self::build(plan, Some(reply_to), None)
    }

    /// A chain that nobody waits for, so that no failure in it counts as told.
    pub(crate) fn watched(plan: ChainPlan, until_end: UntilEnd) -> Arc<Self> {
        Self::build(plan, None, Some(until_end))
    }

    fn build(plan: ChainPlan, reply_to: Option<ReplyTo>, until_end: Option<UntilEnd>) -> Arc<Self> {
        let ChainPlan { requested, wanted, trace_id, patience, phase } = plan;
        let slot = Mutex::new(reply_to);
        Arc::new(Self { requested, wanted, trace_id, patience, slot, phase, _until_end: until_end })
    }

    /// Gives the event to the requester if it is the one that is waited for.
    pub(crate) fn offer(&self, envelope: &Envelope) {
        if self.wanted == Some(envelope.name()) {
            self.fill(Ok(envelope.clone()));
        }
    }

    /// Tells the requester; says whether there was still one who waited.
    pub(crate) fn fail(&self, error: RequestError) -> bool {
        self.fill(Err(error))
    }

    /// Tells the requester that its time is over.
    pub(crate) fn time_out(&self) -> bool {
        let (event, after, trace_id) = (self.requested, self.patience, self.trace_id);
        self.fail(RequestError::Timeout { event, after, trace_id })
    }

    fn fill(&self, answer: Answer) -> bool {
        let reply_to = self.slot.lock().take();
        let waited = reply_to.is_some();
        if let Some(reply_to) = reply_to {
            reply_to(answer);
        }
        waited
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let (event, trace_id) = (self.requested, self.trace_id);
        let error = if self.phase.get() == Phase::Stopped {
            RequestError::Shutdown { event, trace_id }
        } else {
            RequestError::NoReply { event, wanted: self.wanted.unwrap_or_default(), trace_id }
        };
        self.fail(error);
    }
}

/// One who waits for a reply. It becomes a [`Chain`] only when there is something to wait for:
/// many replies are there at once.
pub(crate) struct Asker<'r> {
    pub(crate) requested: &'static str,
    pub(crate) wanted: &'static str,
    pub(crate) trace_id: TraceId,
    pub(crate) asked_at: Instant,
    pub(crate) patience: Duration,
    pub(crate) phase: &'r Arc<PhaseCell>,
    /// Why nobody was asked.
    pub(crate) refused: Option<RequestError>,
    /// The reply, if it was there at once.
    pub(crate) reply: Option<Envelope>,
    /// Where the reply arrives once there is a chain.
    pub(crate) answer: Option<oneshot::Receiver<Answer>>,
}

impl Asker<'_> {
    /// The chain in which the reply is to be found.
    pub(crate) fn chain(&mut self) -> Arc<Chain> {
        let (reply_to, answer) = oneshot::channel();
        self.answer = Some(answer);
        let plan = ChainPlan {
            requested: self.requested,
            wanted: Some(self.wanted),
            trace_id: self.trace_id,
            patience: self.patience,
            phase: Arc::clone(self.phase),
        };
        // A requester that no longer waits has dropped its receiver.
        Chain::new(plan, Box::new(move |answer: Answer| drop(reply_to.send(answer))))
    }

    /// Takes the reply if it is among these events; else the chain goes on with them.
    pub(crate) fn look_among(&mut self, outputs: &[Envelope]) -> Option<Arc<Chain>> {
        self.reply = outputs.iter().find(|output| output.name() == self.wanted).cloned();
        if self.reply.is_some() { None } else { Some(self.chain()) }
    }
}

/// What lies in a queue: the event, and the chain that it belongs to.
#[derive(Clone)]
pub(crate) struct Parcel {
    pub(crate) envelope: Envelope,
    pub(crate) chain: Option<Arc<Chain>>,
    /// Which place it was delivered to in the line of its event's prioritised handlers.
    pub(crate) rank: Option<usize>,
    /// When it is too old for the handler that it was delivered to.
    pub(crate) expires_at: Option<Instant>,
    /// Set when it is a dead letter that is delivered once more.
    pub(crate) replay: Option<Arc<Replay>>,
}

impl Keyed for Parcel {
    fn key(&self) -> Option<&str> {
        self.envelope.key()
    }
}

impl Parcel {
    pub(crate) fn new(envelope: Envelope, chain: Option<Arc<Chain>>) -> Self {
        let expires_at = envelope.label().expires_at;
        Self { envelope, chain, rank: None, expires_at, replay: None }
    }

    /// A dead letter that is delivered once more, whatever its age.
    pub(crate) fn replayed(envelope: Envelope, replay: Arc<Replay>) -> Self {
        Self { envelope, chain: None, rank: None, expires_at: None, replay: Some(replay) }
    }

    pub(crate) fn fail(&self, error: RequestError) -> bool {
        self.chain.as_ref().is_some_and(|chain| chain.fail(error))
    }

    /// Tells the requester how a handler failed; says whether there was one who waited.
    pub(crate) fn fail_at(&self, handler: &str, error: &HandlerError) -> bool {
        self.fail(RequestError::Handler {
            event: self.envelope.name(),
            handler: handler.to_owned(),
            error: error.clone(),
            trace_id: self.envelope.trace_id(),
        })
    }
}
