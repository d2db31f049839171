//! Outcomes in memory: bounded in number, in bytes and in time.

use std::collections::{HashMap, VecDeque};
use std::future::ready;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Begun, Complaint, IdempotencyAttempt, IdempotencyFuture, IdempotencyStore, StoredResponse,
};
use crate::settings::IdempotencySettings;

/// Keeps outcomes in the memory of this process; [`DbIdempotency`](super::DbIdempotency) outlives it.
///
/// Where there is no room the oldest outcomes leave before their time, which the log says; keys that
/// are held never do. An outcome that is larger than all the room is not kept.
#[derive(Debug)]
pub struct MemoryIdempotency {
    limits: IdempotencySettings,
    state: Mutex<State>,
}

type Key = [u8; 32];

#[derive(Debug, Default)]
struct State {
    by_key: HashMap<Key, Entry>,
    /// The keys that have outcomes, the oldest first, with the ends of their time.
    done: VecDeque<(Instant, Key)>,
    /// What the outcomes take.
    bytes: usize,
    complaint: Complaint,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Key,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Held { token: String, until: Instant },
    Done(StoredResponse),
}

impl MemoryIdempotency {
    /// A store with these limits.
    pub fn new(limits: &IdempotencySettings) -> Self {
        Self { limits: limits.clone(), state: Mutex::default() }
    }

    fn begin_at(&self, attempt: &IdempotencyAttempt, now: Instant) -> Begun {
        let mut state = self.state.lock();
        state.forget(now);
        let known = state.by_key.get(&attempt.key);
        if let Some(Entry { fingerprint, phase }) = known {
            let is_same = *fingerprint == attempt.fingerprint;
            match phase {
                Phase::Held { until, .. } if *until <= now => {}
                _ if !is_same => return Begun::Reused,
                Phase::Held { .. } => return Begun::InProgress,
                Phase::Done(response) => return Begun::Done(response.clone()),
            }
        } else if state.by_key.len() >= self.limits.entries_max && !state.evict(now) {
            return Begun::Full;
        }
        let (token, until) = (attempt.token.clone(), now + attempt.lease);
        let phase = Phase::Held { token, until };
        state.by_key.insert(attempt.key, Entry { fingerprint: attempt.fingerprint, phase });
        Begun::First
    }

    fn finish_at(
        &self,
        attempt: &IdempotencyAttempt,
        outcome: StoredResponse,
        now: Instant,
    ) -> bool {
        let mut state = self.state.lock();
        if !state.release(attempt) {
            return false;
        }
        let size = outcome.size();
        if size > self.limits.bytes_max {
            return false;
        }
        while state.bytes + size > self.limits.bytes_max && state.evict(now) {}
        state.bytes += size;
        state.done.push_back((now + self.limits.ttl, attempt.key));
        let entry = Entry { fingerprint: attempt.fingerprint, phase: Phase::Done(outcome) };
        state.by_key.insert(attempt.key, entry);
        true
    }
}

impl State {
    /// Drops the outcomes whose time is over.
    fn forget(&mut self, now: Instant) {
        while self.done.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_oldest();
        }
    }

    /// Makes room: for one more key, or of some bytes. False where nothing can leave.
    fn evict(&mut self, now: Instant) -> bool {
        if !self.drop_oldest() {
            let before = self.by_key.len();
            self.by_key.retain(|_, entry| match &entry.phase {
                Phase::Held { until, .. } => *until > now,
                Phase::Done(_) => true,
            });
            return self.by_key.len() < before;
        }
        self.complaint.make(now);
        true
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, key)) = self.done.pop_front() else { return false };
        if let Some(Entry { phase: Phase::Done(response), .. }) = self.by_key.remove(&key) {
            self.bytes -= response.size();
        }
        true
    }

    /// Forgets a key that the attempt holds.
    fn release(&mut self, attempt: &IdempotencyAttempt) -> bool {
        let held_by = |entry: &Entry| match &entry.phase {
            Phase::Held { token, .. } => *token == attempt.token,
            Phase::Done(_) => false,
        };
        let is_held = self.by_key.get(&attempt.key).is_some_and(held_by);
        is_held && self.by_key.remove(&attempt.key).is_some()
    }
}

impl IdempotencyStore for MemoryIdempotency {
    fn begin<'a>(&'a self, attempt: &'a IdempotencyAttempt) -> IdempotencyFuture<'a, Begun> {
        Box::pin(ready(Ok(self.begin_at(attempt, Instant::now()))))
    }

    fn finish<'a>(
        &'a self,
        attempt: &'a IdempotencyAttempt,
        outcome: StoredResponse,
    ) -> IdempotencyFuture<'a, bool> {
        Box::pin(ready(Ok(self.finish_at(attempt, outcome, Instant::now()))))
    }

    fn release<'a>(&'a self, attempt: &'a IdempotencyAttempt) -> IdempotencyFuture<'a, ()> {
        self.state.lock().release(attempt);
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use callboard_actors::secs;

    use super::*;

    fn store(entries_max: usize, bytes_max: usize) -> MemoryIdempotency {
        let limits = IdempotencySettings { ttl: secs(100), entries_max, bytes_max };
        MemoryIdempotency::new(&limits)
    }

    fn attempt(key: u8, what: u8, token: &str) -> IdempotencyAttempt {
        let (key, fingerprint, token) = ([key; 32], [what; 32], token.to_owned());
        IdempotencyAttempt { key, fingerprint, token, lease: secs(10), at: UNIX_EPOCH }
    }

    fn response(len: usize) -> StoredResponse {
        StoredResponse::new(201).body("application/json", vec![b' '; len])
    }

    #[test]
    fn the_first_attempt_does_it_and_the_others_are_told() {
        let (store, now) = (store(10, 10_000), Instant::now());
        let first = attempt(1, 1, "a");
        assert_eq!(store.begin_at(&first, now), Begun::First);
        assert_eq!(store.begin_at(&attempt(1, 1, "b"), now), Begun::InProgress);
        assert_eq!(store.begin_at(&attempt(1, 2, "b"), now), Begun::Reused);
        assert_eq!(store.begin_at(&attempt(2, 1, "b"), now), Begun::First);
        assert!(store.finish_at(&first, response(3), now));
        assert_eq!(store.begin_at(&attempt(1, 1, "c"), now), Begun::Done(response(3)));
        assert_eq!(store.begin_at(&attempt(1, 2, "c"), now), Begun::Reused);
        let later = now + secs(100);
        assert_eq!(store.begin_at(&attempt(1, 2, "d"), later), Begun::First, "its time is over");
    }

    #[test]
    fn an_attempt_that_died_frees_its_key_and_settles_nothing_more() {
        let (store, now) = (store(10, 10_000), Instant::now());
        let (dead, next) = (attempt(1, 1, "a"), attempt(1, 1, "b"));
        assert_eq!(store.begin_at(&dead, now), Begun::First);
        assert_eq!(store.begin_at(&next, now + secs(9)), Begun::InProgress);
        assert_eq!(store.begin_at(&next, now + secs(10)), Begun::First);
        assert!(!store.finish_at(&dead, response(1), now + secs(11)));
        assert!(!store.state.lock().release(&dead));
        assert!(store.finish_at(&next, response(2), now + secs(11)));
        assert!(!store.state.lock().release(&next), "what is done stays");
        assert_eq!(store.begin_at(&attempt(1, 1, "c"), now + secs(12)), Begun::Done(response(2)));
    }

    #[test]
    fn the_oldest_outcome_makes_room_and_what_is_held_does_not() {
        let (store, now) = (store(2, 10_000), Instant::now());
        assert_eq!(store.begin_at(&attempt(1, 1, "a"), now), Begun::First);
        assert_eq!(store.begin_at(&attempt(2, 1, "b"), now), Begun::First);
        assert_eq!(store.begin_at(&attempt(3, 1, "c"), now), Begun::Full);
        assert!(store.finish_at(&attempt(2, 1, "b"), response(1), now));
        assert_eq!(store.begin_at(&attempt(3, 1, "c"), now), Begun::First, "2 left");
        assert_eq!(store.begin_at(&attempt(1, 1, "d"), now), Begun::InProgress);
        assert_eq!(store.begin_at(&attempt(2, 1, "e"), now), Begun::Full);
        let over = now + secs(10);
        assert_eq!(store.begin_at(&attempt(2, 1, "e"), over), Begun::First, "leases are over");
    }

    #[test]
    fn bytes_are_bounded_and_counted_to_the_last() {
        let (store, now) = (store(100, 1_000), Instant::now());
        for key in 0..50 {
            let attempt = attempt(key, 1, "a");
            assert_eq!(store.begin_at(&attempt, now), Begun::First);
            assert!(store.finish_at(&attempt, response(100), now));
            assert!(store.state.lock().bytes <= 1_000);
        }
        assert_eq!(store.state.lock().by_key.len(), 2);
        let large = attempt(99, 1, "a");
        assert_eq!(store.begin_at(&large, now), Begun::First);
        assert!(!store.finish_at(&large, response(1_000), now));
        assert_eq!(store.begin_at(&large, now), Begun::First, "it was not kept");
        store.state.lock().forget(now + secs(100));
        let state = store.state.lock();
        assert_eq!((state.bytes, state.done.len(), state.by_key.len()), (0, 0, 1));
    }
}
