//! A check with its name and what it found last: who asks while it is made waits for the same
//! result, and who asks soon after is told it again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::check::{Failing, HealthCheck};
use super::report::{CheckReport, HealthStatus};

pub(super) struct Slot {
    pub(super) name: String,
    pub(super) check: HealthCheck,
    last: Arc<Mutex<Option<Found>>>,
}

struct Found {
    at: Instant,
    report: CheckReport,
}

impl Slot {
    pub(super) fn new(name: String, check: HealthCheck) -> Self {
        Self { name, check, last: Arc::default() }
    }

    /// What the check finds now, or has found a moment ago.
    pub(super) async fn outcome(self: Arc<Self>) -> CheckReport {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some(found) = &*last
            && found.at.elapsed() < self.check.fresh_for
        {
            return found.report.clone();
        }
        let name = self.name.clone();
        // Made to its end also if who asked hangs up, or hanging up would be a way to hammer.
        let made = actix_rt::spawn(async move {
            let report = self.make(last.as_ref().map(|found| found.report.status)).await;
            *last = Some(Found { at: Instant::now(), report: report.clone() });
            report
        });
        made.await.unwrap_or_else(|_| CheckReport::unhealthy(name, "aborted"))
    }

    async fn make(&self, before: Option<HealthStatus>) -> CheckReport {
        let begun = Instant::now();
        let probing = AssertUnwindSafe(async { self.check.probe().await }).catch_unwind();
        let result = match timeout(self.check.timeout, probing).await {
            Err(_) => Err(Failing::new("timeout", "no answer in time")),
            // The text of a panic is in the log already, by the panic hook.
            Ok(Err(_)) => Err(Failing::new("panicked", "it panicked")),
            Ok(Ok(result)) => result,
        };
        let took = begun.elapsed();
        let name = self.name.as_str();
        let was_healthy = before.is_none_or(|status| status == HealthStatus::Healthy);
        match result {
            Ok(()) => {
                if !was_healthy {
                    tracing::info!(check = name, "a health check succeeds again");
                }
                CheckReport::healthy(name)
            }
            Err(Failing { code, reason }) => {
                if was_healthy {
                    tracing::warn!(check = name, code, reason, "a health check fails");
                }
                if self.check.is_optional {
                    CheckReport::degraded(name, code)
                } else {
                    CheckReport::unhealthy(name, code)
                }
            }
        }
        .took(took)
    }
}
