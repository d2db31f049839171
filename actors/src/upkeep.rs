//! What keeps an actor alive: a future, which its task polls when it is woken, and which whoever has
//! given the actor a message on its own thread may poll at once, so that neither waits for a task.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::AcqRel;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The life of an actor on its thread, which ends with `T`.
///
/// Its task calls [`poll`](Self::poll). Who makes a [`visit`](Self::visit), and sends the actor a
/// message meanwhile, finds it handled after the visit.
pub struct Upkeep<T> {
    /// `None` while it is polled, and when it is over.
    life: Cell<Option<Life<T>>>,
    /// How it ended, until the task has seen it.
    ended: Cell<Option<T>>,
    signal: Arc<Signal>,
    waker: Waker,
}

type Life<T> = Pin<Box<dyn Future<Output = T>>>;

/// Wakes the task when the life has to be polled and nobody is about to.
struct Signal {
    /// Whether it is to be polled, and somebody knows it.
    is_due: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_due.swap(true, AcqRel) {
            self.task.wake();
        }
    }
}

impl<T> Upkeep<T> {
    /// Nothing happens before the first poll.
    pub fn new(life: impl Future<Output = T> + 'static) -> Self {
        let signal = Arc::new(Signal { is_due: AtomicBool::new(true), task: AtomicWaker::new() });
        let life: Life<T> = Box::pin(life);
        Self {
            life: Cell::new(Some(life)),
            ended: Cell::new(None),
            waker: Waker::from(Arc::clone(&signal)),
            signal,
        }
    }

    /// Polls the life if it is due. Ready when it is over: with its outcome once, then with `None`,
    /// as after a panic.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        self.signal.task.register(cx.waker());
        if self.signal.is_due.swap(false, AcqRel) {
            self.drive();
        }
        if self.is_alive() { Poll::Pending } else { Poll::Ready(self.ended.take()) }
    }

    /// Makes a visit, at the end of which the life is polled: what wakes it meanwhile wakes nobody.
    /// `None` from within the actor itself, or after its end.
    pub fn visit(&self) -> Option<Visit<'_, T>> {
        if !self.is_alive() {
            return None;
        }
        self.signal.is_due.swap(true, AcqRel);
        Some(Visit { upkeep: self })
    }

    /// Ends the life where it stands.
    pub fn abandon(&self) {
        drop(self.life.take());
    }

    fn is_alive(&self) -> bool {
        let life = self.life.take();
        let is_alive = life.is_some();
        self.life.set(life);
        is_alive
    }

    fn drive(&self) {
        let Some(mut life) = self.life.take() else { return };
        match life.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => self.life.set(Some(life)),
            Poll::Ready(outcome) => {
                self.ended.set(Some(outcome));
                self.signal.task.wake();
            }
        }
    }
}

/// Somebody who polls the life when this is dropped.
pub struct Visit<'u, T> {
    upkeep: &'u Upkeep<T>,
}

impl<T> Drop for Visit<'_, T> {
    fn drop(&mut self) {
        self.upkeep.signal.is_due.swap(false, AcqRel);
        self.upkeep.drive();
    }
}
