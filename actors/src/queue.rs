//! The bounded queue before each handler: many publishers push, one host pops.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

mod lanes;
pub(crate) use lanes::Keyed;
use lanes::Lanes;

/// A first-in-first-out queue with a limit, in order overall or for each key. Room is given to
/// waiting publishers in their order.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Whether nothing waits, for those who need not know it exactly.
    is_empty: AtomicBool,
    /// Rooms for publishers who waited; each of them waits for a permit.
    granted: Semaphore,
    max: usize,
}

struct State<T> {
    items: Lanes<T>,
    /// Rooms that nobody has reserved: none as long as somebody waits.
    free: usize,
    /// Publishers who wait, beyond those to whom room was granted.
    waiting: usize,
    closed: bool,
    reader: Option<Waker>,
}

/// The queue takes nothing any more; the item comes back.
#[derive(Debug)]
pub(crate) struct Closed<T>(pub(crate) T);

/// Why an item could not be pushed at once; it comes back.
pub(crate) enum Refused<T> {
    Full(T),
    Closed(T),
}

/// Room for one item, reserved; given back when it is dropped.
pub(crate) struct Room<'q, T: Keyed> {
    queue: &'q Queue<T>,
    is_used: bool,
}

/// Somebody who waits for room, until it is granted.
struct Waiting<'q, T: Keyed> {
    queue: &'q Queue<T>,
    is_over: bool,
}

impl<T: Keyed> Queue<T> {
    pub(crate) fn new(max: usize, ordered_by_key: bool) -> Self {
        let items = Lanes::new(ordered_by_key);
        let state = State { items, free: max, waiting: 0, closed: false, reader: None };
        let (granted, is_empty) = (Semaphore::new(0), AtomicBool::new(true));
        Self { state: Mutex::new(state), is_empty, granted, max }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    /// Reads something of the item that waits longest.
    pub(crate) fn read_oldest<R>(&self, read: impl FnOnce(&T) -> R) -> Option<R> {
        self.state.lock().items.oldest().map(read)
    }

    /// Whether nothing waits. Another thread may have pushed something meanwhile.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty.load(Ordering::Acquire)
    }

    /// Room for one item if there is some now.
    pub(crate) fn try_reserve(&self) -> Option<Room<'_, T>> {
        let mut state = self.state.lock();
        state.free = state.free.checked_sub(1)?;
        drop(state);
        Some(Room { queue: self, is_used: false })
    }

    /// Pushes if there is room now.
    pub(crate) fn try_push(&self, item: T) -> Result<(), Refused<T>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed(item));
        }
        let Some(free) = state.free.checked_sub(1) else { return Err(Refused::Full(item)) };
        state.free = free;
        let reader = self.put(&mut state, item);
        drop(state);
        wake(reader);
        Ok(())
    }

    /// Waits for room and pushes.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing was pushed.
    pub(crate) async fn push(&self, item: T) -> Result<(), Closed<T>> {
        let item = {
            let mut state = self.state.lock();
            if let Some(free) = state.free.checked_sub(1) {
                state.free = free;
                drop(state);
                return Room { queue: self, is_used: false }.push(item);
            }
            state.waiting += 1;
            item
        };
        let mut waiting = Waiting { queue: self, is_over: false };
        let granted = self.granted.acquire().await;
        waiting.is_over = true;
        let Ok(granted) = granted else { return Err(Closed(item)) };
        granted.forget();
        Room { queue: self, is_used: false }.push(item)
    }

    /// Pushes; when there is no room, the oldest item makes room and is returned.
    pub(crate) fn push_over_oldest(&self, item: T) -> Result<Option<T>, Closed<T>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed(item));
        }
        let oldest = if let Some(free) = state.free.checked_sub(1) {
            state.free = free;
            None
        } else if let Some(oldest) = state.items.pop_oldest() {
            Some(oldest)
        } else {
            // All room is reserved by publishers that have not pushed yet: there is no older item.
            return Ok(Some(item));
        };
        let reader = self.put(&mut state, item);
        drop(state);
        wake(reader);
        Ok(oldest)
    }

    fn put(&self, state: &mut State<T>, item: T) -> Option<Waker> {
        state.items.push(item);
        self.is_empty.store(false, Ordering::Release);
        state.reader.take()
    }

    /// Gives room back: to who waits first, if somebody does.
    fn make_room(&self, state: &mut State<T>) {
        if state.waiting > 0 {
            state.waiting -= 1;
            self.granted.add_permits(1);
        } else {
            state.free += 1;
        }
    }

    fn pop(&self, state: &mut State<T>) -> Option<T> {
        let item = state.items.pop()?;
        if state.items.len() == 0 {
            self.is_empty.store(true, Ordering::Release);
        }
        self.make_room(state);
        Some(item)
    }

    /// The next item; `None` when the queue is closed and empty.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.state.lock();
        if let Some(item) = self.pop(&mut state) {
            return Poll::Ready(Some(item));
        }
        if state.closed && state.items.len() == 0 {
            return Poll::Ready(None);
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            reader => *reader = Some(cx.waker().clone()),
        }
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
        self.pop(&mut self.state.lock())
    }

    /// Takes nothing any more. What waits can still be popped.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let reader = state.reader.take();
        drop(state);
        self.granted.close();
        wake(reader);
    }

    /// Closes and empties the queue.
    pub(crate) fn close_and_drain(&self) -> Vec<T> {
        self.close();
        let mut state = self.state.lock();
        self.is_empty.store(true, Ordering::Release);
        state.items.drain()
    }
}

impl<T: Keyed> Room<'_, T> {
    pub(crate) fn push(mut self, item: T) -> Result<(), Closed<T>> {
        let mut state = self.queue.state.lock();
        if state.closed {
            drop(state);
            return Err(Closed(item));
        }
        self.is_used = true;
        let reader = self.queue.put(&mut state, item);
        drop(state);
        wake(reader);
        Ok(())
    }
}

impl<T: Keyed> Drop for Room<'_, T> {
    fn drop(&mut self) {
        if !self.is_used {
            self.queue.make_room(&mut self.queue.state.lock());
        }
    }
}

impl<T: Keyed> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let queue = self.queue;
        let mut state = queue.state.lock();
        if state.waiting > 0 {
            state.waiting -= 1;
        } else if let Ok(granted) = queue.granted.try_acquire() {
            // Room was granted to everybody who waits, so one too many now.
            granted.forget();
            state.free += 1;
        }
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

    #[actix::test]
    async fn who_gives_up_waiting_takes_no_room() {
        let queue = Queue::new(1, false);
        queue.push(1_u32).await.unwrap();
        let mut first = Box::pin(queue.push(2));
        let mut second = Box::pin(queue.push(3));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        // Room is granted to the first, who leaves it to the second.
        assert_eq!(queue.try_pop(), Some(1));
        drop(first);
        second.await.unwrap();
        assert_eq!(queue.try_pop(), Some(3));
        let mut last = Box::pin(queue.push(4));
        assert!(futures_util::poll!(last.as_mut()).is_ready());
        // Granted to somebody who is the only one to wait, and leaves.
        let mut only = Box::pin(queue.push(5));
        assert!(futures_util::poll!(only.as_mut()).is_pending());
        assert_eq!(queue.try_pop(), Some(4));
        drop(only);
        assert!(queue.try_push(6).is_ok(), "the room is free again");
        assert!(queue.try_push(7).is_err(), "and there is one only");
    }
}
