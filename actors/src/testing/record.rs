//! The record of a test: what an observer sees enters, with its moment; the steps of one session
//! leave.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::dead_letter::DeadLetter;
use crate::envelope::Envelope;
use crate::error::{ErrorKind, HandlerError};
use crate::event::TraceId;
use crate::observed::Observed;

/// How many steps one bus records.
const RECORD_MAX: usize = 100_000;

/// All steps of one bus so far.
#[derive(Default)]
pub(crate) struct Record {
    steps: Mutex<Vec<Step>>,
}

/// One step, and when it was made.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) at: Instant,
    name: &'static str,
    /// `None` for what belongs to no chain yet.
    pub(crate) envelope: Option<Envelope>,
    pub(crate) what: What,
}

/// What was done with an event.
#[derive(Clone)]
pub(crate) enum What {
    Published,
    Unheard,
    Ended { handler: String, error: Option<HandlerError>, attempts: u32, took: Duration },
    Dead(DeadLetter),
    Overflowed { handler: String },
    Scheduled { event: Arc<dyn Any + Send + Sync>, spec: String },
}

impl Record {
    /// Writes down a step.
    ///
    /// # Panics
    /// When the record is full: a test that went on would miss what follows.
    pub(crate) fn add(&self, observed: Observed<'_>) {
        let step = Step::of(observed);
        let mut steps = self.steps.lock();
        assert!(steps.len() < RECORD_MAX, "a test bus records at most {RECORD_MAX} steps");
        steps.push(step);
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.lock().len()
    }

    /// The steps from the given one on: those of one trace, and those that belong to none.
    pub(crate) fn since(&self, mark: usize, trace_id: TraceId) -> Vec<Step> {
        let steps = self.steps.lock();
        steps[mark..].iter().filter(|step| step.is_of(trace_id)).cloned().collect()
    }

    /// The latest steps, of whatever trace.
    pub(crate) fn latest(&self, count: usize) -> Vec<Step> {
        let steps = self.steps.lock();
        steps[steps.len().saturating_sub(count)..].to_vec()
    }

    /// All envelopes that were published so far.
    pub(crate) fn published(&self) -> Vec<Envelope> {
        self.steps.lock().iter().filter_map(Step::published).cloned().collect()
    }
}

impl Step {
    fn of(observed: Observed<'_>) -> Self {
        let (envelope, what) = match observed {
            Observed::Published(envelope) => (envelope, What::Published),
            Observed::Unheard(envelope) => (envelope, What::Unheard),
            Observed::Delivered(ended) => {
                let (handler, error) = (ended.handler.to_owned(), ended.error.cloned());
                let (attempts, took) = (ended.attempts, ended.took);
                (ended.envelope, What::Ended { handler, error, attempts, took })
            }
            Observed::Dead(letter) => (&letter.envelope, What::Dead(letter.clone())),
            Observed::Dropped { envelope, handler } => {
                (envelope, What::Overflowed { handler: handler.to_owned() })
            }
            Observed::Scheduled { name, event, spec } => {
                let what = What::Scheduled { event, spec };
                return Self { at: Instant::now(), name, envelope: None, what };
            }
        };
        let name = envelope.name();
        Self { at: Instant::now(), name, envelope: Some(envelope.clone()), what }
    }

    fn is_of(&self, trace_id: TraceId) -> bool {
        self.envelope.as_ref().is_none_or(|envelope| envelope.trace_id() == trace_id)
    }

    /// The envelope, if this step published it.
    pub(crate) fn published(&self) -> Option<&Envelope> {
        self.envelope.as_ref().filter(|_| matches!(self.what, What::Published))
    }
}

impl What {
    /// Who handles; empty where nobody does.
    fn handler(&self) -> &str {
        match self {
            Self::Ended { handler, .. } | Self::Overflowed { handler } => handler,
            Self::Dead(letter) => &letter.handler,
            Self::Published | Self::Unheard | Self::Scheduled { .. } => "",
        }
    }
}

/// What became of the event.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.envelope.as_ref().map_or("the scheduler", Envelope::source);
        match &self.what {
            What::Published => write!(f, "published by {source}"),
            What::Unheard => f.write_str("heard by nobody"),
            What::Ended { error: None, attempts, took, .. } => {
                write!(f, "handled in {took:?}, attempts: {attempts}")
            }
            What::Ended { error: Some(error), attempts, took, .. } => match error.kind() {
                ErrorKind::Decline => f.write_str("declined"),
                ErrorKind::Expired => f.write_str("dropped: too old"),
                ErrorKind::Duplicate => f.write_str("dropped: a duplicate"),
                _ => write!(f, "failed after {took:?}, attempts: {attempts}: {error}"),
            },
            What::Dead(letter) => write!(f, "dead letter: {}", letter.reason),
            What::Overflowed { .. } => f.write_str("dropped: the queue was full"),
            What::Scheduled { spec, .. } => write!(f, "scheduled {spec}"),
        }
    }
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("What").field("handler", &self.handler()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("steps", &self.len()).finish_non_exhaustive()
    }
}

/// Writes one line for each step: virtual time since `begun`, event, handler, what became of it.
pub(crate) fn write_timeline(
    f: &mut dyn fmt::Write,
    steps: &[Step],
    begun: Instant,
) -> fmt::Result {
    let width = |of: fn(&Step) -> usize| steps.iter().map(of).max().unwrap_or_default();
    let name_width = width(|step| step.name.len());
    let handler_width = width(|step| step.what.handler().len());
    for step in steps {
        let at = step.at.saturating_duration_since(begun).as_secs_f64();
        let (name, handler) = (step.name, step.what.handler());
        writeln!(f, "{at:>9.3} s  {name:name_width$}  {handler:handler_width$}  {step}")?;
    }
    Ok(())
}
