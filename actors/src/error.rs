//! What can go wrong: the closed vocabulary in which a handler fails, and the errors that
//! publishers and requesters see.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::event::TraceId;

/// What a handler returns.
pub type HandlerResult<T> = Result<T, HandlerError>;

/// Why a handler did not do its work.
///
/// Any [`std::error::Error`] becomes a `retry` by `?`: it may succeed next time. What can never
/// succeed is a [`reject`](Self::reject), whose code and message are meant for the client; the
/// message of every other kind stays inside.
#[derive(Clone, Debug, Serialize)]
pub struct HandlerError {
    kind: ErrorKind,
    code: Cow<'static, str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

/// The kinds of [`HandlerError`].
///
/// | kind | another attempt | dead letter | told to the client |
/// |---|---|---|---|
/// | `Retry` | yes, up to `attempts_max` | after the last | the code |
/// | `Timeout` | yes, up to `attempts_max` | after the last | the code |
/// | `Panic` | yes, up to `attempts_max`, on a rebuilt actor | after the last | the code |
/// | `Reject` | no | only when no requester was told | code, message and details |
/// | `Snooze` | later, without using up an attempt | no | nothing |
/// | `Decline` | no, the next handler in line gets the event | when nobody is left | nothing |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// It may work next time.
    Retry,
    /// The handler took longer than its policy or the requester's deadline allowed.
    Timeout,
    /// The handler panicked, or its actor stopped before it answered.
    Panic,
    /// It will never work.
    Reject(Rejection),
    /// Not now; again after this time.
    Snooze(Duration),
    /// Not mine.
    Decline,
}

/// Why an event can never be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rejection {
    /// The event's content is wrong.
    Invalid,
    /// What the event speaks of does not exist.
    NotFound,
    /// The state of things does not allow it.
    Conflict,
    /// The identity may not do this.
    Forbidden,
    /// There is no identity.
    Unauthorized,
}

impl HandlerError {
    fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), details: None }
    }

    /// It may work next time; `message` is for the log.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, "handler_error", message)
    }

    /// It will never work, because the event's content is wrong (code `invalid`).
    pub fn reject(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Reject(Rejection::Invalid), "invalid", message)
    }

    /// It will never work, because what the event speaks of does not exist (code `not_found`).
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Reject(Rejection::NotFound), "not_found", message)
    }

    /// It will never work, because the state of things does not allow it (code `conflict`).
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Reject(Rejection::Conflict), "conflict", message)
    }

    /// It will never work, because the identity may not do this (code `forbidden`).
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Reject(Rejection::Forbidden), "forbidden", message)
    }

    /// It will never work, because there is no identity (code `unauthorized`).
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Reject(Rejection::Unauthorized), "unauthorized", message)
    }

    /// Not now: the event is handled again after `delay`, without using up an attempt.
    pub fn snooze(delay: Duration) -> Self {
        Self::new(ErrorKind::Snooze(delay), "snoozed", format!("again in {delay:?}"))
    }

    /// Not mine: the next handler in line gets the event.
    pub fn decline() -> Self {
        Self::new(ErrorKind::Decline, "declined", "the handler declined the event")
    }

    pub(crate) fn timeout(after: Duration) -> Self {
        Self::new(ErrorKind::Timeout, "timeout", format!("no result after {after:?}"))
    }

    pub(crate) fn panic(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Panic, "panic", message)
    }

    /// Sets the code by which programs tell this error from others of its kind.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = code.into();
        self
    }

    /// Adds facts for programs, as JSON.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The code for programs.
    pub fn error_code(&self) -> &str {
        &self.code
    }

    /// The text for people; internal unless [`is_public`](Self::is_public).
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The facts for programs.
    pub fn error_details(&self) -> Option<&Value> {
        self.details.as_ref()
    }

    /// Whether the message and the details were written for the client.
    pub fn is_public(&self) -> bool {
        matches!(self.kind, ErrorKind::Reject(_))
    }

    /// Whether another attempt may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Retry | ErrorKind::Timeout | ErrorKind::Panic)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// An error of a library becomes a `retry`. The error of a request inside a handler keeps its code,
/// and its kind where that is a rejection or a timeout: what panicked, declined or snoozed there is
/// to be tried again here.
///
/// `HandlerError` itself is not a [`std::error::Error`], or this conversion could not exist.
impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        if let Some(error) = (&error as &dyn Any).downcast_ref::<RequestError>() {
            return Self::of_request(error);
        }
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::retry(message)
    }
}

impl HandlerError {
    fn of_request(error: &RequestError) -> Self {
        let code = Cow::Owned(error.code().to_owned());
        let kind = match error {
            RequestError::Handler { error, .. } if error.is_public() => return error.clone(),
            RequestError::Handler { error, .. } if error.kind == ErrorKind::Timeout => error.kind,
            RequestError::Timeout { .. } => ErrorKind::Timeout,
            _ => ErrorKind::Retry,
        };
        Self { kind, code, message: error.to_string(), details: None }
    }
}

/// Why an event was not accepted. Nothing was delivered to the handler that is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A queue with overflow policy `Reject` had no room, or `try_publish` found none.
    #[error("the queue of {handler} is full ({queue_max} events), `{event}` was refused")]
    Full {
        /// The event's name.
        event: &'static str,
        /// The handler whose queue is full.
        handler: String,
        /// The limit of that queue, in events.
        queue_max: usize,
    },
    /// The runtime is draining or has stopped.
    #[error("the runtime is shutting down, `{event}` was refused")]
    Shutdown {
        /// The event's name.
        event: &'static str,
    },
    /// The event's name belongs to another Rust type.
    #[error("`{event}` is the name of {registered}, not of the type that was published")]
    TypeClash {
        /// The event's name.
        event: &'static str,
        /// The type that the runtime's handlers know under this name.
        registered: &'static str,
    },
    /// The chain is longer than the runtime's `hops_max`.
    #[error("`{event}` would be hop {hops} of its chain: a loop of events?")]
    TooManyHops {
        /// The event's name.
        event: &'static str,
        /// How many hops the chain would have.
        hops: u16,
    },
}

/// Why a request has no reply. The first cause wins, and it arrives at once.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A handler of the chain failed.
    #[error("{handler} failed on `{event}`: {error}")]
    Handler {
        /// The event on which it failed; in a longer chain not the one that was requested.
        event: &'static str,
        /// The handler that failed.
        handler: String,
        /// How it failed.
        error: HandlerError,
        /// The chain.
        trace_id: TraceId,
    },
    /// Nobody subscribes to the event, or everybody declined it.
    #[error("no handler for `{event}`")]
    NoHandler {
        /// The event that nobody took.
        event: &'static str,
        /// The chain.
        trace_id: TraceId,
    },
    /// The chain ended without the wanted event.
    #[error("the chain of `{event}` ended without `{wanted}`")]
    NoReply {
        /// The event that was requested.
        event: &'static str,
        /// The event that was waited for.
        wanted: &'static str,
        /// The chain.
        trace_id: TraceId,
    },
    /// Two handlers answer the event and neither has a priority.
    #[error("`{event}` is answered by {handlers}: give them different priorities")]
    Ambiguous {
        /// The event that was requested.
        event: &'static str,
        /// The handlers, joined by commas.
        handlers: String,
        /// The chain.
        trace_id: TraceId,
    },
    /// The time is over; the handlers of the chain were cancelled.
    #[error("no reply to `{event}` within {after:?}")]
    Timeout {
        /// The event that was requested.
        event: &'static str,
        /// How long it was waited for.
        after: Duration,
        /// The chain.
        trace_id: TraceId,
    },
    /// The handler failed more often than its restart policy allows and is down.
    #[error("{handler} is down, `{event}` was not handled")]
    Unavailable {
        /// The event that was not handled.
        event: &'static str,
        /// The handler that is down.
        handler: String,
        /// The chain.
        trace_id: TraceId,
    },
    /// A queue was full.
    #[error("the queue of {handler} is full ({queue_max} events), `{event}` was not handled")]
    Full {
        /// The event that was refused or dropped.
        event: &'static str,
        /// The handler whose queue is full.
        handler: String,
        /// The limit of that queue, in events.
        queue_max: usize,
        /// The chain.
        trace_id: TraceId,
    },
    /// The chain is longer than the runtime's `hops_max`.
    #[error("`{event}` would be hop {hops} of its chain: a loop of events?")]
    TooManyHops {
        /// The event that was refused.
        event: &'static str,
        /// How many hops the chain would have.
        hops: u16,
        /// The chain.
        trace_id: TraceId,
    },
    /// An event's name belongs to another Rust type.
    #[error("`{event}` is the name of {registered}, not of the type that was sent")]
    TypeClash {
        /// The event's name.
        event: &'static str,
        /// The type that the runtime's handlers know under this name.
        registered: &'static str,
        /// The chain.
        trace_id: TraceId,
    },
    /// The runtime stopped first.
    #[error("the runtime is shutting down, `{event}` has no reply")]
    Shutdown {
        /// The event that was requested.
        event: &'static str,
        /// The chain.
        trace_id: TraceId,
    },
}

impl RequestError {
    /// The code for programs; that of the handler when a handler failed.
    pub fn code(&self) -> &str {
        match self {
            Self::Handler { error, .. } => error.error_code(),
            Self::NoHandler { .. } => "no_handler",
            Self::NoReply { .. } => "no_reply",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Timeout { .. } => "timeout",
            Self::Unavailable { .. } => "unavailable",
            Self::Full { .. } => "full",
            Self::TooManyHops { .. } => "too_many_hops",
            Self::TypeClash { .. } => "type_clash",
            Self::Shutdown { .. } => "shutdown",
        }
    }

    /// The trace id of the chain that failed.
    pub fn trace_id(&self) -> TraceId {
        match self {
            Self::Handler { trace_id, .. }
            | Self::NoHandler { trace_id, .. }
            | Self::NoReply { trace_id, .. }
            | Self::Ambiguous { trace_id, .. }
            | Self::Timeout { trace_id, .. }
            | Self::Unavailable { trace_id, .. }
            | Self::Full { trace_id, .. }
            | Self::TooManyHops { trace_id, .. }
            | Self::TypeClash { trace_id, .. }
            | Self::Shutdown { trace_id, .. } => *trace_id,
        }
    }

    pub(crate) fn not_accepted(refused: PublishError, trace_id: TraceId) -> Self {
        match refused {
            PublishError::Full { event, handler, queue_max } => {
                Self::Full { event, handler, queue_max, trace_id }
            }
            PublishError::Shutdown { event } => Self::Shutdown { event, trace_id },
            PublishError::TypeClash { event, registered } => {
                Self::TypeClash { event, registered, trace_id }
            }
            PublishError::TooManyHops { event, hops } => {
                Self::TooManyHops { event, hops, trace_id }
            }
        }
    }
}
