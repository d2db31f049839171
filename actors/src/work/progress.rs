//! Where the deliveries of one handler are: in work, resting, or left to their host.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::bell::{Bell, Call};
use crate::chain::Parcel;
use crate::router::Router;
use crate::seat::Seat;

/// Deliveries that wait for something, until the host takes them over.
pub(crate) struct Left {
    deliveries: RefCell<Vec<Waiting>>,
    bell: Arc<Bell>,
    /// Whether the host is at work, and looks here by itself.
    is_attended: Cell<bool>,
}

/// A delivery that waits for something.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = ()>>>;

impl Left {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { deliveries: RefCell::default(), bell, is_attended: Cell::new(false) }
    }

    pub(super) fn add(&self, delivery: Waiting) {
        self.deliveries.borrow_mut().push(delivery);
        if !self.is_attended.get() {
            self.bell.ring(Call::Look);
        }
    }

    /// The host comes, or goes.
    pub(crate) fn attend(&self, is_attended: bool) {
        self.is_attended.set(is_attended);
    }

    pub(crate) fn len(&self) -> usize {
        self.deliveries.borrow().len()
    }

    pub(crate) fn take(&self) -> Vec<Waiting> {
        self.deliveries.take()
    }
}

/// A delivery that is handled in place, until this is dropped.
pub(super) struct InPlace<'w> {
    router: &'w Router,
    seat: &'w Seat,
    /// `None` once something else stands for the delivery.
    parcel: Option<&'w Parcel>,
}

impl<'w> InPlace<'w> {
    pub(super) fn begin(router: &'w Router, seat: &'w Seat, parcel: &'w Parcel) -> Self {
        Self { router, seat, parcel: Some(parcel) }
    }

    pub(super) fn hand_over(mut self) {
        self.parcel = None;
    }
}

impl Drop for InPlace<'_> {
    fn drop(&mut self) {
        if let Some(parcel) = self.parcel {
            end(self.router, self.seat, parcel);
        }
    }
}

/// A delivery in flight, until this is dropped.
pub(super) struct InFlight {
    router: Arc<Router>,
    seat: Arc<Seat>,
    pub(super) parcel: Parcel,
    is_finished: bool,
}

impl InFlight {
    pub(super) fn begin(router: &Arc<Router>, seat: &Arc<Seat>, parcel: Parcel) -> Self {
        seat.counters.in_flight.fetch_add(1, Relaxed);
        let (router, seat) = (Arc::clone(router), Arc::clone(seat));
        Self { router, seat, parcel, is_finished: false }
    }

    pub(super) fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.is_finished {
            // Its thread has ended. Refused only at shutdown, where each chain tells its requester
            // when it is dropped.
            let _ = self.router.bury_unavailable(&self.parcel, &self.seat);
        }
        self.seat.counters.in_flight.fetch_sub(1, Relaxed);
        end(&self.router, &self.seat, &self.parcel);
    }
}

/// A delivery is over, for whatever reason.
fn end(router: &Router, seat: &Seat, parcel: &Parcel) {
    if seat.rules.ordered_by_key
        && let Some(key) = parcel.envelope.key()
    {
        seat.queue.release(key);
    }
    router.live.end();
}

/// Counts a delivery as resting until it is dropped.
pub(super) struct Resting<'w> {
    resting: &'w Cell<usize>,
    seat: &'w Seat,
}

impl<'w> Resting<'w> {
    pub(super) fn begin(resting: &'w Cell<usize>, seat: &'w Seat) -> Self {
        resting.set(resting.get() + 1);
        seat.bell.ring(Call::Look);
        Self { resting, seat }
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.resting.set(self.resting.get() - 1);
        self.seat.bell.ring(Call::Look);
    }
}
