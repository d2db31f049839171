//! Why a runtime does not start: every fault of what was mounted, at once.

use std::fmt::Write as _;

/// Everything that is wrong with what was mounted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} in what was mounted:{}", count(.faults.len()), list(.faults))]
#[non_exhaustive]
pub struct StartError {
    /// The faults, none of which hides another.
    pub faults: Vec<StartFault>,
}

impl StartError {
    pub(crate) fn shutdown() -> Self {
        Self { faults: vec![StartFault::Shutdown] }
    }
}

fn count(faults: usize) -> String {
    if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") }
}

fn list(faults: &[StartFault]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  - {fault}");
        text
    })
}

/// One thing that is wrong with what was mounted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartFault {
    /// A name that no event can have.
    #[error("`{name}` ({type_name}) cannot be an event name: {reason}")]
    BadEventName {
        /// The name.
        name: &'static str,
        /// The Rust type.
        type_name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name that no domain can have.
    #[error("`{domain}` cannot be a domain name: use lower-case letters, digits and `_`")]
    BadDomainName {
        /// The name.
        domain: String,
    },
    /// Two domains of one name.
    #[error("domain `{domain}` is mounted twice: put its handlers into one")]
    DuplicateDomain {
        /// The name.
        domain: String,
    },
    /// One name for two types.
    #[error("`{name}` is the name of two types, {first} and {second}: rename one")]
    TypeClash {
        /// The name.
        name: &'static str,
        /// A Rust type.
        first: &'static str,
        /// Another one.
        second: &'static str,
    },
    /// A handler publishes under the name of another domain.
    #[error("{handler} publishes `{event}`, but domain `{domain}` may publish only `{domain}.*`")]
    ForeignNamespace {
        /// The handler.
        handler: String,
        /// Its domain.
        domain: String,
        /// The event.
        event: &'static str,
    },
    /// A handler publishes under a name that the bus keeps for itself.
    #[error("{handler} publishes `{event}`, but names that end in `.error` belong to the bus")]
    ReservedName {
        /// The handler.
        handler: String,
        /// The event.
        event: &'static str,
    },
    /// A handler takes the same event twice.
    #[error("{handler} subscribes to `{event}` twice: an actor handles an event in one way")]
    DuplicateInput {
        /// The handler.
        handler: String,
        /// The event.
        event: &'static str,
    },
    /// A pattern that cannot match.
    #[error("{handler} subscribes to the pattern `{pattern}`: {reason}")]
    BadPattern {
        /// The handler.
        handler: String,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two handlers would answer one request.
    #[error(
        "`{event}` is requested, and {handlers} all answer with `{reply}`: give each a different `Policy::priority`, the highest that does not decline answers"
    )]
    DuplicateResponder {
        /// The event.
        event: &'static str,
        /// The reply.
        reply: &'static str,
        /// The handlers, joined by commas.
        handlers: String,
    },
    /// Two handlers stand at the same place in line.
    #[error(
        "{handlers} stand in line for `{event}` with the same priority {priority}: give them different ones"
    )]
    EqualPriority {
        /// The event.
        event: &'static str,
        /// The priority.
        priority: i32,
        /// The handlers, joined by commas.
        handlers: String,
    },
    /// A request that nobody can answer.
    #[error("`{event}` is requested, but no handler subscribes to it")]
    NoResponder {
        /// The event.
        event: &'static str,
    },
    /// An event that nobody hears, where that was to be refused.
    #[error("{handler} publishes `{event}`, but nobody subscribes to it")]
    Unheard {
        /// The handler.
        handler: String,
        /// The event.
        event: &'static str,
    },
    /// A policy that cannot work.
    #[error("the policy of {owner}: {reason}")]
    BadPolicy {
        /// The handler, "domain `name`" or "the runtime".
        owner: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A limit of the runtime that cannot work.
    #[error("the runtime's {limit} is 0")]
    ZeroLimit {
        /// The limit's name.
        limit: &'static str,
    },
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Shutdown,
}
