//! Where a runtime is in its life; shared by everything that must refuse work once it ends.

use std::sync::atomic::{AtomicU8, Ordering};

/// The phases, in the order in which they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything is accepted.
    Running = 0,
    /// Only what running chains publish is accepted.
    Draining = 1,
    /// Nothing is accepted.
    Stopped = 2,
}

/// The phase of one runtime; it only moves forward.
#[derive(Default)]
pub(crate) struct PhaseCell(AtomicU8);

impl PhaseCell {
    pub(crate) fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    pub(crate) fn advance_to(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}
