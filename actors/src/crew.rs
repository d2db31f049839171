//! The actors of one handler, and the turns in which deliveries are given to them.

use std::cell::Cell;
use std::rc::Rc;

use actix::Actor;
use tokio::sync::Notify;

use crate::instance::Instance;

/// The actors of one handler, and which of them may take a delivery.
pub(crate) struct Crew<A: Actor> {
    pub(crate) instances: Vec<Instance<A>>,
    /// How many deliveries each instance can take.
    free: Vec<Cell<usize>>,
    /// Whose turn is next: in turn, so that all have something to do.
    next: Cell<usize>,
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
        let free = &self.crew.free[self.instance];
        free.set(free.get() + 1);
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
        let free = instances.iter().map(|_| Cell::new(each)).collect();
        let (next, freed, waiting) = (Cell::new(0), Notify::new(), Cell::new(0));
        Self { instances, free, next, freed, waiting }
    }

    /// An instance that can take a delivery now.
    pub(crate) fn try_turn(self: &Rc<Self>) -> Option<Turn<A>> {
        let (after, before) = (self.next.get()..self.free.len(), 0..self.next.get());
        let instance = after.chain(before).find(|&instance| self.free[instance].get() > 0)?;
        self.free[instance].set(self.free[instance].get() - 1);
        self.next.set((instance + 1) % self.free.len());
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
