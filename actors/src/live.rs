//! How many deliveries are accepted and not finished, and the wait until there are none.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Deliveries that are accepted and not finished.
#[derive(Default)]
pub(crate) struct Live {
    count: AtomicUsize,
    /// Whether anybody waits for quiet: most of the time nobody does.
    is_awaited: AtomicBool,
    quiet: Notify,
}

impl Live {
    pub(crate) fn begin(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        // Either this sees that somebody waits, or who waits sees the count: both are in one order.
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 && self.is_awaited.load(Ordering::SeqCst)
        {
            self.quiet.notify_waiters();
        }
    }

    /// Waits until nothing is queued or in work.
    pub(crate) async fn quiet(&self) {
        self.is_awaited.store(true, Ordering::SeqCst);
        loop {
            let quiet = self.quiet.notified();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            quiet.await;
        }
    }
}

/// Takes back the count of a parcel that was never put.
pub(crate) struct LiveGuard<'r> {
    live: &'r Live,
    armed: bool,
}

impl<'r> LiveGuard<'r> {
    /// Counts one delivery, until the guard is dropped.
    pub(crate) fn begin(live: &'r Live) -> Self {
        live.begin();
        Self::go_on(live)
    }

    /// Takes over a delivery that is counted.
    pub(crate) fn go_on(live: &'r Live) -> Self {
        Self { live, armed: true }
    }

    /// Leaves the count to whoever takes the delivery on.
    pub(crate) fn hand_over(mut self) {
        self.armed = false;
    }
}

impl Drop for LiveGuard<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.live.end();
        }
    }
}
