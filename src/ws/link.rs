//! The way from a session to its client: frames enter a bounded queue, the pump takes them out, and
//! either side can end it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use actix_http::ws::{CloseCode, CloseReason};
use bytestring::ByteString;
use parking_lot::Mutex;
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
    queue: Mutex<Queue>,
    queue_max: usize,
    ending: CancellationToken,
    closing: CancellationToken,
    cut: CancellationToken,
    gone: CancellationToken,
    slow_consumers: Arc<AtomicU64>,
}

/// The frames that wait; there is always room for the last one.
#[derive(Default)]
struct Queue {
    frames: VecDeque<Out>,
    pump: Option<Waker>,
    /// Whether the pump is at work, and looks here by itself.
    is_attended: bool,
    is_closing: bool,
}

/// The pump is at work as long as this is there.
pub(super) struct Attendance<'l> {
    link: &'l Link,
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        self.link.queue.lock().is_attended = false;
    }
}

impl Link {
    /// A link on which `queue_max` frames may wait.
    pub(super) fn new(queue_max: usize, slow_consumers: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            queue_max,
            ending: CancellationToken::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            gone: CancellationToken::new(),
            slow_consumers,
        })
    }

    /// Puts a frame into the queue. When it is full, the client is too slow to be served: the link
    /// closes.
    pub(super) fn push(&self, frame: Out) {
        let mut queue = self.queue.lock();
        if queue.is_closing {
            return;
        }
        if queue.frames.len() < self.queue_max {
            let pump = queue.put(frame);
            drop(queue);
            wake(pump);
            return;
        }
        drop(queue);
        if self.close(CloseCode::Again, "too slow") {
            self.slow_consumers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends the last frame, after those that wait; says whether it was not sent already.
    pub(super) fn close(&self, code: CloseCode, why: &str) -> bool {
        let description = (!why.is_empty()).then(|| why.to_owned());
        let mut queue = self.queue.lock();
        if queue.is_closing {
            return false;
        }
        queue.is_closing = true;
        let pump = queue.put(Out::Close(CloseReason { code, description }));
        drop(queue);
        wake(pump);
        self.closing.cancel();
        true
    }

    /// The next frame; of the pump.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Out> {
        let mut queue = self.queue.lock();
        if let Some(frame) = queue.frames.pop_front() {
            return Poll::Ready(frame);
        }
        match &mut queue.pump {
            Some(pump) => pump.clone_from(cx.waker()),
            pump => *pump = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next frame, if there is one now.
    pub(super) fn next_now(&self) -> Option<Out> {
        self.queue.lock().frames.pop_front()
    }

    /// Says that the pump need not be woken for a while: it will look what there is.
    pub(super) fn attend(&self) -> Attendance<'_> {
        self.queue.lock().is_attended = true;
        Attendance { link: self }
    }

    /// Says that the pump is gone: nothing can go out any more.
    pub(super) fn abandon(&self) {
        self.gone.cancel();
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
        self.gone.cancelled().await;
    }
}

impl Queue {
    /// Puts a frame at the end; whoever is to be woken comes back.
    fn put(&mut self, frame: Out) -> Option<Waker> {
        self.frames.push_back(frame);
        if self.is_attended { None } else { self.pump.take() }
    }
}

fn wake(pump: Option<Waker>) {
    if let Some(pump) = pump {
        pump.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(link: &Link) -> Vec<String> {
        let name = |frame| match frame {
            Out::Text(text) => text.to_string(),
            Out::Ping => "ping".to_owned(),
            Out::Close(reason) => format!("{:?}", reason.code),
        };
        std::iter::from_fn(|| link.next_now()).map(name).collect()
    }

    #[test]
    fn a_full_queue_closes_the_link_once_and_says_so() {
        let slow = Arc::default();
        let link = Link::new(2, Arc::clone(&slow));
        for text in ["1", "2", "3", "4"] {
            link.push(Out::Text(text.into()));
        }
        assert!(!link.close(CloseCode::Away, ""));
        assert_eq!(texts(&link), ["1", "2", "Again"]);
        assert_eq!(slow.load(Ordering::Relaxed), 1);
        link.push(Out::Text("5".into()));
        assert_eq!(texts(&link), [""; 0]);
    }

    #[test]
    fn a_pump_is_woken_unless_it_is_at_work() {
        struct Count(AtomicU64);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let link = Link::new(9, Arc::default());
        let count = Arc::new(Count(AtomicU64::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let waits = || link.poll_next(&Context::from_waker(&waker)).is_pending();
        assert!(waits());
        let at_work = link.attend();
        link.push(Out::Ping);
        drop(at_work);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert_eq!(texts(&link), ["ping"]);
        link.push(Out::Ping);
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "by the waker of before");
        assert!(!waits() && waits());
        link.close(CloseCode::Away, "");
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
