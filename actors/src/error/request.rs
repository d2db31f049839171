//! What publishers and requesters see when it goes wrong.

use std::time::Duration;

use crate::error::HandlerError;
use crate::event::TraceId;

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
    #[error("`{event}` would be hop {hops} of its chain: {}", loop_text(.cycle))]
    TooManyHops {
        /// The event's name.
        event: &'static str,
        /// How many hops the chain would have.
        hops: u16,
        /// The events of the loop, joined by arrows, as far as their handlers declare what they
        /// publish; empty when none is known.
        cycle: String,
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
    #[error("`{event}` would be hop {hops} of its chain: {}", loop_text(.cycle))]
    TooManyHops {
        /// The event that was refused.
        event: &'static str,
        /// How many hops the chain would have.
        hops: u16,
        /// The events of the loop, joined by arrows, as far as their handlers declare what they
        /// publish; empty when none is known.
        cycle: String,
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
            PublishError::TooManyHops { event, hops, cycle } => {
                Self::TooManyHops { event, hops, cycle, trace_id }
            }
        }
    }
}

fn loop_text(cycle: &str) -> String {
    if cycle.is_empty() { "a loop of events?".to_owned() } else { format!("a loop, {cycle}") }
}
