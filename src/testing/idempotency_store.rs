//! What every store of outcomes must do, as one suite that each implementation runs.

use std::time::{Duration, SystemTime};

use callboard_actors::secs;
use futures_util::future::join_all;

use crate::http::{Begun, IdempotencyAttempt, IdempotencyError, IdempotencyStore, StoredResponse};
use crate::settings::IdempotencySettings;

/// How long outcomes are kept in the suite.
const TTL: Duration = secs(100);

/// How long the suite's attempts hold their keys.
const LEASE: Duration = secs(10);

/// Checks that a store keeps the promises of [`IdempotencyStore`]; for the tests of each
/// implementation.
///
/// `new_store` makes an empty store with these limits. Time is virtual: it passes on tokio's clock,
/// and in [`IdempotencyAttempt::at`]. A store that goes by another clock has to be given one of these
/// for the suite.
///
/// ```
/// use callboard::http::MemoryIdempotency;
/// use callboard::testing::idempotency_store_conformance;
///
/// # #[actix_web::main]
/// # async fn main() {
/// tokio::time::pause();
/// idempotency_store_conformance(async |limits| MemoryIdempotency::new(limits)).await;
/// # }
/// ```
///
/// # Panics
/// When the store breaks a promise or fails, and where tokio's clock is not paused.
pub async fn idempotency_store_conformance<S: IdempotencyStore>(
    new_store: impl AsyncFn(&IdempotencySettings) -> S,
) {
    let suite = async |entries_max, bytes_max| {
        let limits = IdempotencySettings { ttl: TTL, entries_max, bytes_max };
        let now = SystemTime::UNIX_EPOCH + secs(1_800_000_000);
        Suite { store: new_store(&limits).await, now }
    };
    tells_attempts_apart(suite(100, 1_000_000).await).await;
    gives_a_key_to_one(suite(100, 1_000_000).await).await;
    keeps_a_response_whole(suite(100, 1_000_000).await).await;
    forgets_an_outcome_in_time(suite(100, 1_000_000).await).await;
    takes_a_key_from_the_dead(suite(100, 1_000_000).await).await;
    frees_a_key_for_its_holder(suite(100, 1_000_000).await).await;
    makes_room_for_the_newest(suite(2, 1_000_000).await).await;
    keeps_what_is_held(suite(2, 1_000_000).await).await;
    keeps_as_many_bytes_as_it_may(suite(100, 20_000).await).await;
    keeps_none_that_is_too_large(suite(100, 20_000).await).await;
}

/// A store, and the time by which it is asked.
struct Suite<S> {
    store: S,
    now: SystemTime,
}

impl<S: IdempotencyStore> Suite<S> {
    async fn begin(&self, key: u8, what: u8, token: &str) -> Begun {
        ok(self.store.begin(&self.attempt(key, what, token)).await)
    }

    async fn finish(&self, key: u8, token: &str, outcome: StoredResponse) -> bool {
        ok(self.store.finish(&self.attempt(key, 1, token), outcome).await)
    }

    async fn release(&self, key: u8, token: &str) {
        ok(self.store.release(&self.attempt(key, 1, token)).await);
    }

    /// Does something once, with this key.
    async fn complete(&self, key: u8, outcome: StoredResponse) {
        assert_eq!(self.begin(key, 1, "once").await, Begun::First, "{key}");
        assert!(self.finish(key, "once", outcome).await, "the outcome of {key} is kept");
    }

    async fn pass(&mut self, time: Duration) {
        tokio::time::advance(time).await;
        self.now += time;
    }

    fn attempt(&self, key: u8, what: u8, token: &str) -> IdempotencyAttempt {
        let (key, fingerprint, token) = ([key; 32], [what; 32], token.to_owned());
        IdempotencyAttempt { key, fingerprint, token, lease: LEASE, at: self.now }
    }
}

fn ok<T>(result: Result<T, IdempotencyError>) -> T {
    result.unwrap_or_else(|error| panic!("the store failed: {error}"))
}

fn response(len: usize) -> StoredResponse {
    StoredResponse::new(201).body("application/json", vec![b' '; len])
}

async fn tells_attempts_apart(suite: Suite<impl IdempotencyStore>) {
    assert_eq!(suite.begin(1, 1, "a").await, Begun::First);
    assert_eq!(suite.begin(1, 1, "b").await, Begun::InProgress);
    assert_eq!(suite.begin(1, 2, "b").await, Begun::Reused, "for another request, while held");
    assert_eq!(suite.begin(2, 1, "b").await, Begun::First, "another key");
    assert!(suite.finish(1, "a", response(3)).await);
    assert_eq!(suite.begin(1, 1, "c").await, Begun::Done(response(3)));
    assert_eq!(suite.begin(1, 1, "d").await, Begun::Done(response(3)), "and again");
    assert_eq!(suite.begin(1, 2, "c").await, Begun::Reused, "for another request, when done");
    assert_eq!(suite.begin(2, 1, "c").await, Begun::InProgress);
}

async fn gives_a_key_to_one(suite: Suite<impl IdempotencyStore>) {
    for key in 0..10 {
        let tokens: Vec<_> = (0..8).map(|n| format!("{n}")).collect();
        let begun = join_all(tokens.iter().map(|token| suite.begin(key, 1, token))).await;
        let first = begun.iter().filter(|begun| **begun == Begun::First).count();
        let under_way = begun.iter().filter(|begun| **begun == Begun::InProgress).count();
        assert_eq!((first, under_way), (1, 7), "{begun:?}");
    }
}

async fn keeps_a_response_whole(suite: Suite<impl IdempotencyStore>) {
    let bytes: Vec<u8> = (0..=255).collect();
    let responses = [
        StoredResponse::new(204),
        StoredResponse::new(499).body("", "no type"),
        StoredResponse::new(200).body("application/octet-stream", bytes),
        StoredResponse { content_type: None, ..response(5) },
    ];
    for (key, response) in (0..).zip(responses) {
        suite.complete(key, response.clone()).await;
        assert_eq!(suite.begin(key, 1, "again").await, Begun::Done(response));
    }
}

async fn forgets_an_outcome_in_time(mut suite: Suite<impl IdempotencyStore>) {
    assert_eq!(suite.begin(1, 1, "a").await, Begun::First);
    suite.pass(secs(9)).await;
    assert!(suite.finish(1, "a", response(1)).await);
    suite.pass(secs(99)).await;
    assert_eq!(suite.begin(1, 1, "b").await, Begun::Done(response(1)), "since it was done");
    suite.pass(secs(1)).await;
    assert_eq!(suite.begin(1, 2, "c").await, Begun::First, "its time is over");
    assert_eq!(suite.begin(1, 2, "d").await, Begun::InProgress, "nothing is left of it");
    assert_eq!(suite.begin(1, 1, "d").await, Begun::Reused);
}

async fn takes_a_key_from_the_dead(mut suite: Suite<impl IdempotencyStore>) {
    assert_eq!(suite.begin(1, 1, "dead").await, Begun::First);
    suite.pass(secs(9)).await;
    assert_eq!(suite.begin(1, 1, "next").await, Begun::InProgress);
    suite.pass(secs(1)).await;
    assert_eq!(suite.begin(1, 1, "next").await, Begun::First, "the lease is over");
    assert_eq!(suite.begin(1, 1, "third").await, Begun::InProgress, "a new one has begun");
    assert!(!suite.finish(1, "dead", response(1)).await, "it holds the key no more");
    suite.release(1, "dead").await;
    assert_eq!(suite.begin(1, 1, "third").await, Begun::InProgress, "nor can it free it");
    assert!(suite.finish(1, "next", response(2)).await);
    assert_eq!(suite.begin(1, 1, "third").await, Begun::Done(response(2)));
}

async fn frees_a_key_for_its_holder(suite: Suite<impl IdempotencyStore>) {
    suite.release(1, "nobody").await;
    assert_eq!(suite.begin(1, 1, "a").await, Begun::First);
    suite.release(1, "b").await;
    assert_eq!(suite.begin(1, 1, "b").await, Begun::InProgress, "another one holds it");
    suite.release(1, "a").await;
    assert!(!suite.finish(1, "a", response(1)).await, "it was freed");
    assert_eq!(suite.begin(1, 2, "c").await, Begun::First, "for whatever comes next");
    suite.release(1, "c").await;
    suite.complete(1, response(2)).await;
    assert!(!suite.finish(1, "once", response(3)).await, "it was settled");
    suite.release(1, "once").await;
    assert_eq!(suite.begin(1, 1, "d").await, Begun::Done(response(2)), "what is done stays");
}

async fn makes_room_for_the_newest(mut suite: Suite<impl IdempotencyStore>) {
    for key in 1..=3 {
        suite.complete(key, response(1)).await;
        suite.pass(secs(1)).await;
    }
    assert_eq!(suite.begin(3, 1, "a").await, Begun::Done(response(1)));
    assert_eq!(suite.begin(2, 1, "a").await, Begun::Done(response(1)));
    assert_eq!(suite.begin(1, 1, "a").await, Begun::First, "the oldest is gone");
    assert_eq!(suite.begin(3, 1, "b").await, Begun::Done(response(1)));
    assert_eq!(suite.begin(2, 1, "b").await, Begun::First, "so is the next one");
    assert_eq!(suite.begin(3, 1, "c").await, Begun::Full, "and now the last");
}

async fn keeps_what_is_held(mut suite: Suite<impl IdempotencyStore>) {
    assert_eq!(suite.begin(1, 1, "a").await, Begun::First);
    assert_eq!(suite.begin(2, 1, "b").await, Begun::First);
    for _ in 0..3 {
        assert_eq!(suite.begin(3, 1, "c").await, Begun::Full, "all keys are held");
    }
    assert_eq!(suite.begin(1, 1, "d").await, Begun::InProgress, "what is known is told");
    assert!(suite.finish(2, "b", response(1)).await);
    assert_eq!(suite.begin(3, 1, "c").await, Begun::First, "an outcome has made room");
    assert_eq!(suite.begin(2, 1, "e").await, Begun::Full);
    assert!(suite.finish(1, "a", response(1)).await, "it was kept all the while");
    suite.pass(LEASE).await;
    assert_eq!(suite.begin(2, 1, "e").await, Begun::First, "a lease is over");
    assert_eq!(suite.begin(3, 1, "f").await, Begun::First, "one may leave");
}

async fn keeps_as_many_bytes_as_it_may(mut suite: Suite<impl IdempotencyStore>) {
    for key in 0..50 {
        suite.complete(key, response(1_000)).await;
        assert_eq!(suite.begin(key, 1, "again").await, Begun::Done(response(1_000)));
        suite.pass(secs(1)).await;
    }
    let mut known = Vec::new();
    for key in 0..50 {
        // Of another request, so that it takes no key that is kept.
        match suite.begin(key, 2, "count").await {
            Begun::Reused => known.push(key),
            _ => suite.release(key, "count").await,
        }
    }
    assert!((1..=20).contains(&known.len()), "20 000 bytes of 1 000 each: {known:?}");
    assert_eq!(known.last(), Some(&49), "the newest is there");
}

async fn keeps_none_that_is_too_large(suite: Suite<impl IdempotencyStore>) {
    suite.complete(1, response(1)).await;
    assert_eq!(suite.begin(2, 1, "a").await, Begun::First);
    assert!(!suite.finish(2, "b", response(20_001)).await, "nor is it its own");
    assert_eq!(suite.begin(2, 1, "b").await, Begun::InProgress, "another one holds it");
    assert!(!suite.finish(2, "a", response(20_001)).await, "larger than all the room");
    assert_eq!(suite.begin(2, 1, "b").await, Begun::First, "the key is free");
    assert_eq!(suite.begin(1, 1, "c").await, Begun::Done(response(1)), "and nothing else left");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::http::{DbIdempotency, MemoryIdempotency};
    use crate::settings::Settings;

    #[tokio::test(start_paused = true)]
    async fn memory_keeps_the_promises() {
        idempotency_store_conformance(async |limits| MemoryIdempotency::new(limits)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_keeps_the_promises() {
        let mut settings = Settings::default().db;
        settings.dsn = "sqlite::memory:".to_owned().into();
        idempotency_store_conformance(async |limits| {
            let db = Db::connect(&settings).await.unwrap();
            DbIdempotency::open(&db, limits).await.unwrap()
        })
        .await;
    }
}
