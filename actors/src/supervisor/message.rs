//! What a supervisor is asked and told.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix::{Addr, Message};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bell::Bell;
use crate::metrics::HandlerStatus;
use crate::seat::Seat;
use crate::supervisor::{End, Supervisor, Verdict};

/// A host reports that an actor ended, and asks what to do.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(crate) seat: Arc<Seat>,
    pub(crate) end: End,
    /// Whether a delivery has logged the panic.
    pub(crate) is_logged: Arc<AtomicBool>,
}

impl Message for Ended {
    type Result = Answer;
}

/// What follows, and whom to tell when the next actor has started.
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) started: Option<oneshot::Sender<()>>,
}

impl Answer {
    pub(super) fn only(verdict: Verdict) -> Self {
        Self { verdict, started: None }
    }

    /// A supervisor that is gone wants no restart.
    pub(crate) fn of_nobody() -> Self {
        Self::only(Verdict::GiveUp(HandlerStatus::Ended))
    }
}

/// Starts a host; it is given the supervisor's address.
pub(crate) struct StartChild(pub(crate) Hire);

/// What starts the host of a handler, whatever the type of its actor.
pub(crate) type Hire = Box<dyn FnOnce(&Addr<Supervisor>) -> Child + Send>;

impl Message for StartChild {
    type Result = ();
}

/// Stops one host after it has handled what waits in its closed queue.
pub(crate) struct StopChild {
    pub(crate) seat_id: u64,
}

impl Message for StopChild {
    type Result = ();
}

/// Stops all hosts now, the last one first.
pub(crate) struct StopAll;

impl Message for StopAll {
    type Result = ();
}

/// A host at work.
pub(crate) struct Child {
    pub(crate) seat: Arc<Seat>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) task: JoinHandle<()>,
}

/// A handler on one more thread.
pub(crate) struct Branch {
    pub(crate) bell: Arc<Bell>,
    /// Answers, by an error, when the branch has ended.
    pub(crate) ended: oneshot::Receiver<()>,
}

/// A branch has been opened; answers whether its handler is still there.
pub(crate) struct AddBranch {
    pub(crate) seat_id: u64,
    pub(crate) branch: Branch,
}

impl Message for AddBranch {
    type Result = bool;
}
