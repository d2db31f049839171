//! Which requests are being answered, so that a stop can wait for them: each begins and ends, and
//! their number leaves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{sleep, timeout};

/// How often it is looked at while a stop waits.
const TICK: Duration = Duration::from_millis(10);

/// How many looks in a row find no request before there is none: one that a worker has received may
/// not have begun yet.
const TICKS: usize = 5;

/// The requests of all workers that have begun and have no answer yet; a cheap handle.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct Begun(Arc<AtomicUsize>);

pin_project! {
    /// The answer of one of them. An `async` block would move it about, and it is large.
    pub(super) struct Answering<F> {
        #[pin]
        answer: F,
        begun: Option<Begun>,
    }
}

impl InFlight {
    /// Counts a request until its answer is there.
    pub(super) fn answered<F: Future>(&self, answer: F) -> Answering<F> {
        Answering { answer, begun: Some(self.begin()) }
    }

    fn begin(&self) -> Begun {
        self.0.fetch_add(1, Relaxed);
        Begun(Arc::clone(&self.0))
    }

    /// Waits until there is none, but not for longer than `patience`.
    pub(super) async fn none(&self, patience: Duration) {
        let none = async {
            let mut idle = 0;
            while idle < TICKS {
                sleep(TICK).await;
                idle = if self.0.load(Relaxed) == 0 { idle + 1 } else { 0 };
            }
        };
        if timeout(patience, none).await.is_err() {
            let left = self.0.load(Relaxed);
            tracing::warn!("{left} requests have no answer after {patience:?}");
        }
    }
}

impl<F: Future> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        *this.begun = None;
        Poll::Ready(answer)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::poll_immediate;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_what_has_begun_and_for_what_begins_meanwhile() {
        let in_flight = InFlight::default();
        let first = in_flight.begin();
        let mut none = pin!(in_flight.none(Duration::from_secs(30)));
        assert!(poll_immediate(&mut none).await.is_none());
        drop(first);
        sleep(TICK * 2).await;
        assert!(poll_immediate(&mut none).await.is_none());
        let second = in_flight.begin();
        sleep(TICK * 20).await;
        assert!(poll_immediate(&mut none).await.is_none());
        drop(second);
        none.await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_wait_for_ever() {
        let in_flight = InFlight::default();
        let _stuck = in_flight.begin();
        in_flight.none(Duration::from_secs(5)).await;
    }
}
