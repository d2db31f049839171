//! Which deliveries were handled already: keys and moments enter, "first" or "duplicate" leaves.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::clock::secs;
use crate::event::EventId;

/// How a handler skips events that it has handled already.
///
/// | the same event or key | a delivery |
/// |---|---|
/// | was never seen, or not within [`window`](Self::window) | is handled |
/// | is being handled | is skipped |
/// | was handled within the window | is skipped |
/// | failed or was cancelled | is handled |
///
/// It remembers in memory only: another process, or this one after a restart, knows nothing of it.
///
/// ```
/// use callboard_actors::{Dedupe, secs};
/// let dedupe = Dedupe::by_key().window(secs(60)).entries_max(1_000);
/// assert_eq!(dedupe.window, secs(60));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dedupe {
    /// What makes two events the same.
    pub by: DedupeBy,
    /// How long an event is remembered after it was handled. More than zero. Default 5 min.
    pub window: Duration,
    /// How many events are remembered at once. At least 1. The one that was handled longest ago
    /// makes room; when all are being handled, further ones are handled without being remembered.
    /// Default 100 000.
    pub entries_max: usize,
}

/// What makes two events the same.
///
/// | by | the same are | for |
/// |---|---|---|
/// | `Id` | deliveries of one published event | a source that delivers at least once |
/// | `Key` | events with the same key | senders that send the same order again |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DedupeBy {
    /// The event's id.
    Id,
    /// The event's key.
    Key,
}

impl Dedupe {
    fn new(by: DedupeBy) -> Self {
        Self { by, window: secs(300), entries_max: 100_000 }
    }

    /// Skips an event whose id was handled.
    pub fn by_id() -> Self {
        Self::new(DedupeBy::Id)
    }

    /// Skips an event whose key was handled.
    pub fn by_key() -> Self {
        Self::new(DedupeBy::Key)
    }

    /// Sets [`window`](Self::window).
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets [`entries_max`](Self::entries_max), in events.
    pub fn entries_max(mut self, events: usize) -> Self {
        self.entries_max = events;
        self
    }

    /// What is wrong with the values, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.window.is_zero() {
            Some("the dedupe window is 0: nothing would be remembered")
        } else if self.entries_max == 0 {
            Some("the dedupe entries_max is 0: nothing would be remembered")
        } else {
            None
        }
    }
}

/// Such as `by id(within 300s, 100000 entries)`.
impl fmt::Display for Dedupe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            DedupeBy::Id => "id",
            DedupeBy::Key => "key",
        };
        write!(f, "by {by}(within {:?}, {} entries)", self.window, self.entries_max)
    }
}

/// What a delivery is remembered by; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DedupeKey {
    Id(EventId),
    Key(Arc<str>),
}

/// Whether a delivery is the first of its key.
#[derive(Debug)]
#[must_use]
pub(crate) enum Begun {
    /// Handle it, and say so by [`Claim::done`].
    First(Claim),
    /// It was handled, or is being handled.
    Duplicate,
}

/// What one handler has seen.
pub(crate) struct Seen {
    dedupe: Dedupe,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    /// All keys, those in work included.
    entries: HashSet<DedupeKey>,
    /// Which of them are done, each once, in the order of these moments. Those in work are not
    /// here, so nothing but the end of their claim removes them.
    done: VecDeque<(Instant, DedupeKey)>,
}

impl Seen {
    pub(crate) fn new(dedupe: Dedupe) -> Self {
        Self { dedupe, memory: Arc::default() }
    }

    /// Begins a delivery, unless its key was handled within the window or is in work: of several
    /// that begin at once, one is first.
    pub(crate) fn begin(&self, key: DedupeKey, now: Instant) -> Begun {
        let mut memory = self.memory.lock();
        memory.forget_expired(self.dedupe.window, now);
        if memory.entries.contains(&key) {
            return Begun::Duplicate;
        }
        if memory.entries.len() >= self.dedupe.entries_max.max(1) && !memory.forget_oldest() {
            return Begun::First(Claim { held: None });
        }
        memory.entries.insert(key.clone());
        Begun::First(Claim { held: Some((Arc::clone(&self.memory), key)) })
    }

    /// How many keys are remembered, those in work included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.memory.lock().entries.len()
    }
}

impl Memory {
    /// Each entry is removed once, so this costs no more than its insertion did.
    fn forget_expired(&mut self, window: Duration, now: Instant) {
        while let Some((at, _)) = self.done.front()
            && now.saturating_duration_since(*at) >= window
        {
            self.forget_oldest();
        }
    }

    /// Forgets what was done longest ago; false when all is in work.
    fn forget_oldest(&mut self) -> bool {
        self.done.pop_front().is_some_and(|(_, key)| self.entries.remove(&key))
    }
}

/// A delivery in work. Dropped without [`done`](Self::done) it is forgotten, so that a later one
/// with the same key is no duplicate of a failure.
#[must_use]
pub(crate) struct Claim {
    /// None when there was no room to remember it.
    held: Option<(Arc<Mutex<Memory>>, DedupeKey)>,
}

impl Claim {
    /// Remembers the delivery as handled, for the window from `now` on.
    pub(crate) fn done(mut self, now: Instant) {
        let Some((memory, key)) = self.held.take() else {
            return;
        };
        let mut memory = memory.lock();
        // Threads read their clocks before they come here, so two may come in the wrong order.
        let at = memory.done.back().map_or(now, |(last, _)| now.max(*last));
        memory.done.push_back((at, key));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((memory, key)) = &self.held {
            memory.lock().entries.remove(key);
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.held.as_ref().map(|(_, key)| key)).finish()
    }
}

#[cfg(test)]
mod tests;
