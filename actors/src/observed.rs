//! The steps of a runtime at work, as an observer sees them: for tests, which set one; without one a
//! step costs a branch.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::dead_letter::DeadLetter;
use crate::envelope::Envelope;
use crate::error::HandlerError;

/// One step.
#[cfg_attr(not(feature = "testing"), allow(dead_code))] // Nobody else reads what is in it.
pub(crate) enum Observed<'o> {
    Published(&'o Envelope),
    /// Nobody subscribes to it.
    Unheard(&'o Envelope),
    /// A delivery ended, by whichever outcome.
    Delivered(Delivered<'o>),
    Dead(&'o DeadLetter),
    /// The overflow policy dropped it.
    Dropped {
        envelope: &'o Envelope,
        handler: &'o str,
    },
    Scheduled {
        name: &'static str,
        event: Arc<dyn Any + Send + Sync>,
        /// Such as `every 60s`.
        spec: String,
    },
}

/// The end of a delivery.
#[cfg_attr(not(feature = "testing"), allow(dead_code))] // As above.
pub(crate) struct Delivered<'o> {
    pub(crate) envelope: &'o Envelope,
    pub(crate) handler: &'o str,
    pub(crate) error: Option<&'o HandlerError>,
    pub(crate) attempts: u32,
    pub(crate) took: Duration,
}

type See = dyn Fn(Observed<'_>) + Send + Sync;

/// Who sees the steps, if anybody does.
#[derive(Default)]
pub(crate) struct Observer(Option<Box<See>>);

impl Observer {
    #[cfg(feature = "testing")]
    pub(crate) fn new(see: impl Fn(Observed<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(see)))
    }

    /// Shows a step, which is put together only for somebody who looks.
    pub(crate) fn see<'o>(&self, step: impl FnOnce() -> Observed<'o>) {
        if let Some(see) = &self.0 {
            see(step());
        }
    }
}
