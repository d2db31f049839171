//! The handle by which an operator looks at one handler and steers it.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::layer::limiter::{Limiter, RateLimit};
use crate::metrics::{HandlerMetrics, HandlerStatus};
use crate::policy::Policy;
use crate::router::Router;
use crate::seat::Seat;

/// One running handler, to be looked at and steered; cheap to clone, usable from any thread.
///
/// ```no_run
/// # use callboard_actors::{Bus, RateLimit};
/// # fn example(bus: Bus) -> Option<()> {
/// let mailer = bus.handler("mail.Sender")?;
/// mailer.pause();
/// mailer.set_rate_limit(RateLimit::per_minute(10)).ok()?;
/// mailer.resume();
/// # Some(()) }
/// ```
#[derive(Clone)]
pub struct HandlerHandle {
    router: Arc<Router>,
    seat: Arc<Seat>,
}

/// A rate limit that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct BadRateLimit {
    /// What is wrong with it.
    pub reason: &'static str,
}

impl HandlerHandle {
    pub(crate) fn new(router: Arc<Router>, seat: Arc<Seat>) -> Self {
        Self { router, seat }
    }

    /// The handler's name, `domain.Handler`.
    pub fn name(&self) -> &str {
        &self.seat.handler
    }

    /// The policy that it lives by, merged from all scopes.
    pub fn policy(&self) -> &Policy {
        &self.seat.policy
    }

    /// Its state.
    pub fn status(&self) -> HandlerStatus {
        self.seat.status()
    }

    /// Its counters.
    pub fn metrics(&self) -> HandlerMetrics {
        self.seat.metrics(self.router.clock.now())
    }

    /// Takes no more events out of its queue. What is in work goes on; the queue fills up, and then
    /// its overflow policy applies. A paused handler is not drained when the runtime stops: what
    /// waits is reported as left.
    pub fn pause(&self) {
        self.seat.set_paused(true);
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.seat.set_paused(false);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.seat.is_paused()
    }

    /// Its rate limit as it is now.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.seat.limiter().map(|limiter| limiter.limit())
    }

    /// Changes the rate limit, or sets the first one. Tokens that are left are kept, up to the new
    /// burst; who waits keeps the time that it was told.
    ///
    /// # Errors
    /// A limit that cannot work is refused, with the reason.
    pub fn set_rate_limit(&self, limit: RateLimit) -> Result<(), BadRateLimit> {
        if let Some(reason) = limit.fault() {
            return Err(BadRateLimit { reason });
        }
        match self.seat.limiter() {
            Some(limiter) => limiter.set(limit, Instant::now()),
            None => self.seat.set_limiter(Some(Limiter::new(limit))),
        }
        Ok(())
    }

    /// Lifts the rate limit. Who waits keeps the time that it was told.
    pub fn clear_rate_limit(&self) {
        self.seat.set_limiter(None);
    }
}

impl fmt::Debug for HandlerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerHandle").field("name", &self.name()).finish_non_exhaustive()
    }
}
