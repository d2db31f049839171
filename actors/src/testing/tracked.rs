//! What followed from one event that a test published or requested, for assertions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::dead_letter::DeadLetter;
use crate::envelope::{Envelope, Shared};
use crate::error::{ErrorKind, HandlerError};
use crate::event::Event;
use crate::testing::record::{Step, What, write_timeline};

/// What followed from one event, once everything was quiet: all that happened in its trace, and
/// nothing that ran beside it.
///
/// It prints as its [`timeline`](Self::timeline).
///
/// ```
/// # use callboard_actors::prelude::*;
/// # use callboard_actors::testing::TestBus;
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct Placed {}
/// # impl Event for Placed { const NAME: &'static str = "order.placed"; }
/// # #[derive(Clone)]
/// # struct Packer;
/// # impl EventHandler for Packer {
/// #     type Input = Placed;
/// #     type Output = ();
/// #     async fn handle(&self, _: &Placed, _: &EventContext) -> HandlerResult<()> { Ok(()) }
/// # }
/// # #[actix::main]
/// # async fn main() {
/// let bus = TestBus::start([Domain::new("stock").handler(Packer)]).await.unwrap();
/// let tracked = bus.publish_tracked(Placed {}).await.unwrap();
/// tracked.assert_clean();
/// assert_eq!(tracked.handled::<Placed>()[0].handler, "stock.Packer");
/// assert!(tracked.timeline().contains("order.placed  stock.Packer  handled"));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tracked {
    begun: Instant,
    steps: Vec<Step>,
    dead_letters: Vec<DeadLetter>,
}

/// Events of one type, in the order in which they were published.
#[derive(Clone, Debug)]
pub struct Found<E>(Vec<Shared<E>>);

/// An event, and the handler that handled it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handled<E> {
    /// The event.
    pub event: Shared<E>,
    /// Who handled it.
    pub handler: String,
    /// How many attempts it took; 0 when a layer answered in the handler's place.
    pub attempts: u32,
    /// How long it took, all attempts and pauses included, in virtual time.
    pub took: Duration,
}

/// An event, and the handler that failed on it for good.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedDelivery<E> {
    /// The event.
    pub event: Shared<E>,
    /// Who failed.
    pub handler: String,
    /// The error of the last attempt, or of the policy that refused the event.
    pub error: HandlerError,
    /// How many times it was tried.
    pub attempts: u32,
}

/// An event that a handler did not get.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// The event.
    pub envelope: Envelope,
    /// Who did not get it.
    pub handler: String,
    /// Why.
    pub reason: DropReason,
}

/// Why an event was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue was full, and its overflow policy drops.
    Overflow,
    /// It was too old when its turn came.
    Expired,
    /// The handler had handled it before.
    Duplicate,
}

/// An event that was scheduled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scheduled<E> {
    /// The event.
    pub event: Arc<E>,
    /// When, as it was said: such as `every 60s`, or `cron 0 7 * * Mon-Fri Europe/Berlin`.
    pub spec: String,
}

impl Tracked {
    pub(crate) fn new(begun: Instant, steps: Vec<Step>) -> Self {
        let letters = steps.iter().filter_map(|step| match &step.what {
            What::Dead(letter) => Some(letter.clone()),
            _ => None,
        });
        Self { begun, dead_letters: letters.collect(), steps }
    }

    /// The events of one type that were published.
    pub fn published<E: Event>(&self) -> Found<E> {
        Found::among(self.steps.iter().filter_map(Step::published))
    }

    /// The names of all events that were published, in order.
    pub fn names(&self) -> Vec<&'static str> {
        self.steps.iter().filter_map(Step::published).map(Envelope::name).collect()
    }

    /// Who handled the events of one type, in the order in which they were done.
    pub fn handled<E: Event>(&self) -> Vec<Handled<E>> {
        let handled = self.steps.iter().filter_map(|step| match &step.what {
            What::Ended { handler, error: None, attempts, took } => Some(Handled {
                event: step.envelope.as_ref()?.shared()?,
                handler: handler.clone(),
                attempts: *attempts,
                took: *took,
            }),
            _ => None,
        });
        handled.collect()
    }

    /// Who failed on the events of one type, by which error. A handler that declined did not fail.
    pub fn failed<E: Event>(&self) -> Vec<FailedDelivery<E>> {
        let failed = self.steps.iter().filter(|step| is_failure(step));
        let failed = failed.filter_map(|step| match &step.what {
            What::Ended { handler, error: Some(error), attempts, .. } => Some(FailedDelivery {
                event: step.envelope.as_ref()?.shared()?,
                handler: handler.clone(),
                error: error.clone(),
                attempts: *attempts,
            }),
            _ => None,
        });
        failed.collect()
    }

    /// What nobody could handle.
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }

    /// What was dropped, events of all types.
    pub fn dropped(&self) -> Vec<Dropped> {
        self.steps.iter().filter_map(dropped).collect()
    }

    /// The names of the events that nobody subscribes to, in order.
    pub fn unheard(&self) -> Vec<&'static str> {
        let unheard = self.steps.iter().filter(|step| matches!(step.what, What::Unheard));
        unheard.filter_map(|step| step.envelope.as_ref()).map(Envelope::name).collect()
    }

    /// The events of one type that were scheduled meanwhile. A schedule begins a chain of its own,
    /// so those that others made at the same time are here too.
    pub fn scheduled<E: Event>(&self) -> Vec<Scheduled<E>> {
        let scheduled = self.steps.iter().filter_map(|step| match &step.what {
            What::Scheduled { event, spec } => {
                let event = Arc::clone(event).downcast().ok()?;
                Some(Scheduled { event, spec: spec.clone() })
            }
            _ => None,
        });
        scheduled.collect()
    }

    /// Asserts that nothing went wrong.
    ///
    /// # Panics
    /// When a handler failed, an event was dropped or became a dead letter; with the timeline.
    #[track_caller]
    pub fn assert_clean(&self) {
        let count = |wrong: fn(&Step) -> bool| self.steps.iter().filter(|step| wrong(step)).count();
        let failed = count(is_failure);
        let dropped = count(|step| dropped(step).is_some());
        let dead = self.dead_letters.len();
        assert!(
            failed + dropped + dead == 0,
            "failed: {failed}, dead letters: {dead}, dropped: {dropped}\n{self}"
        );
    }

    /// One line for each step: virtual time since the beginning, event, handler, outcome.
    pub fn timeline(&self) -> String {
        self.to_string()
    }
}

/// The timeline.
impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_timeline(f, &self.steps, self.begun)
    }
}

impl<E: Event> Found<E> {
    pub(crate) fn among<'e>(envelopes: impl Iterator<Item = &'e Envelope>) -> Self {
        Self(envelopes.filter_map(Envelope::shared).collect())
    }

    /// The only one.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[track_caller]
    pub fn one(&self) -> &E {
        match &self.0[..] {
            [one] => one,
            all => panic!("one `{}` was expected, {} were published", E::NAME, all.len()),
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Shared<E>] {
        &self.0
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

fn is_failure(step: &Step) -> bool {
    let What::Ended { error: Some(error), .. } = &step.what else { return false };
    !matches!(error.kind(), ErrorKind::Decline | ErrorKind::Expired | ErrorKind::Duplicate)
}

fn dropped(step: &Step) -> Option<Dropped> {
    let (handler, reason) = match &step.what {
        What::Overflowed { handler } => (handler, DropReason::Overflow),
        What::Ended { handler, error: Some(error), .. } => match error.kind() {
            ErrorKind::Expired => (handler, DropReason::Expired),
            ErrorKind::Duplicate => (handler, DropReason::Duplicate),
            _ => return None,
        },
        _ => return None,
    };
    Some(Dropped { envelope: step.envelope.clone()?, handler: handler.clone(), reason })
}
