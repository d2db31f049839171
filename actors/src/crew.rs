//! The actors of one handler, and the turns in which deliveries are given to them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use actix::Actor;
use tokio::sync::Notify;

use crate::instance::Instance;

/// The actors of one handler, and which of them may take a delivery.
pub(crate) struct Crew<A: Actor> {
    pub(crate) instances: Vec<Instance<A>>,
    /// One entry for each delivery that an instance can take.
    free: RefCell<VecDeque<usize>>,
    /// Told when one is free again, if somebody waits for that.
    freed: Notify,
    waiting: Cell<usize>,
}

/// The right to give one delivery to an instance.
pub(crate) struct Turn<A: Actor> {
    crew: Rc<Crew<A>>,
    instance: usize,
}

impl<A: Actor> Drop for Turn<A> {
    fn drop(&mut self) {
        self.crew.free.borrow_mut().push_back(self.instance);
        if self.crew.waiting.get() > 0 {
            self.crew.freed.notify_one();
        }
    }
}

impl<A: Actor> Turn<A> {
    pub(crate) fn instance(&self) -> &Instance<A> {
        &self.crew.instances[self.instance]
    }

    /// Which of the crew it is.
    pub(crate) fn place(&self) -> usize {
        self.instance
    }
}

impl<A: Actor> Crew<A> {
    /// `each` is how many deliveries one instance takes at once.
    pub(crate) fn new(instances: Vec<Instance<A>>, each: usize) -> Self {
        // In turn, so that all have something to do.
        let free = (0..each).flat_map(|_| 0..instances.len()).collect();
        Self { instances, free: RefCell::new(free), freed: Notify::new(), waiting: Cell::new(0) }
    }

    /// An instance that can take a delivery now.
    pub(crate) fn try_turn(self: &Rc<Self>) -> Option<Turn<A>> {
        let instance = self.free.borrow_mut().pop_front()?;
        Some(Turn { crew: Rc::clone(self), instance })
    }

    /// Waits for an instance that can take a delivery.
    pub(crate) async fn turn(self: &Rc<Self>) -> Turn<A> {
        let _waiting = Waiting::begin(&self.waiting);
        loop {
            if let Some(turn) = self.try_turn() {
                return turn;
            }
            self.freed.notified().await;
        }
    }
}

/// Somebody who waits, until this is dropped.
struct Waiting<'c>(&'c Cell<usize>);

impl<'c> Waiting<'c> {
    fn begin(waiting: &'c Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
