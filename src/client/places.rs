//! How many calls to one origin are under way at once: origins enter, places leave, after a wait
//! where all are taken. So a slow origin holds up the calls to no other one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of each origin. One that nobody calls is not remembered.
pub(super) struct Places {
    of_each: usize,
    by_origin: RefCell<HashMap<String, Arc<Semaphore>>>,
}

/// A place, or a wait for one. The last one to leave takes the origin along.
pub(super) struct Place<'p> {
    all: &'p Places,
    origin: &'p str,
    places: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(of_each: usize) -> Self {
        let of_each = of_each.clamp(1, Semaphore::MAX_PERMITS);
        Self { of_each, by_origin: RefCell::default() }
    }

    /// Waits for a place, in order of arrival.
    pub(super) async fn take<'p>(&'p self, origin: &'p str) -> Place<'p> {
        let known = self.by_origin.borrow().get(origin).cloned();
        let places = known.unwrap_or_else(|| {
            let places = Arc::new(Semaphore::new(self.of_each));
            self.by_origin.borrow_mut().insert(origin.to_owned(), Arc::clone(&places));
            places
        });
        let mut place = Place { all: self, origin, places, taken: None };
        // Nobody closes it.
        place.taken = Arc::clone(&place.places).acquire_owned().await.ok();
        place
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.taken = None;
        // The map's and this one.
        if Arc::strong_count(&self.places) == 2 {
            self.all.by_origin.borrow_mut().remove(self.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;

    use super::*;

    #[tokio::test]
    async fn an_origin_has_so_many_places_and_is_forgotten_when_all_have_left() {
        let places = Places::new(2);
        let (first, second) = (places.take("a").await, places.take("a").await);
        let mut third = Box::pin(places.take("a"));
        assert!(poll_immediate(&mut third).await.is_none(), "both are taken");
        let other = poll_immediate(Box::pin(places.take("b"))).await;
        assert!(other.is_some(), "those of another are not");
        drop(first);
        let third = poll_immediate(&mut third).await;
        assert!(third.is_some());
        let gone = Box::pin(places.take("a"));
        assert!(poll_immediate(gone).await.is_none());
        drop((second, third));
        assert_eq!(places.by_origin.borrow().len(), 1);
        drop(other);
        assert!(places.by_origin.borrow().is_empty());
    }
}
