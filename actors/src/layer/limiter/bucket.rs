//! One bucket of tokens: a moment in nanoseconds enters, what it means for the next delivery leaves.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Level, RateLimit, TIME_MAX, Take, WhenEmpty};

/// A limit in ticks. With at most 2^32 tokens and periods below 2^55 ns nothing here overflows.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// How many ticks one nanosecond has.
    pub(super) tokens: u128,
    /// How many ticks one token takes to come back.
    pub(super) token: u128,
    /// How many ticks a whole bucket takes.
    burst: u128,
    wait_max: u128,
}

impl Rate {
    pub(super) fn of(limit: &RateLimit) -> Self {
        let tokens = u128::from(limit.tokens.max(1));
        let token = limit.per.min(TIME_MAX).as_nanos().max(1);
        let wait_max = match limit.when_empty {
            WhenEmpty::Wait => limit.wait_max.min(TIME_MAX).as_nanos() * tokens,
            WhenEmpty::Refuse => 0,
        };
        let burst = u128::from(limit.burst.unwrap_or(limit.tokens).max(1)) * token;
        Self { tokens, token, burst, wait_max }
    }

    /// Ticks in nanoseconds, rounded up: nobody begins too early.
    pub(super) fn nanos(self, ticks: u128) -> u128 {
        ticks.div_ceil(self.tokens)
    }

    fn duration(self, ticks: u128) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos(ticks)).unwrap_or(u64::MAX))
    }
}

#[derive(Default)]
pub(super) struct Bucket {
    /// The theoretical arrival time, in ticks: when all reserved and used tokens are back.
    pub(super) full_at: u128,
    /// The moments for which tokens are reserved, in nanoseconds, the next one first.
    reserved: VecDeque<u64>,
}

impl Bucket {
    pub(super) fn take(&mut self, rate: Rate, now: u64) -> Take {
        while self.reserved.front().is_some_and(|at| *at <= now) {
            self.reserved.pop_front();
        }
        let ticks = u128::from(now) * rate.tokens;
        let full_at = self.full_at.max(ticks) + rate.token;
        // Not before the last one that waits, whose tokens given back may have come free earlier.
        let last = self.reserved.back().map_or(ticks, |at| u128::from(*at) * rate.tokens);
        let begin = full_at.saturating_sub(rate.burst).max(last);
        let wait = begin - ticks;
        if wait > rate.wait_max {
            return Take::Refused { retry_after: rate.duration(wait - rate.wait_max) };
        }
        self.full_at = full_at;
        if wait == 0 {
            return Take::Now;
        }
        let wait = rate.duration(wait);
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.reserved.push_back(now.saturating_add(nanos));
        Take::After(wait)
    }

    /// Counts anew without the reservation, from what is known: the arrival time is the latest of
    /// what each delivery causes alone, its own time and the tokens since. Those before the
    /// cancelled one cause a token less, those after it what they did.
    pub(super) fn give_back(&mut self, rate: Rate, at: u64) {
        let Ok(place) = self.reserved.binary_search(&at) else {
            // Its time has come before it was given back: the token counts as used.
            return;
        };
        self.reserved.remove(place);
        let later = self.reserved.iter().skip(place).rev();
        let caused = (1..)
            .zip(later)
            .map(|(tokens, at)| u128::from(*at) * rate.tokens + tokens * rate.token);
        let at_least = caused.max().unwrap_or(0);
        self.full_at = self.full_at.min(at_least.max(self.full_at.saturating_sub(rate.token)));
    }

    /// Counts anew without a token that was used.
    pub(super) fn put_back(&mut self, rate: Rate) {
        self.full_at = self.full_at.saturating_sub(rate.token);
    }

    pub(super) fn level(&self, rate: Rate, now: u64) -> Level {
        let debt = self.full_at.saturating_sub(u128::from(now) * rate.tokens);
        let left = rate.burst.saturating_sub(debt) / rate.token;
        Level {
            left: u32::try_from(left).unwrap_or(u32::MAX),
            next_after: rate.duration((debt + rate.token).saturating_sub(rate.burst)),
            full_after: rate.duration(debt),
        }
    }

    pub(super) fn convert(&mut self, old: Rate, new: Rate, now: u64) {
        let ticks = u128::from(now);
        let debt = self.full_at.saturating_sub(ticks * old.tokens);
        let debt = match old.burst.checked_sub(debt) {
            Some(left) => {
                // Whole tokens and the rest of one apart: their product could overflow.
                let (whole, rest) = (left / old.token, left % old.token);
                let left = whole * new.token + rest * new.token / old.token;
                new.burst.saturating_sub(left)
            }
            // Others wait: the bucket is empty until the last of them begins.
            None => new.burst + ((debt - old.burst) * new.tokens).div_ceil(old.tokens),
        };
        // Not before the last one that waits has begun, which after a gap may be later.
        let last = self.reserved.back().filter(|at| **at > now);
        let last = last.map_or(0, |at| u128::from(*at) * new.tokens + new.token);
        self.full_at = last.max(ticks * new.tokens + debt);
    }
}
