//! Says something once per interval, however often it happens.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::secs;

/// How often the same thing is logged at most.
const INTERVAL: Duration = secs(10);

/// Counts what happens, and lets the first one of each interval be told.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Option<Box<State>>>);

#[derive(Default)]
struct State {
    told_at: Option<Instant>,
    since: u64,
}

impl Throttle {
    /// It happened once more. Says how often since it was told last, if it is to be told now.
    pub(crate) fn hit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let state = state.get_or_insert_default();
        state.since += 1;
        if state.told_at.is_some_and(|told_at| now.duration_since(told_at) < INTERVAL) {
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_interval_is_told_with_the_number_since() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let told: Vec<_> = (0..25).filter_map(|s| throttle.hit(start + secs(s))).collect();
        assert_eq!(told, [1, 10, 10]);
    }
}
