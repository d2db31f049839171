//! What was used last, so that what is equal is kept once.

use std::collections::VecDeque;
use std::sync::Arc;

/// How many different things are remembered.
const KINDS_MAX: usize = 8;

/// The things that were used last, the newest first.
pub(crate) struct Shelf<T>(VecDeque<Arc<T>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Shelf<T> {
    /// The same thing as before, if it is still remembered.
    pub(crate) fn share(&mut self, new: T, is_same: impl Fn(&T, &T) -> bool) -> Arc<T> {
        if let Some(place) = self.0.iter().position(|known| is_same(known, &new)) {
            self.0.swap(0, place);
        } else {
            self.0.truncate(KINDS_MAX - 1);
            self.0.push_front(Arc::new(new));
        }
        Arc::clone(&self.0[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_kept_once() {
        let mut shelf = Shelf::default();
        let mut share = |n: usize| shelf.share(n, |a, b| a == b);
        let first = share(1);
        (2..=KINDS_MAX).for_each(|n| drop(share(n)));
        assert!(Arc::ptr_eq(&first, &share(1)));
        (0..=KINDS_MAX).for_each(|n| drop(share(100 + n)));
        assert!(!Arc::ptr_eq(&first, &share(1)), "it is forgotten when many others came");
    }
}
