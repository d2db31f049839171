//! Whether an actor that ended is built again.

use std::fmt;

/// Whether a handler's actor is rebuilt by its factory after it ended.
///
/// | policy | panic | `ctx.stop()` |
/// |---|---|---|
/// | `Always` | rebuilt | rebuilt |
/// | `OnFailure` | rebuilt | ended |
/// | `Never` | down | ended |
///
/// Rebuilt: the queue is kept and goes on. Down, or more often rebuilt than `restarts_max`: what
/// waits and what comes becomes dead letters, and health says so. Ended: the same, but by intent,
/// so health stays up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restart {
    /// After a panic and after a stop.
    #[default]
    Always,
    /// After a panic only.
    OnFailure,
    /// Not at all.
    Never,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::OnFailure => "on_failure",
            Self::Never => "never",
        })
    }
}
