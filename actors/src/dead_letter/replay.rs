//! A dead letter on its way through its handler once more.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::dead_letter::{DeadLetterId, DeadLetterStoreError, DeadReason, Keeper};

/// Rides with the event of a letter that is delivered again, and settles the letter.
pub(crate) struct Replay {
    keeper: Arc<Keeper>,
    id: DeadLetterId,
    /// Why it failed again, and after how many attempts.
    failure: Mutex<Option<(DeadReason, u32)>>,
    /// Whom to tell whether it was handled.
    settled: Mutex<Option<oneshot::Sender<bool>>>,
}

impl Replay {
    /// `None` when the letter is being replayed already.
    pub(crate) fn begin(
        keeper: &Arc<Keeper>,
        id: DeadLetterId,
        settled: oneshot::Sender<bool>,
    ) -> Option<Arc<Self>> {
        let (failure, settled) = (Mutex::default(), Mutex::new(Some(settled)));
        keeper
            .begin_replay(id)
            .then(|| Arc::new(Self { keeper: Arc::clone(keeper), id, failure, settled }))
    }

    /// It failed again.
    pub(crate) fn fail(&self, reason: DeadReason, attempts: u32) {
        *self.failure.lock() = Some((reason, attempts));
    }

    /// The delivery is over: the letter goes when it was handled, and is brought up to date when it
    /// was not.
    pub(crate) async fn settle(&self, handled: bool, now: SystemTime) {
        if let Err(error) = self.update(handled, now).await {
            tracing::error!(dead_letter = %self.id, %error, "the outcome of a replay is lost");
        }
        if let Some(settled) = self.settled.lock().take() {
            // Whoever replays may have stopped to listen.
            let _ = settled.send(handled);
        }
    }

    async fn update(&self, handled: bool, now: SystemTime) -> Result<(), DeadLetterStoreError> {
        if handled {
            self.keeper.remove(self.id).await?;
            return Ok(());
        }
        let failure = self.failure.lock().take();
        let Some((reason, attempts)) = failure else { return Ok(()) };
        if let Some(mut letter) = self.keeper.store().get(self.id).await? {
            letter.reason = reason;
            letter.attempts += attempts;
            letter.replays += 1;
            letter.last_failed_at = now;
            self.keeper.store().update(letter).await?;
        }
        Ok(())
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.keeper.end_replay(self.id);
    }
}
