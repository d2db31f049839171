//! What becomes of an event that nobody can handle, and how it is searched for.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::to_rfc3339;
use crate::envelope::Envelope;
use crate::error::{HandlerError, PublishError};
use crate::event::{EventId, TraceId};

mod store;
pub use store::{DeadLetterStore, DeadLetterStoreError, StoreFuture};
mod memory;
pub(crate) use memory::MemoryDeadLetters;
mod keeper;
pub(crate) use keeper::{Keeper, KeeperPlan};
mod replay;
pub(crate) use replay::Replay;

/// Identifies one dead letter: a UUID version 7, so identifiers sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeadLetterId(Uuid);

/// A text that is not the identifier of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the identifier of a dead letter is a UUID")]
#[non_exhaustive]
pub struct BadDeadLetterId;

impl DeadLetterId {
    pub(crate) fn new(fresh: EventId) -> Self {
        Self(fresh.0)
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeadLetterId {
    type Err = BadDeadLetterId;

    fn from_str(text: &str) -> Result<Self, BadDeadLetterId> {
        Uuid::try_parse(text).map(Self).map_err(|_| BadDeadLetterId)
    }
}

/// An event that a handler did not handle.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Identifies the letter; the event has an identifier of its own.
    pub id: DeadLetterId,
    /// The event, with its whole context.
    pub envelope: Envelope,
    /// The handler that should have handled it.
    pub handler: String,
    /// Why it did not, the last time.
    pub reason: DeadReason,
    /// How many times the handler was called with it, replays included.
    pub attempts: u32,
    /// How many times it was replayed.
    pub replays: u32,
    /// When it became a dead letter.
    pub first_failed_at: SystemTime,
    /// When it failed last: then, or in a replay.
    pub last_failed_at: SystemTime,
}

impl DeadLetter {
    /// The letter for an operator's page: identifiers, reason, attempts, times in RFC 3339, and the
    /// event's payload. It holds internal texts.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "event": self.envelope.name(),
            "event_id": self.envelope.id(),
            "key": self.envelope.key(),
            "trace_id": self.envelope.trace_id(),
            "handler": self.handler,
            "code": self.reason.code(),
            "reason": self.reason.to_string(),
            "attempts": self.attempts,
            "replays": self.replays,
            "first_failed_at": to_rfc3339(self.first_failed_at),
            "last_failed_at": to_rfc3339(self.last_failed_at),
            "payload": self.envelope.to_json().unwrap_or_default(),
        })
    }
}

/// Why an event became a dead letter.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadReason {
    /// The last attempt failed, or a policy refused the event.
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

impl DeadReason {
    /// The code for programs; that of the handler when it failed.
    pub fn code(&self) -> &str {
        match self {
            Self::Failed(error) => error.error_code(),
            Self::Declined => "declined",
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::Refused(_) => "refused",
        }
    }
}

/// Which dead letters are meant, the oldest first: those that meet every condition.
///
/// ```
/// use callboard_actors::DeadLetterQuery;
/// let query = DeadLetterQuery::default().handler("mail.Sender").code("timeout").limit(10);
/// assert_eq!(query.limit, 10);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetterQuery {
    /// Only those of this handler, `domain.Handler`.
    pub handler: Option<String>,
    /// Only events of this name.
    pub event_type: Option<String>,
    /// Only events of this chain.
    pub trace_id: Option<TraceId>,
    /// Only events of this key.
    pub key: Option<String>,
    /// Only those whose reason has this code.
    pub code: Option<String>,
    /// Only those whose reason or payload, as JSON, contains this text, whatever its case.
    pub text: Option<String>,
    /// Only those that became dead letters before this time.
    pub before: Option<SystemTime>,
    /// Only those that became dead letters at this time or later.
    pub since: Option<SystemTime>,
    /// At most so many, the oldest. Default 1 000.
    pub limit: usize,
}

impl Default for DeadLetterQuery {
    fn default() -> Self {
        Self {
            handler: None,
            event_type: None,
            trace_id: None,
            key: None,
            code: None,
            text: None,
            before: None,
            since: None,
            limit: 1000,
        }
    }
}

impl DeadLetterQuery {
    /// Sets [`handler`](Self::handler).
    pub fn handler(mut self, name: impl Into<String>) -> Self {
        self.handler = Some(name.into());
        self
    }

    /// Sets [`event_type`](Self::event_type).
    pub fn event_type(mut self, name: impl Into<String>) -> Self {
        self.event_type = Some(name.into());
        self
    }

    /// Sets [`trace_id`](Self::trace_id).
    pub fn trace_id(mut self, trace_id: TraceId) -> Self {
        self.trace_id = Some(trace_id);
        self
    }

    /// Sets [`key`](Self::key).
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets [`code`](Self::code).
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets [`text`](Self::text).
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Sets [`before`](Self::before).
    pub fn before(mut self, time: SystemTime) -> Self {
        self.before = Some(time);
        self
    }

    /// Sets [`since`](Self::since).
    pub fn since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }

    /// Sets [`limit`](Self::limit).
    pub fn limit(mut self, letters: usize) -> Self {
        self.limit = letters;
        self
    }

    /// Whether the letter meets every condition; the limit is none.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|w| w == text);
        is(&self.handler, &letter.handler)
            && is(&self.event_type, letter.envelope.name())
            && is(&self.code, letter.reason.code())
            && self.trace_id.is_none_or(|trace_id| trace_id == letter.envelope.trace_id())
            && self.key.as_deref().is_none_or(|key| letter.envelope.key() == Some(key))
            && self.before.is_none_or(|time| letter.first_failed_at < time)
            && self.since.is_none_or(|time| letter.first_failed_at >= time)
            && self.text.as_ref().is_none_or(|text| contains(letter, text))
    }
}

fn contains(letter: &DeadLetter, text: &str) -> bool {
    let text = text.to_lowercase();
    let payload = letter.envelope.to_json().unwrap_or_default();
    letter.reason.to_string().to_lowercase().contains(&text)
        || payload.to_string().to_lowercase().contains(&text)
}
