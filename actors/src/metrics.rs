//! What each handler did: counters and a latency histogram, read as one snapshot.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::event::TraceId;
use crate::layer::breaker::CircuitState;

/// The state of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HandlerStatus {
    /// It takes events.
    Up,
    /// Its actor ended and is being rebuilt; its queue waits.
    Restarting,
    /// It failed more often than its policy allows.
    Down,
    /// Its actor stopped, and its policy does not rebuild it.
    Ended,
}

/// The counters of one handler at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HandlerMetrics {
    /// Deliveries that are finished, failed ones included.
    pub processed: u64,
    /// Deliveries that failed after their last attempt.
    pub errors: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Events that the overflow policy dropped.
    pub dropped: u64,
    /// Events that were too old when their turn came.
    pub expired: u64,
    /// Events that had been handled before.
    pub duplicates: u64,
    /// Deliveries that the rate limit delayed or refused.
    pub rate_limited: u64,
    /// Deliveries that the breaker refused.
    pub circuit_broken: u64,
    /// Deliveries that the fallback answered.
    pub fallbacks: u64,
    /// How often the actor was rebuilt.
    pub restarts: u64,
    /// Mean duration of a delivery, in milliseconds.
    pub avg_ms: f64,
    /// Median duration, in milliseconds, at most an eighth too high.
    pub p50_ms: f64,
    /// 95th percentile, in milliseconds.
    pub p95_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// How long the deliveries took, for those who keep a histogram. JSON leaves it out.
    #[serde(skip)]
    pub durations: Durations,
    /// Events that wait.
    pub queue_depth: usize,
    /// The limit of the queue.
    pub queue_max: usize,
    /// How long ago the event that waits longest was published, in milliseconds; 0 when none waits.
    pub queue_age_ms: f64,
    /// Deliveries in work, those that wait for another attempt included.
    pub in_flight: u64,
    /// Attempts in work for longer than the policy's `stuck_after`.
    pub stuck: usize,
    /// Whether its queue is paused.
    pub is_paused: bool,
    /// The state of its circuit breaker, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<CircuitState>,
    /// The state of the handler.
    pub status: HandlerStatus,
    /// The latest failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

/// The latest failure of a handler: enough to find it in the log, nothing internal.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LastError {
    /// The error's code.
    pub code: String,
    /// The chain in which it happened.
    pub trace_id: TraceId,
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
}

/// How many deliveries of one handler took how long, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// By bucket; empty before the first delivery.
    counts: Vec<u64>,
    sum_us: u64,
}

impl Durations {
    /// The deliveries there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// The deliveries that took no longer than this. Exact, to the microsecond in which durations
    /// are counted, where the limit is a power of two of microseconds; else those within an eighth
    /// below it may be left out. The last bucket, 36 minutes and more, is never within a limit.
    pub fn at_most(&self, limit: Duration) -> u64 {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let counts = self.counts.iter().enumerate().take(BUCKETS - 1);
        counts.filter(|(bucket, _)| Histogram::upper(*bucket) <= limit).map(|(_, n)| n).sum()
    }
}

/// The counters of a whole runtime at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Events that were published.
    pub published: u64,
    /// Published events that nobody subscribes to.
    pub unheard: u64,
    /// Requests that were made.
    pub requested: u64,
    /// Deliveries that ended as dead letters.
    pub dead_lettered: u64,
    /// Dead letters that there are now.
    pub dead_letters: usize,
    /// Dead letters that had to make room for newer ones.
    pub dead_letters_lost: u64,
    /// By handler name.
    pub handlers: BTreeMap<String, HandlerMetrics>,
}

/// The counters that belong to no single handler.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) published: AtomicU64,
    pub(crate) unheard: AtomicU64,
    pub(crate) requested: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) dead_letters_lost: AtomicU64,
}

impl Totals {
    pub(crate) fn snapshot(
        &self,
        dead_letters: usize,
        handlers: BTreeMap<String, HandlerMetrics>,
    ) -> MetricsSnapshot {
        MetricsSnapshot {
            published: self.published.load(Relaxed),
            unheard: self.unheard.load(Relaxed),
            requested: self.requested.load(Relaxed),
            dead_lettered: self.dead_lettered.load(Relaxed),
            dead_letters,
            dead_letters_lost: self.dead_letters_lost.load(Relaxed),
            handlers,
        }
    }
}

/// What of a handler is not counted but looked at.
pub(crate) struct Now {
    pub(crate) status: HandlerStatus,
    pub(crate) is_paused: bool,
    pub(crate) queue_depth: usize,
    pub(crate) queue_max: usize,
    pub(crate) queue_age: Duration,
    pub(crate) stuck: usize,
    pub(crate) in_flight: u64,
    pub(crate) breaker: Option<CircuitState>,
}

/// The live counters of one handler.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) errors: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
    pub(crate) circuit_broken: AtomicU64,
    pub(crate) fallbacks: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    busy_us: AtomicU64,
    durations: OnceLock<Box<Histogram>>,
    last_error: Mutex<Option<LastError>>,
}

impl Counters {
    /// Counts one finished delivery.
    pub(crate) fn record(&self, took: Duration, error: Option<LastError>) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(micros, Relaxed);
        self.durations.get_or_init(Box::default).record(micros);
        if let Some(error) = error {
            self.errors.fetch_add(1, Relaxed);
            *self.last_error.lock() = Some(error);
        }
    }

    /// Deliveries that are finished, failed ones included: each has a duration.
    pub(crate) fn processed(&self) -> u64 {
        self.durations.get().map_or(0, |durations| durations.count())
    }

    pub(crate) fn snapshot(&self, now: &Now) -> HandlerMetrics {
        let processed = self.processed();
        let quantile = |q| {
            let micros = self.durations.get().map_or(0, |durations| durations.quantile(q));
            to_millis(micros, 1)
        };
        HandlerMetrics {
            processed,
            errors: self.errors.load(Relaxed),
            retries: self.retries.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            expired: self.expired.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            rate_limited: self.rate_limited.load(Relaxed),
            circuit_broken: self.circuit_broken.load(Relaxed),
            fallbacks: self.fallbacks.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
            avg_ms: to_millis(self.busy_us.load(Relaxed), processed),
            p50_ms: quantile(0.50),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            durations: Durations {
                counts: self.durations.get().map_or_else(Vec::new, |all| all.counts()),
                sum_us: self.busy_us.load(Relaxed),
            },
            queue_depth: now.queue_depth,
            queue_max: now.queue_max,
            queue_age_ms: (now.queue_age.as_secs_f64() * 1e6).round() / 1e3,
            in_flight: now.in_flight,
            stuck: now.stuck,
            is_paused: now.is_paused,
            breaker: now.breaker,
            status: now.status,
            last_error: self.last_error.lock().clone(),
        }
    }
}

/// Microseconds, shared by `count` deliveries, as milliseconds with three digits.
#[allow(clippy::cast_precision_loss)] // exact up to 285 years of microseconds
fn to_millis(micros: u64, count: u64) -> f64 {
    (micros as f64 / count.max(1) as f64).round() / 1000.0
}

/// Eight linear steps in each power of two, as in Gil Tene's `HdrHistogram`; 1 µs to 36 min.
const STEPS: u32 = 8;
const BUCKETS: usize = 240;

/// Durations in microseconds, counted by size.
struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Histogram {
    fn record(&self, micros: u64) {
        self.0[Self::bucket(micros)].fetch_add(1, Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn counts(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.load(Relaxed)).collect()
    }

    fn bucket(micros: u64) -> usize {
        if micros < u64::from(STEPS) {
            return usize::try_from(micros).unwrap_or_default();
        }
        let octave = micros.ilog2() - STEPS.ilog2();
        let step = usize::try_from(micros >> octave).unwrap_or_default();
        (octave as usize * STEPS as usize + step).min(BUCKETS - 1)
    }

    /// The largest duration that falls into a bucket.
    fn upper(bucket: usize) -> u64 {
        let (bucket, steps) = (bucket as u64, u64::from(STEPS));
        if bucket < 2 * steps {
            return bucket;
        }
        let octave = bucket / steps - 1;
        ((bucket % steps + steps + 1) << octave) - 1
    }

    fn quantile(&self, q: f64) -> u64 {
        let counts = self.counts();
        let total: u64 = counts.iter().sum();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // q is within 0..=1
        #[allow(clippy::cast_precision_loss)] // a rank need not be exact beyond 2^52
        let wanted = (total as f64 * q).ceil() as u64;
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen >= wanted
        };
        counts.iter().position(reached).filter(|_| total > 0).map_or(0, Self::upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_lies_within_its_bucket() {
        for micros in (0..100_000).chain([1_000_000, 60_000_000]) {
            let bucket = Histogram::bucket(micros);
            let upper = Histogram::upper(bucket);
            assert!(micros <= upper, "{micros} is above its bucket's end {upper}");
            assert!(upper <= micros + micros / 8, "{micros} is reported as {upper}");
        }
    }

    #[test]
    fn quantiles_follow_the_ranks() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), 0, "nothing was recorded");
        (1..=100).for_each(|micros| histogram.record(micros));
        assert!((50..=56).contains(&histogram.quantile(0.50)));
        assert!((99..=111).contains(&histogram.quantile(0.99)));
    }

    #[test]
    fn durations_are_counted_up_to_each_power_of_two() {
        let counters = Counters::default();
        let all = [0, 1, 15, 16, 127, 128, 1023, 1024, 1025, 70_000, 40_000_000];
        for micros in all {
            counters.record(Duration::from_micros(micros), None);
        }
        let durations = Durations {
            counts: counters.durations.get().unwrap().counts(),
            sum_us: counters.busy_us.load(Relaxed),
        };
        for power in 4..32 {
            let limit = 1 << power;
            // What took 128 µs and some nanoseconds is counted as 128.
            let expected = all.iter().filter(|micros| **micros < limit).count();
            let at_most = durations.at_most(Duration::from_micros(limit));
            assert_eq!(at_most, expected as u64, "at most {limit} µs");
        }
        assert_eq!(durations.at_most(Duration::ZERO), 1);
        assert_eq!(durations.count(), all.len() as u64);
        assert_eq!(durations.sum(), Duration::from_micros(all.iter().sum()));
        let forever = Durations {
            counts: {
                let mut c = vec![0; BUCKETS];
                c[BUCKETS - 1] = 1;
                c
            },
            sum_us: 1,
        };
        assert_eq!((forever.count(), forever.at_most(Duration::MAX)), (1, 0));
    }
}
