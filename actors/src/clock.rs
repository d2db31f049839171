//! Time, randomness and identifiers: every other file asks here, so that a test with virtual time
//! and a seed controls them all.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::Serializer;
use tokio::time::Instant;
use uuid::Uuid;

use crate::event::{EventId, TraceId};

/// Gives a whole number of seconds as a [`Duration`].
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Gives a whole number of milliseconds as a [`Duration`].
pub const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The clock and the random generator of one runtime.
///
/// The wall clock is derived from tokio's clock: when a test pauses or advances time, timestamps
/// follow.
pub(crate) struct Clock {
    started_at: SystemTime,
    origin: Instant,
    random: Mutex<fastrand::Rng>,
}

impl Clock {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self {
            started_at: SystemTime::now(),
            origin: Instant::now(),
            random: Mutex::new(seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)),
        }
    }

    /// The wall-clock time that belongs to `instant`.
    pub(crate) fn at(&self, instant: Instant) -> SystemTime {
        self.started_at + instant.saturating_duration_since(self.origin)
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.at(Instant::now())
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    /// A UUID version 7 (RFC 9562): sorts by creation time.
    pub(crate) fn event_id(&self) -> EventId {
        let since_epoch = self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
        let random = self.random.lock().u128(..).to_be_bytes();
        let mut bits = [0; 10];
        bits.copy_from_slice(&random[..10]);
        EventId(uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid())
    }

    /// A W3C trace id: 16 random bytes, never all zero.
    pub(crate) fn trace_id(&self) -> TraceId {
        TraceId(Uuid::from_u128(self.random.lock().u128(1..)))
    }

    /// A random number, at least 0 and below 1.
    pub(crate) fn random(&self) -> f64 {
        self.random.lock().f64()
    }
}

/// Writes a time as RFC 3339 in UTC with milliseconds, for serde's `serialize_with`.
pub(crate) fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_rfc3339(*time))
}

/// The time as RFC 3339 in UTC with milliseconds.
pub(crate) fn to_rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}
