//! The way from a session to its client: frames enter a bounded queue, the pump takes them out, and
//! either side can end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_http::ws::{CloseCode, CloseReason};
use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

/// What goes out to a client.
#[derive(Debug)]
pub(super) enum Out {
    Text(ByteString),
    Ping,
    /// The last frame.
    Close(CloseReason),
}

/// One client's queue of frames, with its switches. Shared by all who may write to the client.
pub(super) struct Link {
    frames: mpsc::Sender<Out>,
    /// Room for the last frame, kept so that a full queue can still say why it ends.
    last: Mutex<Option<mpsc::OwnedPermit<Out>>>,
    ending: CancellationToken,
    closing: CancellationToken,
    cut: CancellationToken,
    slow_consumers: Arc<AtomicU64>,
}

impl Link {
    /// A link on which `queue_max` frames may wait, and the pump's end of it.
    pub(super) fn new(
        queue_max: usize,
        slow_consumers: Arc<AtomicU64>,
    ) -> (Arc<Self>, mpsc::Receiver<Out>) {
        let (frames, taken) = mpsc::channel(queue_max.saturating_add(1));
        let last = frames.clone().try_reserve_owned().ok();
        let link = Self {
            frames,
            last: Mutex::new(last),
            ending: CancellationToken::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            slow_consumers,
        };
        (Arc::new(link), taken)
    }

    /// Puts a frame into the queue. When it is full, the client is too slow to be served: the link
    /// closes.
    pub(super) fn push(&self, frame: Out) {
        if self.is_closing() {
            return;
        }
        match self.frames.try_send(frame) {
            // A pump that is gone has no client.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                if self.close(CloseCode::Again, "too slow") {
                    self.slow_consumers.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Sends the last frame, after those that wait; says whether it was not sent already.
    pub(super) fn close(&self, code: CloseCode, why: &str) -> bool {
        let Some(room) = self.last.lock().take() else {
            return false;
        };
        room.send(Out::Close(CloseReason {
            code,
            description: (!why.is_empty()).then(|| why.to_owned()),
        }));
        self.closing.cancel();
        true
    }

    /// Asks the session to close when its requests are answered.
    pub(super) fn end(&self) {
        self.ending.cancel();
    }

    /// Resolves when the session has to come to its end.
    pub(super) async fn ending(&self) {
        self.ending.cancelled().await;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Resolves when the last frame was sent.
    pub(super) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Ends the connection without another word.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Resolves when the connection has to end.
    pub(super) async fn until_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Resolves when the pump is gone.
    pub(super) async fn gone(&self) {
        self.frames.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(taken: &mut mpsc::Receiver<Out>) -> Vec<String> {
        let name = |frame| match frame {
            Out::Text(text) => text.to_string(),
            Out::Ping => "ping".to_owned(),
            Out::Close(reason) => format!("{:?}", reason.code),
        };
        std::iter::from_fn(|| taken.try_recv().ok()).map(name).collect()
    }

    #[test]
    fn a_full_queue_closes_the_link_once_and_says_so() {
        let slow = Arc::default();
        let (link, mut taken) = Link::new(2, Arc::clone(&slow));
        for text in ["1", "2", "3", "4"] {
            link.push(Out::Text(text.into()));
        }
        assert!(!link.close(CloseCode::Away, ""));
        assert_eq!(texts(&mut taken), ["1", "2", "Again"]);
        assert_eq!(slow.load(Ordering::Relaxed), 1);
        link.push(Out::Text("5".into()));
        assert_eq!(texts(&mut taken), [""; 0]);
    }
}
