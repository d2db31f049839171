//! How many deliveries a handler takes in a time: a key and a moment enter, "now", "after this
//! long" or "refused" leaves.
//!
//! Each key has a token bucket, kept as one number, the theoretical arrival time of the generic
//! cell rate algorithm (ITU-T Recommendation I.371): the moment at which the bucket will be full
//! again. It counts ticks of 1/`tokens` nanoseconds, so that a token takes a whole number of
//! ticks, as many as the period has nanoseconds: nothing is rounded, so nothing drifts.

mod bucket;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::clock::{millis, secs};
use bucket::{Bucket, Rate};

/// The longest time that a limit deals with; it keeps all arithmetic within 128 bits.
const TIME_MAX: Duration = Duration::from_hours(366 * 24);

/// How often, at most, all buckets are searched for idle ones.
const SWEEP_PAUSE_MIN: Duration = millis(1);

/// How many buckets there are before idle ones are searched for.
const SWEEP_MIN: usize = 64;

/// How many deliveries of a handler begin in a time.
///
/// ```
/// use callboard_actors::{LimitBy, RateLimit, secs};
/// // A hundred a minute for each identity, ten of them at once; the others wait 5 s at most.
/// let limit = RateLimit::per_minute(100).burst(10).by(LimitBy::Identity).wait_max(secs(5));
/// assert_eq!(limit.tokens, 100);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RateLimit {
    /// How many deliveries begin in one period. At least 1.
    pub tokens: u32,
    /// The period. More than zero, at most 366 days.
    #[serde(rename = "per_ms", serialize_with = "in_ms")]
    pub per: Duration,
    /// How many deliveries may begin at once after a pause. At least 1. Default: the tokens of one
    /// period.
    pub burst: Option<u32>,
    /// What happens to a delivery for which there is no token.
    pub when_empty: WhenEmpty,
    /// How long a delivery waits at most; it is refused at once when that is not enough. At most
    /// 366 days. Default 30 s.
    #[serde(rename = "wait_max_ms", serialize_with = "in_ms")]
    pub wait_max: Duration,
    /// What the limit is counted by.
    pub by: LimitBy,
    /// How many keys are counted at once. At least 1. Keys that were idle until their tokens were
    /// back make room; when there are none, a new key is refused. Default 10 000.
    pub keys_max: usize,
}

/// What happens to a delivery for which there is no token.
///
/// | policy | a token comes within `wait_max` | it comes later |
/// |---|---|---|
/// | `Wait` | the delivery waits for it, in order of arrival for each key | refused |
/// | `Refuse` | refused | refused |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenEmpty {
    /// It waits for its turn.
    #[default]
    Wait,
    /// It is refused at once.
    Refuse,
}

/// What a rate limit is counted by.
///
/// | by | who shares one limit |
/// |---|---|
/// | `Handler` | all deliveries to the handler |
/// | `EventKey` | those whose event has the same key |
/// | `Identity` | those on behalf of the same identity |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitBy {
    /// One limit for the handler.
    #[default]
    Handler,
    /// A limit for each key of an event.
    EventKey,
    /// A limit for each identity.
    Identity,
}

impl RateLimit {
    /// So many deliveries in each `per`.
    pub fn new(tokens: u32, per: Duration) -> Self {
        Self {
            tokens,
            per,
            burst: None,
            when_empty: WhenEmpty::default(),
            wait_max: secs(30),
            by: LimitBy::default(),
            keys_max: 10_000,
        }
    }

    /// So many deliveries in each second.
    pub fn per_second(tokens: u32) -> Self {
        Self::new(tokens, secs(1))
    }

    /// So many deliveries in each minute.
    pub fn per_minute(tokens: u32) -> Self {
        Self::new(tokens, secs(60))
    }

    /// Sets [`burst`](Self::burst), in deliveries.
    pub fn burst(mut self, deliveries: u32) -> Self {
        self.burst = Some(deliveries);
        self
    }

    /// Lets a delivery without a token wait; this is the default.
    pub fn waiting(mut self) -> Self {
        self.when_empty = WhenEmpty::Wait;
        self
    }

    /// Refuses a delivery without a token.
    pub fn refusing(mut self) -> Self {
        self.when_empty = WhenEmpty::Refuse;
        self
    }

    /// Sets [`wait_max`](Self::wait_max).
    pub fn wait_max(mut self, wait: Duration) -> Self {
        self.wait_max = wait;
        self
    }

    /// Sets [`by`](Self::by).
    pub fn by(mut self, by: LimitBy) -> Self {
        self.by = by;
        self
    }

    /// Sets [`keys_max`](Self::keys_max).
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.keys_max = keys;
        self
    }

    /// What is wrong with the values, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.tokens == 0 {
            Some("the rate limit has 0 tokens: nothing would ever be handled")
        } else if self.per.is_zero() {
            Some("the rate limit's period is 0: it would limit nothing")
        } else if self.per > TIME_MAX || self.wait_max > TIME_MAX {
            Some("the rate limit deals with at most 366 days")
        } else if self.burst == Some(0) {
            Some("the rate limit's burst is 0: nothing would ever be handled")
        } else if self.keys_max == 0 {
            Some("the rate limit's keys_max is 0: no key could be counted")
        } else {
            None
        }
    }
}

/// Such as `100/60s(burst 10, by identity, wait 5s)`.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, per, burst, when_empty, wait_max, by, .. } = self;
        let by = match by {
            LimitBy::Handler => "handler",
            LimitBy::EventKey => "event key",
            LimitBy::Identity => "identity",
        };
        write!(f, "{tokens}/{per:?}(burst {}, by {by}, ", burst.unwrap_or(*tokens))?;
        match when_empty {
            WhenEmpty::Wait => write!(f, "wait {wait_max:?})"),
            WhenEmpty::Refuse => f.write_str("refuse)"),
        }
    }
}

/// Writes a duration as a number of milliseconds, for serde's `serialize_with`.
fn in_ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1e3)
}

/// What the limiter says to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// It begins; its token is used.
    Now,
    /// It begins after this time; its token is reserved. One that is not wanted after all is given
    /// back.
    After(Duration),
    /// It does not begin; before this time it makes no sense to try again.
    Refused {
        /// That time.
        retry_after: Duration,
    },
    /// It does not begin, because its key is one more than are counted at once.
    NoRoom {
        /// The time before which no other key leaves.
        retry_after: Duration,
    },
}

/// How full the bucket of one key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// How many tokens are there.
    pub left: u32,
    /// When there is one at least; zero if there is.
    pub next_after: Duration,
    /// When all are back.
    pub full_after: Duration,
}

/// The buckets of one rate limit: a machine that is handed the time.
pub struct Limiter(Mutex<Buckets>);

impl Limiter {
    /// With all buckets full.
    pub fn new(limit: RateLimit) -> Self {
        Self(Mutex::new(Buckets {
            rate: Rate::of(&limit),
            limit,
            origin: None,
            by_key: HashMap::new(),
            sweep_len: SWEEP_MIN,
            sweep_at: 0,
        }))
    }

    /// What it is counted by.
    pub(crate) fn by(&self) -> LimitBy {
        self.0.lock().limit.by
    }

    /// The limit as it is now.
    pub(crate) fn limit(&self) -> RateLimit {
        self.0.lock().limit.clone()
    }

    /// Changes the limit. A key keeps the tokens that it has, up to the new burst; those that wait
    /// keep the time they were told, and later ones queue behind them.
    pub(crate) fn set(&self, limit: RateLimit, now: Instant) {
        let mut buckets = self.0.lock();
        let now = buckets.nanos(now);
        let (old, new) = (buckets.rate, Rate::of(&limit));
        buckets.by_key.values_mut().for_each(|bucket| bucket.convert(old, new, now));
        (buckets.rate, buckets.limit, buckets.sweep_at) = (new, limit, 0);
    }

    /// Asks for a token of the key's bucket.
    pub fn take(&self, key: &str, now: Instant) -> Take {
        let mut buckets = self.0.lock();
        let (now, rate) = (buckets.nanos(now), buckets.rate);
        let taken = buckets.with(key, now, |bucket| bucket.take(rate, now));
        taken.unwrap_or_else(|retry_after| Take::NoRoom { retry_after })
    }

    /// As [`take`](Self::take), and says how full the bucket is after that.
    pub fn take_and_level(&self, key: &str, now: Instant) -> (Take, Level) {
        let mut buckets = self.0.lock();
        let (now, rate) = (buckets.nanos(now), buckets.rate);
        let both = |bucket: &mut Bucket| (bucket.take(rate, now), bucket.level(rate, now));
        buckets.with(key, now, both).unwrap_or_else(|retry_after| {
            (Take::NoRoom { retry_after }, Bucket::default().level(rate, now))
        })
    }

    /// Gives back a token that was reserved for the moment `at`: that of the `take`, plus what it
    /// said. Needs no clock, so a dropped delivery can do it. Those who wait keep their time; a
    /// newcomer gets the token as soon as that keeps the limit and the order.
    pub(crate) fn give_back(&self, key: &str, at: Instant) {
        let mut buckets = self.0.lock();
        let (at, rate) = (buckets.nanos(at), buckets.rate);
        if let Some(bucket) = buckets.by_key.get_mut(key) {
            bucket.give_back(rate, at);
        }
    }

    /// Puts back a token that was taken at once and is not wanted after all.
    pub fn put_back(&self, key: &str) {
        let mut buckets = self.0.lock();
        let rate = buckets.rate;
        if let Some(bucket) = buckets.by_key.get_mut(key) {
            bucket.put_back(rate);
        }
    }

    /// How full the key's bucket is. Asking makes no bucket.
    pub fn level(&self, key: &str, now: Instant) -> Level {
        let mut buckets = self.0.lock();
        let (now, rate) = (buckets.nanos(now), buckets.rate);
        buckets
            .by_key
            .get(key)
            .map_or_else(|| Bucket::default().level(rate, now), |bucket| bucket.level(rate, now))
    }

    /// Whether no key has taken anything lately.
    pub fn is_empty(&self) -> bool {
        self.0.lock().by_key.is_empty()
    }

    /// How many buckets there are.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        self.0.lock().by_key.len()
    }
}

struct Buckets {
    limit: RateLimit,
    rate: Rate,
    /// The first moment that was seen: nanoseconds count from here.
    origin: Option<Instant>,
    by_key: HashMap<Box<str>, Bucket>,
    /// At how many buckets idle ones are searched for.
    sweep_len: usize,
    /// Before this moment, in nanoseconds, a search of full memory would cost more than it brings.
    sweep_at: u64,
}

impl Buckets {
    fn nanos(&mut self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(*self.origin.get_or_insert(now));
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Works with the key's bucket; without room for a new one it says after which time it may be
    /// worth another try.
    fn with<R>(
        &mut self,
        key: &str,
        now: u64,
        work: impl FnOnce(&mut Bucket) -> R,
    ) -> Result<R, Duration> {
        if let Some(bucket) = self.by_key.get_mut(key) {
            return Ok(work(bucket));
        }
        if let Some(retry_after) = self.make_room(now) {
            return Err(retry_after);
        }
        Ok(work(self.by_key.entry(key.into()).or_default()))
    }

    /// Makes room for one more bucket, or says after which time it may be worth another try.
    fn make_room(&mut self, now: u64) -> Option<Duration> {
        let is_full = self.by_key.len() >= self.limit.keys_max;
        if (is_full && now >= self.sweep_at) || self.by_key.len() >= self.sweep_len {
            self.sweep(now);
        }
        let is_full = self.by_key.len() >= self.limit.keys_max;
        is_full.then(|| Duration::from_nanos(self.sweep_at.saturating_sub(now).max(1)))
    }

    /// Drops the idle buckets: a new bucket is as good as a full one. Those that are left must
    /// double before the next search, or a token's time must pass, so it costs little a `take`.
    fn sweep(&mut self, now: u64) {
        let rate = self.rate;
        self.by_key.retain(|_, bucket| bucket.full_at > u128::from(now) * rate.tokens);
        self.sweep_len = self.by_key.len().saturating_mul(2).max(SWEEP_MIN);
        let first_full = self.by_key.values().map(|bucket| bucket.full_at).min().unwrap_or(0);
        let first_full = u64::try_from(rate.nanos(first_full)).unwrap_or(u64::MAX);
        let pause = rate.nanos(rate.token).max(SWEEP_PAUSE_MIN.as_nanos());
        let pause = u64::try_from(pause).unwrap_or(u64::MAX);
        self.sweep_at = first_full.max(now.saturating_add(pause));
    }
}

#[cfg(test)]
mod tests;
