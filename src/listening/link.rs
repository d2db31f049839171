//! The way from a session to its client: frames enter a bounded queue, whoever writes to the
//! client's socket takes them out, and either side can end it.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What goes out to a client.
pub(crate) trait Frame: Clone + Send + 'static {
    /// The last frame for a client that takes too little.
    fn too_slow() -> Self;
}

/// One client's queue of frames, with its switches. Shared by all who may write to the client.
pub(crate) struct Link<F> {
    queue: Mutex<Queue<F>>,
    queue_max: usize,
    ending: CancellationToken,
    closing: CancellationToken,
    cut: CancellationToken,
    gone: CancellationToken,
    slow_consumers: Arc<AtomicU64>,
}

/// The frames that wait; there is always room for the last one.
struct Queue<F> {
    frames: VecDeque<F>,
    /// Who takes them out.
    taker: Option<Waker>,
    /// Whether the taker is at work, and looks here by itself.
    is_attended: bool,
    is_closing: bool,
    /// Whether nobody takes frames any more.
    is_abandoned: bool,
}

/// Who takes frames out is at work as long as this is there.
pub(crate) struct Attendance<'l, F> {
    link: &'l Link<F>,
}

impl<F> Drop for Attendance<'_, F> {
    fn drop(&mut self) {
        self.link.queue.lock().is_attended = false;
    }
}

impl<F: Frame> Link<F> {
    /// A link on which `queue_max` frames may wait.
    pub(crate) fn new(queue_max: usize, slow_consumers: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                taker: None,
                is_attended: false,
                is_closing: false,
                is_abandoned: false,
            }),
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
    pub(crate) fn push(&self, frame: F) {
        let mut queue = self.queue.lock();
        if queue.is_closing || queue.is_abandoned {
            return;
        }
        if queue.frames.len() < self.queue_max {
            let taker = queue.put(frame);
            drop(queue);
            wake(taker);
            return;
        }
        drop(queue);
        if self.close_with(F::too_slow()) {
            self.slow_consumers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends the last frame, after those that wait; says whether it was not sent already.
    pub(crate) fn close_with(&self, last: F) -> bool {
        let mut queue = self.queue.lock();
        if queue.is_closing {
            return false;
        }
        queue.is_closing = true;
        let taker = queue.put(last);
        drop(queue);
        wake(taker);
        self.closing.cancel();
        true
    }

    /// The next frame, for the one who takes them out.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<F> {
        let mut queue = self.queue.lock();
        if let Some(frame) = queue.frames.pop_front() {
            return Poll::Ready(frame);
        }
        match &mut queue.taker {
            Some(taker) => taker.clone_from(cx.waker()),
            taker => *taker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next frame, if there is one now.
    pub(crate) fn next_now(&self) -> Option<F> {
        self.queue.lock().frames.pop_front()
    }

    /// Says that who takes frames out need not be woken for a while: it will look what there is.
    pub(crate) fn attend(&self) -> Attendance<'_, F> {
        self.queue.lock().is_attended = true;
        Attendance { link: self }
    }

    /// Says that nobody takes frames any more: nothing can go out, and who is gone is not slow.
    pub(crate) fn abandon(&self) {
        let mut queue = self.queue.lock();
        queue.is_abandoned = true;
        let frames = mem::take(&mut queue.frames);
        drop(queue);
        drop(frames);
        self.gone.cancel();
    }

    /// Asks the session to close when its requests are answered.
    pub(crate) fn end(&self) {
        self.ending.cancel();
    }

    /// Resolves when the session has to come to its end.
    pub(crate) async fn ending(&self) {
        self.ending.cancelled().await;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Resolves when the last frame was sent.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Ends the connection without another word.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Resolves when the connection has to end.
    pub(crate) async fn until_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Resolves when nobody takes frames any more.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl<F> Queue<F> {
    /// Puts a frame at the end, if somebody takes it; whoever is to be woken comes back.
    fn put(&mut self, frame: F) -> Option<Waker> {
        if self.is_abandoned {
            return None;
        }
        self.frames.push_back(frame);
        if self.is_attended { None } else { self.taker.take() }
    }
}

fn wake(taker: Option<Waker>) {
    if let Some(taker) = taker {
        taker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Frame for &'static str {
        fn too_slow() -> Self {
            "too slow"
        }
    }

    fn texts(link: &Link<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| link.next_now()).collect()
    }

    #[test]
    fn a_full_queue_closes_the_link_once_and_says_so() {
        let slow = Arc::default();
        let link = Link::new(2, Arc::clone(&slow));
        for text in ["1", "2", "3", "4"] {
            link.push(text);
        }
        assert!(!link.close_with("away"));
        assert_eq!(texts(&link), ["1", "2", "too slow"]);
        assert_eq!(slow.load(Ordering::Relaxed), 1);
        link.push("5");
        assert_eq!(texts(&link), [""; 0]);
    }

    #[test]
    fn a_client_that_is_gone_is_not_slow() {
        let slow = Arc::default();
        let link = Link::new(1, Arc::clone(&slow));
        link.push("1");
        link.abandon();
        for text in ["2", "3", "4"] {
            link.push(text);
        }
        assert_eq!(slow.load(Ordering::Relaxed), 0);
        assert_eq!(texts(&link), [""; 0], "nothing is kept for it");
        assert!(link.close_with("away") && link.is_closing());
        assert_eq!(texts(&link), [""; 0]);
    }

    #[test]
    fn a_taker_is_woken_unless_it_is_at_work() {
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
        link.push("1");
        drop(at_work);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert_eq!(texts(&link), ["1"]);
        link.push("2");
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "by the waker of before");
        assert!(!waits() && waits());
        link.close_with("away");
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
