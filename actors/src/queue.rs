//! The bounded queue before each handler: many publishers push, one host pops.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

mod lanes;
pub(crate) use lanes::Keyed;
use lanes::Lanes;

/// A first-in-first-out queue with a limit, in order overall or for each key. Room is given to
/// waiting publishers in their order.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    room: Semaphore,
    max: usize,
}

struct State<T> {
    items: Lanes<T>,
    closed: bool,
    reader: Option<Waker>,
}

/// The queue takes nothing any more; the item comes back.
#[derive(Debug)]
pub(crate) struct Closed<T>(pub(crate) T);

/// Room for one item, reserved.
pub(crate) struct Room<'q, T> {
    queue: &'q Queue<T>,
    permit: SemaphorePermit<'q>,
}

impl<T: Keyed> Queue<T> {
    pub(crate) fn new(max: usize, ordered_by_key: bool) -> Self {
        let state = State { items: Lanes::new(ordered_by_key), closed: false, reader: None };
        Self {
            state: Mutex::new(state),
            room: Semaphore::new(max.min(Semaphore::MAX_PERMITS)),
            max,
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    /// Room for one item if there is some now, in a queue that is open.
    pub(crate) fn try_reserve(&self) -> Option<Room<'_, T>> {
        let permit = self.room.try_acquire().ok()?;
        Some(Room { queue: self, permit })
    }

    /// Waits for room and pushes.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing was pushed.
    pub(crate) async fn push(&self, item: T) -> Result<(), Closed<T>> {
        match self.room.acquire().await {
            Ok(permit) => Room { queue: self, permit }.push(item),
            Err(_) => Err(Closed(item)),
        }
    }

    /// Pushes; when there is no room, the oldest item makes room and is returned.
    pub(crate) fn push_over_oldest(&self, item: T) -> Result<Option<T>, Closed<T>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed(item));
        }
        let oldest = if let Ok(permit) = self.room.try_acquire() {
            permit.forget();
            None
        } else if let Some(oldest) = state.items.pop_oldest() {
            Some(oldest)
        } else {
            // All room is reserved by publishers that have not pushed yet: there is no older item.
            return Ok(Some(item));
        };
        state.items.push(item);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Ok(oldest)
    }

    /// The next item; `None` when the queue is closed and empty.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.state.lock();
        if let Some(item) = state.items.pop() {
            // Under the lock, so that items and permits always add up.
            self.room.add_permits(1);
            return Poll::Ready(Some(item));
        }
        if state.closed && state.items.len() == 0 {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The work on an item of this key is over: the next one of the key may be popped.
    pub(crate) fn release(&self, key: &str) {
        let mut state = self.state.lock();
        let reader =
            if state.items.release(key) || state.closed { state.reader.take() } else { None };
        drop(state);
        wake(reader);
    }

    /// The next item, if there is one now.
    pub(crate) fn try_pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        let item = state.items.pop();
        if item.is_some() {
            self.room.add_permits(1);
        }
        item
    }

    /// Takes nothing any more. What waits can still be popped.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let reader = state.reader.take();
        drop(state);
        self.room.close();
        wake(reader);
    }

    /// Closes and empties the queue.
    pub(crate) fn close_and_drain(&self) -> Vec<T> {
        self.close();
        self.state.lock().items.drain()
    }
}

impl<T: Keyed> Room<'_, T> {
    pub(crate) fn push(self, item: T) -> Result<(), Closed<T>> {
        let mut state = self.queue.state.lock();
        if state.closed {
            return Err(Closed(item));
        }
        state.items.push(item);
        let reader = state.reader.take();
        drop(state);
        self.permit.forget();
        wake(reader);
        Ok(())
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    impl Keyed for u32 {
        fn key(&self) -> Option<&str> {
            None
        }
    }

    impl Keyed for &str {
        fn key(&self) -> Option<&str> {
            None
        }
    }

    #[actix::test]
    async fn the_oldest_makes_room_and_order_is_kept() {
        let queue = Queue::new(2, false);
        for item in 1..=2_u32 {
            queue.push(item).await.unwrap();
        }
        assert!(queue.try_reserve().is_none());
        assert_eq!(queue.push_over_oldest(3).unwrap(), Some(1));
        assert_eq!(queue.len(), 2);
        for expected in 2..=3 {
            assert_eq!(poll_fn(|cx| queue.poll_pop(cx)).await, Some(expected));
        }
        let _first = queue.try_reserve().expect("room for one");
        let _second = queue.try_reserve().expect("room for two");
        assert!(queue.try_reserve().is_none(), "the limit is two again");
    }

    #[actix::test]
    async fn a_closed_queue_gives_the_item_back_but_keeps_what_waits() {
        let queue = Queue::new(2, false);
        queue.push("kept").await.unwrap();
        queue.close();
        assert_eq!(queue.push("late").await.unwrap_err().0, "late");
        assert_eq!(poll_fn(|cx| queue.poll_pop(cx)).await, Some("kept"));
        assert_eq!(poll_fn(|cx| queue.poll_pop(cx)).await, None);
    }
}
