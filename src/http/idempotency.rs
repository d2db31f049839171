//! The contract of a place where the outcomes of requests are kept, so that a repeated request gets
//! the answer of the first one: an attempt enters, and who came first is told to go on.

mod memory;
pub use memory::MemoryIdempotency;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// The future of an [`IdempotencyStore`].
pub type IdempotencyFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, IdempotencyError>> + Send + 'a>>;

/// A store that could not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of outcomes: {reason}")]
pub struct IdempotencyError {
    /// What went wrong; internal.
    pub reason: String,
}

/// One request with an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdempotencyAttempt {
    /// What is the same for all attempts of one client with one key: SHA-256 of both.
    pub key: [u8; 32],
    /// What is the same for all attempts at one thing: SHA-256 of method, path, query and body.
    pub fingerprint: [u8; 32],
    /// What is different for each attempt, so that one that was given up for lost settles nothing.
    pub token: String,
    /// How long the attempt holds its key at most. It is over by then, unless its process has died.
    pub lease: Duration,
}

/// What a store says to an attempt.
///
/// | the key | the fingerprint | outcome |
/// |---|---|---|
/// | is not known, or its lease is over | any | `First`, and the attempt holds it |
/// | is held | the same | `InProgress` |
/// | has an outcome | the same | `Done` |
/// | is held or has an outcome | another | `Reused` |
/// | is not known, and nothing can make room | any | `Full` |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Begun {
    /// Nobody did it before: it is for this attempt to do.
    First,
    /// Another attempt is at it.
    InProgress,
    /// It was done, with this outcome.
    Done(StoredResponse),
    /// The key was used for something else.
    Reused,
    /// One more key cannot be kept.
    Full,
}

/// A response as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredResponse {
    /// The status, 200 to 499.
    pub status: u16,
    /// The type of the body, where it has one.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl StoredResponse {
    /// A response without a body.
    pub fn new(status: u16) -> Self {
        Self { status, content_type: None, body: Bytes::new() }
    }

    /// Sets the body and its type.
    pub fn body(mut self, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        self.content_type = Some(content_type.into());
        self.body = body.into();
        self
    }
}

/// Where the outcomes of requests with an `Idempotency-Key` are kept: in memory
/// ([`MemoryIdempotency`]), unless another store is given to
/// [`Routes::idempotency_store`](super::Routes::idempotency_store). Servers behind one balancer need
/// one that they share.
///
/// It is bounded, in what it keeps and in how long. It is asked on any thread, at any time, and by
/// many at once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot keep the outcomes of requests",
    label = "not a store of outcomes",
    note = "take a `MemoryIdempotency`, or add: impl IdempotencyStore for {Self} {{ .. }}",
    note = "a store is also Send, Sync and 'static"
)]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Gives the key to the attempt, or says why not, in one step: of several attempts at the same
    /// time one is [`First`](Begun::First).
    ///
    /// # Errors
    /// When it cannot be told; the request is answered with 503, and nothing is done.
    fn begin<'a>(&'a self, attempt: &'a IdempotencyAttempt) -> IdempotencyFuture<'a, Begun>;

    /// Keeps the outcome of an attempt that holds its key; false where it does not hold it any more,
    /// or where the outcome is too large to be kept. The key is free then.
    ///
    /// # Errors
    /// When it was not kept; the client gets its response, and the key stays held until its lease
    /// is over.
    fn finish<'a>(
        &'a self,
        attempt: &'a IdempotencyAttempt,
        outcome: StoredResponse,
    ) -> IdempotencyFuture<'a, bool>;

    /// Frees the key of an attempt that holds it and had no outcome, for the next attempt.
    ///
    /// # Errors
    /// When it was not freed; it stays held until its lease is over.
    fn release<'a>(&'a self, attempt: &'a IdempotencyAttempt) -> IdempotencyFuture<'a, ()>;
}
