//! What a full queue does with one more event.

use std::fmt;

/// What happens to an event when the handler's queue is full.
///
/// | policy | the publisher | the event | the queue |
/// |---|---|---|---|
/// | `Wait` | waits for room | accepted later | unchanged |
/// | `Reject` | gets [`PublishError::Full`](crate::PublishError::Full) | reaches no handler at all | unchanged |
/// | `DropOldest` | goes on | accepted | its oldest event is dropped and counted |
/// | `DropNewest` | goes on | dropped and counted | unchanged |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The publisher waits. Back-pressure is the safe default.
    #[default]
    Wait,
    /// The publisher gets an error.
    Reject,
    /// The oldest waiting event makes room.
    DropOldest,
    /// The new event is dropped.
    DropNewest,
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "wait",
            Self::Reject => "reject",
            Self::DropOldest => "drop_oldest",
            Self::DropNewest => "drop_newest",
        })
    }
}
