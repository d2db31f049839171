//! How long one exchange may take: a limit enters, what is waited for leaves within it, or not at
//! all. Where nothing has to be waited for, neither a clock is read nor a timer set.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, error::Elapsed, timeout_at};

/// The time that is left for an exchange; it begins to run with the first wait.
#[derive(Clone)]
pub(super) struct Patience {
    limit: Duration,
    deadline: Option<Instant>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, deadline: None }
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline.map_or(self.limit, left)
    }

    /// Waits for something.
    ///
    /// # Errors
    /// When it did not come in time.
    pub(super) async fn wait<F: Future>(
        &mut self,
        mut future: Pin<&mut F>,
    ) -> Result<F::Output, Elapsed> {
        // A server calls for the answer before it hands on the body that came with the head, so what
        // is not there yet mostly is when the server's own task has its next turn.
        let mut is_second = false;
        let early = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if is_second => Poll::Ready(None),
            Poll::Pending => {
                is_second = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        if let Some(output) = early.await {
            return Ok(output);
        }
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.limit);
        // The timer is large, and few need one.
        Box::pin(timeout_at(deadline, future)).await
    }
}
