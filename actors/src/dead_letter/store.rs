//! The contract of a place where dead letters are kept.

use std::pin::Pin;

use crate::dead_letter::{DeadLetter, DeadLetterId, DeadLetterQuery};

/// The future of a [`DeadLetterStore`].
pub type StoreFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, DeadLetterStoreError>> + Send + 'a>>;

/// A store that could not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of dead letters: {reason}")]
pub struct DeadLetterStoreError {
    /// What went wrong; internal.
    pub reason: String,
}

/// Where dead letters are kept: in memory, unless another store is given to the runtime.
///
/// It is bounded: what has to make room is given back, so that it is logged and counted. Letters
/// are listed in the order in which they were added. Each method is atomic for each letter, and all
/// may be called at the same time.
pub trait DeadLetterStore: Send + Sync + 'static {
    /// Keeps a letter, and gives back those that had to make room, which is the letter itself where
    /// nothing can be kept. It is called while a delivery fails, so it must not block: a store that
    /// is slow keeps the letter in memory until it is written.
    fn add(&self, letter: DeadLetter) -> Vec<DeadLetter>;

    /// How many letters there are.
    fn count(&self) -> usize;

    /// Those that match, the oldest first, at most the query's limit.
    fn list<'a>(&'a self, query: &'a DeadLetterQuery) -> StoreFuture<'a, Vec<DeadLetter>>;

    /// One letter.
    fn get(&self, id: DeadLetterId) -> StoreFuture<'_, Option<DeadLetter>>;

    /// Replaces the letter of the same identifier, in its place; false when it is gone.
    fn update(&self, letter: DeadLetter) -> StoreFuture<'_, bool>;

    /// Takes a letter out.
    fn remove(&self, id: DeadLetterId) -> StoreFuture<'_, Option<DeadLetter>>;
}
