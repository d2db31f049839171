//! What a schedule shows of itself.

use std::time::SystemTime;

use serde::Serialize;

use crate::clock::rfc3339_option;

/// A schedule, as it stood when it was asked. Serialized, its times are RFC 3339 in UTC, `null` after
/// the year 9999.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScheduleInfo {
    /// Tells it from all others of the runtime; later ones have higher numbers.
    pub id: u64,
    /// The name that it was given, else the event's.
    pub name: String,
    /// The name of the event.
    pub event: &'static str,
    /// What was asked for, such as `every 60s` or `cron 0 7 * * Mon-Fri Europe/Berlin`.
    pub spec: String,
    /// When the next tick is due, as the clock is set now; none after the last one.
    #[serde(serialize_with = "rfc3339_option")]
    pub next_at: Option<SystemTime>,
    /// When the latest tick was published.
    #[serde(serialize_with = "rfc3339_option")]
    pub last_at: Option<SystemTime>,
    /// How many ticks were published, those of [`run_now`](crate::Schedule::run_now) and those that
    /// were refused included.
    pub ticks: u64,
    /// How many ticks were left out because the chain of an earlier one still ran.
    pub skipped: u64,
    /// How many ticks were not made up for when their time had gone by; of a cron expression at most
    /// 10 000 are counted at a time.
    pub missed: u64,
    /// Whether the chain of a tick runs.
    pub running: bool,
}
