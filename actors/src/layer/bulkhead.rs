//! The bulkhead: a number of deliveries that several handlers share, so that one dependency is never
//! called by more of them at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::clock::secs;

/// A number of attempts that may be in work at once, over all handlers that have a clone of it.
///
/// Source of the name and the idea: M. Nygard, *Release It!*, 2007. A limit for one handler alone
/// is [`Policy::concurrency`](crate::Policy::concurrency).
///
/// ```
/// use callboard_actors::{Bulkhead, Policy, millis};
/// // Two handlers call one payment gateway, at most five times at once.
/// let gateway = Bulkhead::new("gateway", 5).wait_max(millis(500));
/// let charge = Policy::default().bulkhead(gateway.clone());
/// let refund = Policy::default().bulkhead(gateway);
/// ```
#[derive(Clone)]
pub struct Bulkhead {
    name: Arc<str>,
    max: usize,
    wait_max: Duration,
    permits: Arc<Semaphore>,
}

impl Bulkhead {
    /// Whether both share their room.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.permits, &other.permits) && self.wait_max == other.wait_max
    }

    /// Room for so many attempts; the name is for people.
    pub fn new(name: impl Into<Arc<str>>, max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { name: name.into(), max, wait_max: secs(30), permits }
    }

    /// Sets how long an attempt waits for room before it is refused; zero refuses it at once.
    /// Default 30 s.
    pub fn wait_max(mut self, wait: Duration) -> Self {
        self.wait_max = wait;
        self
    }

    /// How many attempts there is room for now.
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        (self.max == 0).then_some("the bulkhead has room for 0 attempts: nothing would be handled")
    }

    /// Waits for room, in order of arrival; `None` when there was none in time.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Some(permit);
        }
        if self.wait_max.is_zero() {
            return None;
        }
        timeout(self.wait_max, permits.acquire_owned()).await.ok()?.ok()
    }
}

impl fmt::Display for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}, wait {:?})", self.name, self.max, self.wait_max)
    }
}

impl fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bulkhead({self})")
    }
}
