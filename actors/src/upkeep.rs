//! What keeps an actor alive: a future, which the host polls when it is woken, and which whoever has
//! given the actor a message on its own thread may poll at once, so that neither waits for a task.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::AcqRel;
use std::task::{Context, Poll, Wake, Waker};

use crate::bell::{Bell, Call};
use crate::metrics::HandlerStatus;

/// The life of one actor, through all its restarts, on the thread of its host.
pub(crate) struct Upkeep {
    life: RefCell<Option<Life>>,
    /// How it ended, until the host has seen it.
    ended: Cell<Option<HandlerStatus>>,
    signal: Arc<Signal>,
    waker: Waker,
}

/// Says in which state its end leaves the handler.
type Life = Pin<Box<dyn Future<Output = HandlerStatus>>>;

/// Calls the host when the life has to be polled and nobody is about to.
struct Signal {
    /// Whether it is to be polled, and somebody knows it.
    is_due: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_due.swap(true, AcqRel) {
            self.bell.ring(Call::Look);
        }
    }
}

impl Upkeep {
    /// It is due at once, for whoever has made it.
    pub(crate) fn new(
        bell: &Arc<Bell>,
        life: impl Future<Output = HandlerStatus> + 'static,
    ) -> Self {
        let signal = Arc::new(Signal { is_due: AtomicBool::new(true), bell: Arc::clone(bell) });
        let life: Life = Box::pin(life);
        Self {
            life: RefCell::new(Some(life)),
            ended: Cell::new(None),
            waker: Waker::from(Arc::clone(&signal)),
            signal,
        }
    }

    /// Polls the life if it is due; the status, once, when it is over.
    pub(crate) fn poll(&self) -> Poll<HandlerStatus> {
        if self.signal.is_due.swap(false, AcqRel) {
            self.drive();
        }
        self.ended.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Makes a visit, at the end of which the life is polled: what wakes it meanwhile calls nobody.
    /// `None` from within the actor itself, or after its end.
    pub(crate) fn visit(&self) -> Option<Visit<'_>> {
        if self.life.try_borrow_mut().ok()?.is_none() {
            return None;
        }
        self.signal.is_due.swap(true, AcqRel);
        Some(Visit { upkeep: self })
    }

    /// Whether the life is over.
    pub(crate) fn is_over(&self) -> bool {
        self.life.borrow().is_none()
    }

    /// Ends the life where it stands.
    pub(crate) fn abandon(&self) {
        let life = self.life.take();
        drop(life);
    }

    fn drive(&self) {
        let mut life = self.life.borrow_mut();
        let Some(future) = life.as_mut() else { return };
        if let Poll::Ready(status) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            *life = None;
            drop(life);
            self.ended.set(Some(status));
            self.signal.bell.ring(Call::Look);
        }
    }
}

/// Somebody who is about to poll a life.
pub(crate) struct Visit<'u> {
    upkeep: &'u Upkeep,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.upkeep.signal.is_due.swap(false, AcqRel);
        self.upkeep.drive();
    }
}
