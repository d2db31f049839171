//! How an application is, for the machines that watch it: the state of a runtime and checks of what
//! it depends on enter, a report leaves.
//!
//! The runtime's own state is looked at anew each time. A [`HealthCheck`] is made by the first who
//! asks and remembered for a while, so that many probes cost what one costs.

mod check;
pub use check::HealthCheck;
mod report;
pub use report::{CheckReport, HealthReport, HealthStatus};
mod slot;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callboard_actors::Bus;
use futures_util::future::join_all;

use slot::Slot;

/// The names of the checks that are built in.
const BUILT_IN: [&str; 3] = [RUNTIME, HANDLERS, QUEUES];
const RUNTIME: &str = "runtime";
const HANDLERS: &str = "handlers";
const QUEUES: &str = "queues";

/// The checks of one application, and whether it is about to stop; a cheap handle.
///
/// An [`App`](crate::App) has its own. An application that embeds routes gives one to
/// [`Operations::health`](crate::http::Operations::health).
#[derive(Clone, Default)]
pub struct HealthChecks {
    slots: Vec<Arc<Slot>>,
    is_draining: Arc<AtomicBool>,
}

/// What is wrong with checks: one line for each fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.join("\n"))]
#[non_exhaustive]
pub struct HealthError {
    /// Each names its check.
    pub faults: Vec<String>,
}

impl HealthChecks {
    /// No checks but the built-in ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check under a name, which clients are told.
    pub fn check(mut self, name: impl Into<String>, check: HealthCheck) -> Self {
        self.slots.push(Arc::new(Slot::new(name.into(), check)));
        self
    }

    /// Checks the checks, for whoever starts a server with them.
    ///
    /// # Errors
    /// All faults at once: a name that is empty, built in or there twice, an address or a URL that
    /// cannot work.
    pub fn verify(&self) -> Result<(), HealthError> {
        let mut faults = Vec::new();
        for (at, slot) in self.slots.iter().enumerate() {
            let name = &slot.name;
            if name.is_empty() {
                faults.push("a health check has no name".to_owned());
            } else if BUILT_IN.contains(&name.as_str()) {
                faults.push(format!("health check `{name}` has the name of a built-in check"));
            } else if self.slots[..at].iter().any(|other| other.name == *name) {
                faults.push(format!("health check `{name}` is there twice"));
            }
            if let Some(fault) = slot.check.fault() {
                faults.push(format!("health check `{name}` {fault}"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(HealthError { faults }) }
    }

    /// From now on the application is not ready, so that load balancers send no more requests. What
    /// it is sent all the same is still answered.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// Whether the process should go on: only what the checks with
    /// [`liveness`](HealthCheck::liveness) say.
    pub async fn live(&self, bus: &Bus) -> HealthReport {
        let checks = self.outcomes(|check| check.is_liveness).await;
        HealthReport::new(checks, bus.health().uptime)
    }

    /// Whether requests should be sent here: the state of the runtime and all checks.
    pub async fn ready(&self, bus: &Bus) -> HealthReport {
        let outcomes = self.outcomes(|_| true).await;
        // Looked at last: what the checks waited for may have taken a while.
        let mut checks = vec![self.runtime(bus), handlers(bus), queues(bus)];
        checks.extend(outcomes);
        HealthReport::new(checks, bus.health().uptime)
    }

    async fn outcomes(&self, wanted: impl Fn(&HealthCheck) -> bool) -> Vec<CheckReport> {
        let slots = self.slots.iter().filter(|slot| wanted(&slot.check));
        join_all(slots.map(|slot| Arc::clone(slot).outcome())).await
    }

    fn runtime(&self, bus: &Bus) -> CheckReport {
        if self.is_draining.load(Ordering::Acquire) {
            CheckReport::unhealthy(RUNTIME, "draining")
        } else if bus.health().is_running {
            CheckReport::healthy(RUNTIME)
        } else {
            CheckReport::unhealthy(RUNTIME, "stopped")
        }
    }
}

impl fmt::Debug for HealthChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.slots.iter().map(|slot| &slot.name).collect();
        f.debug_struct("HealthChecks").field("checks", &names).finish_non_exhaustive()
    }
}

fn handlers(bus: &Bus) -> CheckReport {
    let health = bus.health();
    let mut stuck: Vec<_> = health.stuck.iter().map(|stuck| stuck.handler.clone()).collect();
    stuck.sort();
    stuck.dedup();
    if !health.down.is_empty() {
        CheckReport::unhealthy(HANDLERS, "down").handlers(health.down)
    } else if !stuck.is_empty() {
        CheckReport::degraded(HANDLERS, "stuck").handlers(stuck)
    } else {
        CheckReport::healthy(HANDLERS)
    }
}

/// A queue is saturated when nine tenths of it are full.
fn queues(bus: &Bus) -> CheckReport {
    let all = bus.metrics().handlers.into_iter();
    let saturated = all.filter(|(_, of)| of.queue_depth * 10 >= of.queue_max.max(1) * 9);
    let saturated: Vec<_> = saturated.map(|(name, _)| name).collect();
    if saturated.is_empty() {
        CheckReport::healthy(QUEUES)
    } else {
        CheckReport::degraded(QUEUES, "saturated").handlers(saturated)
    }
}
