//! Time, randomness and identifiers: every other file asks here, so that a test with virtual time
//! and a seed controls them all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::Serializer;
use tokio::time::Instant;
use uuid::Uuid;

use crate::event::{EventId, TraceId};
use crate::span::SpanId;

/// From 1970 to the year 10 000, with which RFC 3339 ends, in seconds.
const CALENDAR_MAX: u64 = 253_402_300_800;
/// From the year 0, with which RFC 3339 begins, to 1970, in seconds.
const CALENDAR_MIN: u64 = 62_167_219_200;

/// Gives a whole number of seconds as a [`Duration`].
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Gives a whole number of milliseconds as a [`Duration`].
pub const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The clock and the random generator of one runtime.
pub(crate) struct Clock {
    wall: Wall,
    origin: Instant,
    random: Random,
}

/// Where random numbers come from.
enum Random {
    /// A generator for each thread, so that threads do not wait for each other.
    PerThread,
    /// One for all, whose numbers repeat.
    Seeded(Box<Mutex<fastrand::Rng>>),
}

impl Random {
    fn draw(&self) -> u128 {
        match self {
            Self::PerThread => fastrand::u128(..),
            Self::Seeded(random) => random.lock().u128(..),
        }
    }
}

/// Where the wall-clock time comes from.
#[derive(Default)]
pub(crate) enum Wall {
    /// The machine's clock, which people and time servers set and which runs on while the machine
    /// is suspended; tokio's clock does neither.
    #[default]
    Real,
    /// Follows tokio's clock: when a test pauses or advances time, timestamps follow.
    #[cfg(feature = "testing")]
    Virtual(Mutex<Anchor>),
}

/// Which wall-clock time belongs to which point of tokio's clock.
#[cfg(feature = "testing")]
pub(crate) struct Anchor {
    time: SystemTime,
    instant: Instant,
}

#[cfg(feature = "testing")]
impl Wall {
    /// It is `time` now.
    pub(crate) fn virtual_from(time: SystemTime) -> Self {
        Self::Virtual(Mutex::new(Anchor { time, instant: Instant::now() }))
    }
}

impl Clock {
    pub(crate) fn new(seed: Option<u64>, wall: Wall) -> Self {
        Self {
            wall,
            origin: Instant::now(),
            random: seed.map_or(Random::PerThread, |seed| {
                Random::Seeded(Box::new(Mutex::new(fastrand::Rng::with_seed(seed))))
            }),
        }
    }

    /// The wall-clock time that belongs to `instant`, as the wall clock is set now.
    pub(crate) fn at(&self, instant: Instant) -> SystemTime {
        match &self.wall {
            Wall::Real => shifted(SystemTime::now(), Instant::now(), instant),
            #[cfg(feature = "testing")]
            Wall::Virtual(anchor) => {
                let anchor = anchor.lock();
                shifted(anchor.time, anchor.instant, instant)
            }
        }
    }

    /// Sets a virtual wall clock; the machine's stays as it is.
    #[cfg(feature = "testing")]
    pub(crate) fn set(&self, time: SystemTime) {
        if let Wall::Virtual(anchor) = &self.wall {
            *anchor.lock() = Anchor { time, instant: Instant::now() };
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        match &self.wall {
            Wall::Real => SystemTime::now(),
            #[cfg(feature = "testing")]
            Wall::Virtual(_) => self.at(Instant::now()),
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    /// A UUID version 7 (RFC 9562): sorts by creation time.
    pub(crate) fn event_id(&self) -> EventId {
        self.event_id_at(self.now())
    }

    /// The identifier of an event that is created at this time.
    pub(crate) fn event_id_at(&self, time: SystemTime) -> EventId {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
        let random = self.random.draw().to_be_bytes();
        let mut bits = [0; 10];
        bits.copy_from_slice(&random[..10]);
        EventId(uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid())
    }

    /// A W3C trace id: 16 random bytes, never all zero.
    pub(crate) fn trace_id(&self) -> TraceId {
        TraceId(Uuid::from_u128(self.random.draw().max(1)))
    }

    /// A W3C parent id: 8 random bytes, never all zero.
    pub(crate) fn span_id(&self) -> SpanId {
        SpanId::from_bits(match &self.random {
            Random::PerThread => fastrand::u64(..),
            Random::Seeded(random) => random.lock().u64(..),
        })
    }

    /// A random number, at least 0 and below 1.
    pub(crate) fn random(&self) -> f64 {
        match &self.random {
            Random::PerThread => fastrand::f64(),
            Random::Seeded(random) => random.lock().f64(),
        }
    }
}

/// The time at `to`, when it is `time` at `from`; `time` itself where a clock cannot show it.
fn shifted(time: SystemTime, from: Instant, to: Instant) -> SystemTime {
    let shifted = match to.checked_duration_since(from) {
        Some(later) => time.checked_add(later),
        None => time.checked_sub(from.duration_since(to)),
    };
    shifted.unwrap_or(time)
}

/// A time as RFC 3339 in UTC with milliseconds; in seconds where its calendar does not reach.
pub(crate) fn to_rfc3339(time: SystemTime) -> String {
    in_calendar(time).unwrap_or_else(|| match time.duration_since(UNIX_EPOCH) {
        Ok(after) => format!("{} s after 1970", after.as_secs()),
        Err(before) => format!("{} s before 1970", before.duration().as_secs()),
    })
}

fn in_calendar(time: SystemTime) -> Option<String> {
    let reaches = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs() < CALENDAR_MAX,
        Err(before) => before.duration().as_secs() < CALENDAR_MIN,
    };
    reaches.then(|| DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Writes a time as RFC 3339 in UTC with milliseconds, for serde's `serialize_with`.
pub(crate) fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_rfc3339(*time))
}

/// As [`rfc3339`]; `null` for none, and for a time that its calendar does not reach.
#[allow(clippy::ref_option)] // serde calls it so
pub(crate) fn rfc3339_option<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time.and_then(in_calendar) {
        Some(time) => serializer.serialize_str(&time),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_real_clock_does_not_follow_virtual_time() {
        let clock = Clock::new(None, Wall::Real);
        let (before, instant) = (SystemTime::now(), Instant::now());
        tokio::time::advance(secs(1_000)).await;
        assert!(clock.now().duration_since(before).unwrap() < secs(500));
        // The instant is 1 000 s ago by tokio's clock, and so is its time by the wall clock.
        let ago = clock.now().duration_since(clock.at(instant)).unwrap();
        assert!(ago >= millis(999_900) && ago < secs(1_500), "{ago:?}");
    }

    #[cfg(feature = "testing")]
    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_follows_virtual_time_and_can_be_set() {
        let clock = Clock::new(None, Wall::virtual_from(UNIX_EPOCH + secs(100)));
        let begun = Instant::now();
        tokio::time::advance(secs(20)).await;
        assert_eq!(clock.now(), UNIX_EPOCH + secs(120));
        assert_eq!(clock.at(begun), UNIX_EPOCH + secs(100));
        clock.set(UNIX_EPOCH + secs(5_000));
        tokio::time::advance(secs(1)).await;
        assert_eq!(clock.now(), UNIX_EPOCH + secs(5_001));
        assert_eq!(clock.at(begun), UNIX_EPOCH + secs(4_980));
        assert_eq!(clock.uptime(), secs(21));
    }

    #[test]
    fn times_beyond_the_calendar_are_written_in_seconds() {
        assert_eq!(to_rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(to_rfc3339(UNIX_EPOCH + secs(CALENDAR_MAX)), "253402300800 s after 1970");
        assert_eq!(to_rfc3339(UNIX_EPOCH - secs(CALENDAR_MIN)), "62167219200 s before 1970");
        assert_eq!(to_rfc3339(UNIX_EPOCH + secs(CALENDAR_MAX - 1)), "9999-12-31T23:59:59.000Z");
    }
}
