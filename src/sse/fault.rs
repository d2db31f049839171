//! What is wrong with a list of events for streams: told before anything starts, all at once.

/// Says that a list of events contradicts itself, with every fault found, not only the first.
///
/// Displayed, it is one line per fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.faults))]
#[non_exhaustive]
pub struct SseError {
    /// The faults, in the order in which the permits were written.
    pub faults: Vec<SseFault>,
}

/// One thing that is wrong with streams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseFault {
    /// The rules do not agree on who hears the event.
    #[error("`{event}` has two rules for who may listen to it: keep one")]
    TwoAudiences {
        /// The event's name.
        event: &'static str,
    },
    /// The rules do not agree on what is demanded of clients.
    #[error("`{event}` is permitted twice with other permissions: keep one")]
    TwoRequirements {
        /// The event's name.
        event: &'static str,
    },
    /// Permissions for an event that nobody can have, or that nobody asks for.
    #[error("`{event}`: {reason}")]
    BadPermit {
        /// The event's name.
        event: &'static str,
        /// What is wrong, and what to do about it.
        reason: &'static str,
    },
    /// The same for the streams as a whole.
    #[error("the streams: {reason}")]
    BadAccess {
        /// What is wrong, and what to do about it.
        reason: &'static str,
    },
    /// One name for two types.
    #[error("`{event}` is the name of two types, {first} and {second}: rename one")]
    TypeClash {
        /// The name.
        event: &'static str,
        /// The Rust type that was permitted first.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// A path that no route can have.
    #[error("the streams at `{path}`: {reason}")]
    BadPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn lines(faults: &[SseFault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
