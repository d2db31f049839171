//! What can go wrong: the closed vocabulary in which a handler fails.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

mod request;
pub use request::{PublishError, RequestError};

/// What a handler returns.
pub type HandlerResult<T> = Result<T, HandlerError>;

/// Why a handler did not do its work.
///
/// Any [`std::error::Error`] becomes a `retry` by `?`: it may succeed next time. What can never
/// succeed is a [`reject`](Self::reject), whose code and message are meant for the client; the
/// message of every other kind stays inside.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct HandlerError(
    /// Boxed, because results travel through every layer and most of them are successes.
    Box<Parts>,
);

#[derive(Clone, Debug, Serialize)]
struct Parts {
    kind: ErrorKind,
    code: Cow<'static, str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

/// The kinds of [`HandlerError`].
///
/// What a handler returns, or what happens while it works:
///
/// | kind | another attempt | breaker | fallback | dead letter | told to the client |
/// |---|---|---|---|---|---|
/// | `Retry` | by policy | failure | after the last | after the last | the code |
/// | `Timeout` | by policy | failure | after the last | after the last | the code |
/// | `Panic` | by policy, on a rebuilt actor | failure | after the last | after the last | the code |
/// | `Reject` | no | success | no | unless a requester was told | code, message, details |
/// | `Snooze` | later, uses up none | neutral | no | no | nothing |
/// | `Decline` | no, the next in line gets it | neutral | no | when nobody is left | nothing |
/// | `Deadline` | no | neutral | no | yes | timeout |
///
/// What a policy refuses, without a call of the handler:
///
/// | kind | another attempt | fallback | dead letter | told to the client |
/// |---|---|---|---|---|
/// | `RateLimited` | no | no | unless a requester was told | the code, when to come again |
/// | `BreakerOpen` | no | yes | unless a requester was told | the code, when to come again |
/// | `BulkheadFull` | no | yes | unless a requester was told | the code |
/// | `Expired` | no | no | no, counted as `expired` | the code |
/// | `Duplicate` | no | no | no, counted as `duplicates` | the code |
/// | `Parked` | no | no | unless a requester was told | the code |
/// | `Unavailable` | no | no | yes | the code |
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
    /// The requester's time was over before the handler had answered.
    Deadline,
    /// The rate limit refuses the event; there is room again after this time.
    RateLimited(Duration),
    /// The circuit breaker is open; it is tried again after this time.
    BreakerOpen(Duration),
    /// The bulkhead has no room.
    BulkheadFull,
    /// The event was too old when its turn came.
    Expired,
    /// The handler has handled this event, or one of the same key, before.
    Duplicate,
    /// An earlier event of its key is a dead letter, and the handler keeps the order.
    Parked,
    /// The handler is down, or ended.
    Unavailable,
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
        let (code, message) = (code.into(), message.into());
        Self(Box::new(Parts { kind, code, message, details: None }))
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

    pub(crate) fn deadline() -> Self {
        Self::new(ErrorKind::Deadline, "timeout", "the requester's time was over")
    }

    pub(crate) fn rate_limited(retry_after: Duration) -> Self {
        let kind = ErrorKind::RateLimited(retry_after);
        Self::new(kind, "rate_limited", format!("over the rate limit, again in {retry_after:?}"))
    }

    pub(crate) fn breaker_open(retry_after: Duration) -> Self {
        let kind = ErrorKind::BreakerOpen(retry_after);
        Self::new(kind, "breaker_open", format!("the breaker is open, again in {retry_after:?}"))
    }

    pub(crate) fn bulkhead_full() -> Self {
        Self::new(ErrorKind::BulkheadFull, "bulkhead_full", "the bulkhead has no room")
    }

    pub(crate) fn expired() -> Self {
        Self::new(ErrorKind::Expired, "expired", "the event was too old")
    }

    pub(crate) fn duplicate() -> Self {
        Self::new(ErrorKind::Duplicate, "duplicate", "the event was handled before")
    }

    pub(crate) fn parked() -> Self {
        let message = "an earlier event of its key is a dead letter";
        Self::new(ErrorKind::Parked, "parked", message)
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(ErrorKind::Unavailable, "unavailable", "the handler takes no events")
    }

    pub(crate) fn timeout(after: Duration) -> Self {
        Self::new(ErrorKind::Timeout, "timeout", format!("no result after {after:?}"))
    }

    pub(crate) fn panic(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Panic, "panic", message)
    }

    /// The actor was rebuilt with its siblings before it answered.
    pub(crate) fn restarted() -> Self {
        Self::new(ErrorKind::Retry, "restarted", "the actor was rebuilt with its siblings")
    }

    /// Sets the code by which programs tell this error from others of its kind.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.0.code = code.into();
        self
    }

    /// Adds facts for programs, as JSON.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The code for programs.
    pub fn error_code(&self) -> &str {
        &self.0.code
    }

    /// The text for people; internal unless [`is_public`](Self::is_public).
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The facts for programs.
    pub fn error_details(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    /// Whether the message and the details were written for the client.
    pub fn is_public(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Reject(_))
    }

    /// When another try has a chance, as far as a policy knows it.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            ErrorKind::RateLimited(after) | ErrorKind::BreakerOpen(after) => Some(after),
            _ => None,
        }
    }

    /// Whether a policy refused the event, so that the handler never saw it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::RateLimited(_)
                | ErrorKind::BreakerOpen(_)
                | ErrorKind::BulkheadFull
                | ErrorKind::Expired
                | ErrorKind::Duplicate
                | ErrorKind::Parked
                | ErrorKind::Unavailable
        )
    }

    /// Whether another attempt may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Retry | ErrorKind::Timeout | ErrorKind::Panic)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
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
            RequestError::Handler { error, .. } if error.kind() == ErrorKind::Timeout => {
                error.kind()
            }
            RequestError::Timeout { .. } => ErrorKind::Timeout,
            _ => ErrorKind::Retry,
        };
        Self(Box::new(Parts { kind, code, message: error.to_string(), details: None }))
    }
}

/// The text of a panic's payload.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}
