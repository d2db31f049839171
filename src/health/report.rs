//! What a report says, and what of it a client is told: names, states and codes.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

/// How something is; the later is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// As it should be.
    Healthy,
    /// It works, and somebody should have a look.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// The name of the check.
    pub name: String,
    /// What it found.
    pub status: HealthStatus,
    /// Why it is not healthy, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// How long the check took, in milliseconds; 0 for a look at the runtime.
    pub duration_ms: u64,
    /// The handlers that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<String>,
}

/// What all checks found.
///
/// As JSON: `{"status", "timestamp", "version", "uptime_seconds", "checks": [{"name", "status",
/// "code", "duration_ms", "handlers"}]}`, without `code` and `handlers` where there are none.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The worst that a check found.
    pub status: HealthStatus,
    /// When it was asked for, as in RFC 3339.
    pub timestamp: String,
    /// The version of callboard.
    pub version: &'static str,
    /// How long the runtime has been running.
    pub uptime_seconds: u64,
    /// The built-in checks, then the application's own in the order in which they were added.
    pub checks: Vec<CheckReport>,
}

impl CheckReport {
    fn new(name: impl Into<String>, status: HealthStatus, code: Option<&'static str>) -> Self {
        Self { name: name.into(), status, code, duration_ms: 0, handlers: Vec::new() }
    }

    pub(super) fn healthy(name: impl Into<String>) -> Self {
        Self::new(name, HealthStatus::Healthy, None)
    }

    pub(super) fn degraded(name: impl Into<String>, code: &'static str) -> Self {
        Self::new(name, HealthStatus::Degraded, Some(code))
    }

    pub(super) fn unhealthy(name: impl Into<String>, code: &'static str) -> Self {
        Self::new(name, HealthStatus::Unhealthy, Some(code))
    }

    pub(super) fn handlers(self, handlers: Vec<String>) -> Self {
        Self { handlers, ..self }
    }

    pub(super) fn took(self, duration: Duration) -> Self {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { duration_ms, ..self }
    }
}

impl HealthReport {
    pub(super) fn new(checks: Vec<CheckReport>, uptime: Duration) -> Self {
        let worst = checks.iter().map(|check| check.status).max();
        let now = DateTime::<Utc>::from(SystemTime::now());
        Self {
            status: worst.unwrap_or(HealthStatus::Healthy),
            timestamp: now.to_rfc3339_opts(SecondsFormat::Millis, true),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: uptime.as_secs(),
            checks,
        }
    }
}
