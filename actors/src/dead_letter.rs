//! Where a delivery ends when nobody can handle it: a bounded ring that people can read.

use std::collections::VecDeque;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::envelope::Envelope;
use crate::error::{HandlerError, PublishError};

/// An event that a handler did not handle.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The event, with its whole context.
    pub envelope: Envelope,
    /// The handler that should have handled it.
    pub handler: String,
    /// Why it did not.
    pub reason: DeadReason,
    /// How many times it was tried.
    pub attempts: u32,
    /// When it became a dead letter.
    pub at: SystemTime,
}

/// Why an event became a dead letter.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadReason {
    /// The last attempt failed.
    #[error("failed: {0}")]
    Failed(HandlerError),
    /// Every handler in line declined it.
    #[error("declined by every handler in line")]
    Declined,
    /// The handler is down, or ended.
    #[error("the handler takes no events")]
    Unavailable,
    /// A chain published it, and the handler's queue had no room in time.
    #[error("the handler's queue is full")]
    Full,
    /// The bus refused what the handler put out.
    #[error("refused: {0}")]
    Refused(PublishError),
}

pub(crate) struct DeadLetters {
    ring: Mutex<VecDeque<DeadLetter>>,
    max: usize,
}

impl DeadLetters {
    pub(crate) fn new(max: usize) -> Self {
        Self { ring: Mutex::new(VecDeque::new()), max }
    }

    /// Keeps the letter; gives back the oldest one when there is no room for both.
    pub(crate) fn push(&self, letter: DeadLetter) -> Option<DeadLetter> {
        if self.max == 0 {
            return Some(letter);
        }
        let mut ring = self.ring.lock();
        let oldest = if ring.len() == self.max { ring.pop_front() } else { None };
        ring.push_back(letter);
        oldest
    }

    pub(crate) fn list(&self) -> Vec<DeadLetter> {
        self.ring.lock().iter().cloned().collect()
    }
}
