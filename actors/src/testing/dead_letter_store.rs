//! What every store of dead letters must do, as one suite that each implementation runs.

use std::borrow::Cow;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::{Clock, Wall, secs};
use crate::dead_letter::{DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetterStore, DeadReason};
use crate::envelope::{Envelope, Label, Metadata};
use crate::error::HandlerError;
use crate::event::Event;

/// The event whose letters the suite keeps.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Posted {
    n: usize,
    text: String,
}

impl Event for Posted {
    const NAME: &'static str = "letter.posted";

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(format!("box-{}", self.n).into())
    }
}

/// Checks that a store keeps the promises of [`DeadLetterStore`]; for the tests of each
/// implementation.
///
/// `new_store` makes an empty store that has room for just so many letters.
///
/// # Panics
/// When the store breaks a promise or fails.
pub async fn dead_letter_store_conformance<S: DeadLetterStore>(new_store: impl Fn(usize) -> S) {
    let post = Post::new();
    keeps_letters_in_order(&new_store(10), &post).await;
    makes_room_for_the_newest(&new_store(3), &post).await;
    keeps_none_without_room(&new_store(0), &post).await;
    keeps_a_letter_whole(&new_store(10), &post).await;
    changes_one_letter(&new_store(10), &post).await;
    gives_a_removed_letter_to_one(&new_store(10), &post).await;
    finds_by_each_field(&new_store(10), &post).await;
    finds_by_time(&new_store(10), &post).await;
}

/// Makes letters: the nth event, failed n seconds after the start.
struct Post {
    clock: Clock,
    start: SystemTime,
}

impl Post {
    fn new() -> Self {
        let clock = Clock::new(Some(0), Wall::default());
        Self { clock, start: SystemTime::UNIX_EPOCH + secs(1_800_000_000) }
    }

    fn at(&self, n: usize) -> SystemTime {
        self.start + secs(n as u64)
    }

    fn letter(&self, n: usize) -> DeadLetter {
        let id = self.clock.event_id();
        let mut metadata = Metadata::new(self.clock.trace_id(), id);
        let about = metadata.about_mut();
        about.tenant = Some("north".to_owned());
        about.headers.insert("lang".to_owned(), "de".to_owned());
        let label = Label {
            span_id: None,
            id,
            metadata,
            causation_id: None,
            source: "suite".into(),
            timestamp: self.at(n),
            hops: 2,
            expires_at: None,
        };
        let event = Posted { n, text: format!("Letter-{n}") };
        DeadLetter {
            id: DeadLetterId::new(self.clock.event_id()),
            envelope: Envelope::new(event, label),
            handler: "letter.Reader".to_owned(),
            reason: DeadReason::Failed(HandlerError::retry("No such Box").code("lost")),
            attempts: 3,
            replays: 0,
            first_failed_at: self.at(n),
            last_failed_at: self.at(n),
        }
    }

    /// Adds letters 0, 1, 2 and so on, and returns them.
    fn fill(&self, store: &impl DeadLetterStore, count: usize) -> Vec<DeadLetter> {
        let letters: Vec<_> = (0..count).map(|n| self.letter(n)).collect();
        for letter in &letters {
            assert!(store.add(letter.clone()).is_empty(), "a letter made room without need");
        }
        letters
    }
}

/// The numbers of the letters' events.
fn numbers(letters: &[DeadLetter]) -> Vec<usize> {
    let number = |letter: &DeadLetter| letter.envelope.event::<Posted>().map(|event| event.n);
    letters.iter().map(|letter| number(letter).unwrap_or(usize::MAX)).collect()
}

async fn listed(store: &impl DeadLetterStore, query: DeadLetterQuery) -> Vec<usize> {
    numbers(&ok(store.list(&query).await))
}

fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("the store failed: {error}"))
}

fn all() -> DeadLetterQuery {
    DeadLetterQuery::default()
}

async fn keeps_letters_in_order(store: &impl DeadLetterStore, post: &Post) {
    assert_eq!(store.count(), 0, "a new store is empty");
    post.fill(store, 6);
    assert_eq!(store.count(), 6);
    assert_eq!(listed(store, all()).await, [0, 1, 2, 3, 4, 5], "in the order of adding");
    assert_eq!(listed(store, all().limit(2)).await, [0, 1], "the limit takes the oldest");
    assert!(listed(store, all().limit(0)).await.is_empty(), "0 gives none");
}

async fn makes_room_for_the_newest(store: &impl DeadLetterStore, post: &Post) {
    post.fill(store, 3);
    assert_eq!(numbers(&store.add(post.letter(3))), [0], "the oldest is given back");
    assert_eq!(numbers(&store.add(post.letter(4))), [1]);
    assert_eq!(listed(store, all()).await, [2, 3, 4]);
    assert_eq!(store.count(), 3, "it is full");
}

async fn keeps_none_without_room(store: &impl DeadLetterStore, post: &Post) {
    assert_eq!(numbers(&store.add(post.letter(0))), [0], "it is given back itself");
    assert_eq!(store.count(), 0);
    assert!(listed(store, all()).await.is_empty());
}

async fn keeps_a_letter_whole(store: &impl DeadLetterStore, post: &Post) {
    let (first, mut letter) = (post.letter(0), post.letter(1));
    letter.reason = DeadReason::Declined;
    (letter.attempts, letter.replays) = (0, 4);
    letter.last_failed_at = post.at(9);
    store.add(letter.clone());
    assert!(ok(store.get(first.id).await).is_none(), "it was not added");
    let Some(kept) = ok(store.get(letter.id).await) else { panic!("the letter is gone") };
    assert_eq!(kept.to_json(), letter.to_json());
    assert!(matches!(kept.reason, DeadReason::Declined));
    assert_eq!(kept.envelope.key(), Some("box-1"));
    let (old, new) = (&letter.envelope, &kept.envelope);
    assert_eq!((new.source(), new.hops()), (old.source(), old.hops()));
    assert_eq!((new.timestamp(), new.causation_id()), (old.timestamp(), old.causation_id()));
    let (old, new) = (old.metadata(), new.metadata());
    assert_eq!((new.tenant(), new.identity()), (old.tenant(), old.identity()));
    assert!(new.headers().eq(old.headers()));
    assert_eq!(new.correlation_id, old.correlation_id);
}

async fn changes_one_letter(store: &impl DeadLetterStore, post: &Post) {
    let letters = post.fill(store, 3);
    let mut changed = letters[1].clone();
    let payload = json!({ "n": 11, "text": "" });
    changed.envelope = ok(changed.envelope.with_payload(payload));
    (changed.attempts, changed.last_failed_at) = (4, post.at(100));
    assert!(ok(store.update(changed.clone()).await), "the letter is there");
    assert_eq!(listed(store, all()).await, [0, 11, 2], "it keeps its place");
    let kept = ok(store.get(changed.id).await);
    assert_eq!(kept.map(|letter| letter.to_json()), Some(changed.to_json()));
}

async fn gives_a_removed_letter_to_one(store: &impl DeadLetterStore, post: &Post) {
    let letters = post.fill(store, 3);
    let id = letters[1].id;
    let (one, other) = (store.remove(id), store.remove(id));
    let got: Vec<_> = [ok(one.await), ok(other.await)].into_iter().flatten().collect();
    assert_eq!(numbers(&got), [1], "exactly one gets it");
    assert!(!ok(store.update(letters[1].clone()).await), "it is gone");
    assert!(ok(store.get(id).await).is_none(), "an update does not bring it back");
    assert_eq!(listed(store, all()).await, [0, 2]);
    assert_eq!(store.count(), 2);
}

async fn finds_by_each_field(store: &impl DeadLetterStore, post: &Post) {
    let (plain, other, parked) = (post.letter(0), post.letter(1), post.letter(2));
    let handler = "letter.Sorter".to_owned();
    let other = DeadLetter { handler, reason: DeadReason::Full, ..other };
    let parked = DeadLetter { reason: DeadReason::Declined, ..parked };
    let trace_id = other.envelope.trace_id();
    for letter in [plain, other, parked] {
        store.add(letter);
    }
    assert_eq!(listed(store, all().handler("letter.Reader")).await, [0, 2]);
    assert_eq!(listed(store, all().event_type(Posted::NAME)).await, [0, 1, 2]);
    assert!(listed(store, all().event_type("letter")).await.is_empty(), "the whole name");
    assert_eq!(listed(store, all().trace_id(trace_id)).await, [1]);
    assert_eq!(listed(store, all().code("lost")).await, [0], "the code of the error");
    assert_eq!(listed(store, all().code("declined")).await, [2]);
    assert_eq!(listed(store, all().key("box-2")).await, [2]);
    assert_eq!(listed(store, all().text("NO SUCH box")).await, [0], "in the reason");
    assert_eq!(listed(store, all().text("lETTER-1")).await, [1], "in the payload");
    assert!(listed(store, all().text("%")).await.is_empty(), "text is no pattern");
    let both = all().handler("letter.Reader").code("declined");
    assert_eq!(listed(store, both).await, [2], "all that is set holds");
    assert_eq!(listed(store, all().handler("letter.Reader").limit(1)).await, [0]);
}

async fn finds_by_time(store: &impl DeadLetterStore, post: &Post) {
    post.fill(store, 4);
    assert_eq!(listed(store, all().before(post.at(2))).await, [0, 1], "not at this time");
    assert_eq!(listed(store, all().since(post.at(2))).await, [2, 3], "at this time too");
    let between = all().since(post.at(1)).before(post.at(3));
    assert_eq!(listed(store, between).await, [1, 2]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::MemoryDeadLetters;

    #[actix::test]
    async fn memory_keeps_the_promises() {
        dead_letter_store_conformance(MemoryDeadLetters::new).await;
    }
}
