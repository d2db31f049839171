//! The handle by which an operator reads, edits, replays and discards dead letters.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::chain::Parcel;
use crate::dead_letter::{DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetterStoreError, Replay};
use crate::router::Router;

/// The dead letters of one runtime; cheap to clone, usable from any thread.
///
/// ```no_run
/// # use callboard_actors::{Bus, DeadLetterQuery};
/// # async fn example(bus: Bus) -> Result<(), Box<dyn std::error::Error>> {
/// let timeouts = DeadLetterQuery::default().handler("mail.Sender").code("timeout");
/// for letter in bus.dead_letters().list(&timeouts).await? {
///     println!("{}", letter.to_json());
/// }
/// let report = bus.dead_letters().replay(&timeouts).await?;
/// println!("{} handled, {} failed again", report.handled, report.failed);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    router: Arc<Router>,
}

/// Why a dead letter could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// There is no such letter: it was replayed, discarded, had to make room, or expired.
    #[error("there is no dead letter {id}")]
    NotFound {
        /// The identifier.
        id: DeadLetterId,
    },
    /// The new payload is not one of the event's type.
    #[error("dead letter {id} is a `{event}`, and the new payload is not: {reason}")]
    BadPayload {
        /// The identifier.
        id: DeadLetterId,
        /// The event's name.
        event: &'static str,
        /// What is wrong with the payload.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] DeadLetterStoreError),
}

/// What became of the letters that were replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// They were handled, and are dead letters no more.
    pub handled: usize,
    /// They failed again, and stay dead letters.
    pub failed: usize,
    /// They were not tried: their handler is gone, an earlier letter of their key is still there,
    /// or they were being replayed already.
    pub skipped: usize,
}

/// How many letters, or keys, are delivered again at once.
const REPLAYS_AT_ONCE: usize = 16;

impl DeadLetters {
    pub(crate) fn new(router: Arc<Router>) -> Self {
        Self { router }
    }

    /// The oldest 1 000.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all(&self) -> Result<Vec<DeadLetter>, DeadLetterError> {
        self.list(&DeadLetterQuery::default()).await
    }

    /// Those that match, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, DeadLetterError> {
        self.expire().await?;
        Ok(self.router.dead.store().list(query).await?)
    }

    /// One letter.
    ///
    /// # Errors
    /// When there is none of that identifier, or the store fails.
    pub async fn get(&self, id: DeadLetterId) -> Result<DeadLetter, DeadLetterError> {
        self.expire().await?;
        let letter = self.router.dead.store().get(id).await?;
        letter.ok_or(DeadLetterError::NotFound { id })
    }

    /// Replaces the payload of the event, to make good what was wrong with it before a replay. Its
    /// identifiers and its context stay.
    ///
    /// # Errors
    /// When there is no such letter, when the payload is not one of the event's type, or when the
    /// store fails.
    pub async fn edit(
        &self,
        id: DeadLetterId,
        payload: Value,
    ) -> Result<DeadLetter, DeadLetterError> {
        let mut letter = self.get(id).await?;
        let event = letter.envelope.name();
        let edited = letter.envelope.with_payload(payload);
        letter.envelope = edited.map_err(|error| {
            let reason = error.to_string();
            DeadLetterError::BadPayload { id, event, reason }
        })?;
        if self.router.dead.store().update(letter.clone()).await? {
            Ok(letter)
        } else {
            Err(DeadLetterError::NotFound { id })
        }
    }

    /// Takes a letter out for good.
    ///
    /// # Errors
    /// When there is none of that identifier, or the store fails.
    pub async fn discard(&self, id: DeadLetterId) -> Result<DeadLetter, DeadLetterError> {
        let letter = self.router.dead.remove(id).await?;
        letter.ok_or(DeadLetterError::NotFound { id })
    }

    /// Takes out all that match, up to the query's limit; says how many.
    ///
    /// # Errors
    /// When the store fails; some may be gone then.
    pub async fn purge(&self, query: &DeadLetterQuery) -> Result<usize, DeadLetterError> {
        let mut purged = 0;
        for letter in self.list(query).await? {
            purged += usize::from(self.router.dead.remove(letter.id).await?.is_some());
        }
        Ok(purged)
    }

    /// How many there are, those that have expired since the last look included.
    pub fn count(&self) -> usize {
        self.router.dead.store().count()
    }

    /// Delivers the letters that match, and are there now, once more: each to its own handler only,
    /// by that handler's policy, whatever the age of the event. A letter that is handled is gone;
    /// one that fails stays, with its attempts added up. Those of a handler that
    /// [parks keys](crate::Policy::parks_key) are replayed in order, and the first of a key that
    /// fails again keeps the later ones. A replay goes on in the trace of its event, beside the
    /// delivery that failed.
    ///
    /// # Errors
    /// When the store fails; what was replayed until then is settled.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, what is being delivered is delivered and settled, and the rest
    /// is left as it was.
    pub async fn replay(&self, query: &DeadLetterQuery) -> Result<ReplayReport, DeadLetterError> {
        let mut sequences: HashMap<(String, Option<String>), Vec<DeadLetter>> = HashMap::new();
        let mut order = Vec::new();
        for letter in self.list(query).await? {
            let key = self.parking_key(&letter).map(str::to_owned);
            let single = key.is_none().then(|| letter.id.to_string());
            let sequence = (format!("{}{}", letter.handler, single.unwrap_or_default()), key);
            let letters = sequences.entry(sequence.clone()).or_default();
            if letters.is_empty() {
                order.push(sequence);
            }
            letters.push(letter);
        }
        let sequences = order.into_iter().filter_map(|sequence| sequences.remove(&sequence));
        let replays = sequences.map(|letters| self.replay_sequence(letters));
        let reports: Vec<_> =
            stream::iter(replays.collect::<Vec<_>>()).buffered(REPLAYS_AT_ONCE).collect().await;
        let mut total = ReplayReport::default();
        for report in reports {
            let ReplayReport { handled, failed, skipped } = report?;
            total.handled += handled;
            total.failed += failed;
            total.skipped += skipped;
        }
        Ok(total)
    }

    /// One after the other, until one is not handled.
    async fn replay_sequence(
        &self,
        letters: Vec<DeadLetter>,
    ) -> Result<ReplayReport, DeadLetterError> {
        let mut report = ReplayReport::default();
        let mut letters = letters.into_iter();
        for letter in letters.by_ref() {
            match self.replay_one(letter).await? {
                Some(true) => report.handled += 1,
                Some(false) => {
                    report.failed += 1;
                    break;
                }
                None => {
                    report.skipped += 1;
                    break;
                }
            }
        }
        report.skipped += letters.len();
        Ok(report)
    }

    /// Says whether it was handled; `None` when it was not tried.
    async fn replay_one(&self, letter: DeadLetter) -> Result<Option<bool>, DeadLetterError> {
        let keeper = &self.router.dead;
        if let Some(key) = self.parking_key(&letter) {
            let query = DeadLetterQuery::default().handler(&letter.handler).key(key).limit(1);
            let first = keeper.store().list(&query).await?;
            if first.first().is_none_or(|first| first.id != letter.id) {
                return Ok(None);
            }
        }
        let (settled, is_settled) = oneshot::channel();
        let Some(replay) = Replay::begin(keeper, letter.id, settled) else { return Ok(None) };
        let parcel = Parcel::replayed(letter.envelope, replay);
        if !self.router.redeliver(parcel, &letter.handler).await {
            return Ok(None);
        }
        // Nobody settles what was dropped, or left at shutdown.
        Ok(Some(is_settled.await.unwrap_or(false)))
    }

    /// The key that a letter parks, if its handler wants that.
    fn parking_key<'l>(&self, letter: &'l DeadLetter) -> Option<&'l str> {
        let seat = self.router.table().seat(&letter.handler)?;
        letter.envelope.key().filter(|_| seat.rules.parks_key)
    }

    async fn expire(&self) -> Result<(), DeadLetterError> {
        Ok(self.router.dead.expire(self.router.clock.now()).await?)
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("count", &self.count()).finish_non_exhaustive()
    }
}
