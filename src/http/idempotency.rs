//! The contract of a place where the outcomes of requests are kept, so that a repeated request gets
//! the answer of the first one: an attempt enters, and who came first is told to go on.

mod memory;
pub use memory::MemoryIdempotency;
mod database;
pub use database::DbIdempotency;

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

/// What one key takes beside its response, in bytes, about.
const ENTRY_BYTES: usize = 256;

/// How often it is told, at most, that outcomes have to leave early.
const COMPLAINT_PAUSE: Duration = Duration::from_mins(1);

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
    /// When the store is asked, by the wall clock of the bus: for a store that outlives its process.
    pub at: SystemTime,
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

    /// What it takes, in bytes, about.
    fn size(&self) -> usize {
        let content_type = self.content_type.as_ref().map_or(0, String::len);
        ENTRY_BYTES + content_type + self.body.len()
    }
}

/// When it was told last that outcomes have to leave early.
#[derive(Debug, Default)]
struct Complaint(Option<Instant>);

impl Complaint {
    fn make(&mut self, now: Instant) {
        if self.0.is_none_or(|at| now.duration_since(at) >= COMPLAINT_PAUSE) {
            self.0 = Some(now);
            tracing::warn!(
                "outcomes of requests leave before their time: raise SERVER_IDEMPOTENCY_MAX or \
                 SERVER_IDEMPOTENCY_BYTES_MAX, or keep them for less time"
            );
        }
    }
}

/// Where the outcomes of requests with an `Idempotency-Key` are kept.
///
/// | the store | outcomes survive a restart | processes share them | a first request pays |
/// |---|---|---|---|
/// | [`MemoryIdempotency`], the default | no | no | nothing |
/// | [`DbIdempotency`] | yes | those on one database | two commits |
///
/// Another one than in memory is given to [`App::idempotency_store`](crate::App::idempotency_store),
/// or to [`Routes::idempotency_store`](super::Routes::idempotency_store) for one table. Servers behind
/// one balancer need one that they share.
///
/// It is bounded, in what it keeps and in how long. It is asked on any thread, at any time, and by
/// many at once. With the feature `testing`, `testing::idempotency_store_conformance` checks that an
/// implementation keeps these promises.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot keep the outcomes of requests",
    label = "not a store of outcomes",
    note = "take a `DbIdempotency`, or add: impl IdempotencyStore for {Self} {{ .. }}",
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
