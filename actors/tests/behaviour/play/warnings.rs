//! What the runtime logs, for tests to read.

use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Level, Metadata, Subscriber};

use crate::play::Log;

/// Writes down what is logged as a warning or worse.
pub(crate) struct Warnings(pub(crate) Log);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.add(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Warnings {
    /// Writes down what this thread logs, until the guards are dropped.
    pub(crate) fn written_to(log: &Log) -> (Dispatch, DefaultGuard) {
        // Of a single subscriber tracing asks the one of the thread that logs a line first, which
        // in another test is none, and remembers that; of two it asks all.
        let second = Dispatch::new(Self(Log::default()));
        (second, tracing::subscriber::set_default(Self(log.clone())))
    }
}
