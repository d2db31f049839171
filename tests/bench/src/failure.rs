//! What keeps a figure from being measured, as one readable line.

use std::io;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments make no sense.
    #[error("usage: callboard-bench {0}")]
    Usage(&'static str),
    /// Figures of an unoptimised build would mislead.
    #[error("this is a dev build, its figures mean nothing: run with --release, or --quick to try")]
    DevBuild,
    /// A system refused its work.
    #[error("{system}: {reason}")]
    Refused {
        /// Who.
        system: &'static str,
        /// What it said.
        reason: String,
    },
    /// A server answered something else than it should.
    #[error("unexpected answer: {0}")]
    Answer(String),
    /// A socket, a file or a process.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failure {
    /// Wraps what a system said.
    pub(crate) fn of(system: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |reason| Self::Refused { system, reason: reason.to_string() }
    }
}
