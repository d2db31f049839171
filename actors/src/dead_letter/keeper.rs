//! Keeps the dead letters of one runtime: the store, and what their being there means to others.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::dead_letter::{
    DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetterStore, DeadLetterStoreError,
    MemoryDeadLetters,
};
use crate::error::panic_text;

/// Called for each new dead letter.
pub(crate) type DeadLetterHook = Box<dyn Fn(&DeadLetter) + Send + Sync>;

/// What the dead letters of a runtime are made from.
#[derive(Default)]
pub(crate) struct KeeperPlan {
    /// `None` for memory.
    pub(crate) store: Option<Box<dyn DeadLetterStore>>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) hooks: Vec<DeadLetterHook>,
}

/// The dead letters of one runtime.
pub(crate) struct Keeper {
    store: Box<dyn DeadLetterStore>,
    ttl: Option<Duration>,
    hooks: Vec<DeadLetterHook>,
    /// How many letters there are of each handler and key.
    by_key: Mutex<HashMap<(String, String), usize>>,
    /// Letters that are delivered again just now.
    replaying: Mutex<HashSet<DeadLetterId>>,
}

impl Keeper {
    pub(crate) fn new(plan: KeeperPlan, max: usize) -> Self {
        let KeeperPlan { store, ttl, hooks } = plan;
        Self {
            store: store.unwrap_or_else(|| Box::new(MemoryDeadLetters::new(max))),
            ttl,
            hooks,
            by_key: Mutex::default(),
            replaying: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &dyn DeadLetterStore {
        &*self.store
    }

    /// Keeps a letter and tells the hooks; says which had to make room.
    pub(crate) fn add(&self, letter: DeadLetter) -> Vec<DeadLetter> {
        for hook in &self.hooks {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(&letter))) {
                let panic = panic_text(&*panic);
                tracing::error!(panic, "a hook for dead letters panicked");
            }
        }
        if let Some(place) = place(&letter) {
            *self.by_key.lock().entry(place).or_default() += 1;
        }
        let evicted = self.store.add(letter);
        for letter in &evicted {
            self.forget(letter);
        }
        evicted
    }

    /// Takes a letter out.
    pub(crate) async fn remove(
        &self,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetter>, DeadLetterStoreError> {
        let letter = self.store.remove(id).await?;
        if let Some(letter) = &letter {
            self.forget(letter);
        }
        Ok(letter)
    }

    /// Takes out what is older than the runtime keeps.
    pub(crate) async fn expire(&self, now: SystemTime) -> Result<(), DeadLetterStoreError> {
        let Some(oldest) = self.ttl.and_then(|ttl| now.checked_sub(ttl)) else { return Ok(()) };
        let query = DeadLetterQuery::default().before(oldest).limit(usize::MAX);
        for letter in self.store.list(&query).await? {
            self.remove(letter.id).await?;
        }
        Ok(())
    }

    /// Whether there is a dead letter of this handler and key.
    pub(crate) fn has_key(&self, handler: &str, key: &str) -> bool {
        self.by_key.lock().contains_key(&(handler.to_owned(), key.to_owned()))
    }

    /// Begins to deliver a letter again; false when that is done already.
    pub(crate) fn begin_replay(&self, id: DeadLetterId) -> bool {
        self.replaying.lock().insert(id)
    }

    pub(crate) fn end_replay(&self, id: DeadLetterId) {
        self.replaying.lock().remove(&id);
    }

    fn forget(&self, letter: &DeadLetter) {
        let Some(place) = place(letter) else { return };
        let mut by_key = self.by_key.lock();
        if let Some(letters) = by_key.get_mut(&place) {
            *letters -= 1;
            if *letters == 0 {
                by_key.remove(&place);
            }
        }
    }
}

fn place(letter: &DeadLetter) -> Option<(String, String)> {
    Some((letter.handler.clone(), letter.envelope.key()?.to_owned()))
}
