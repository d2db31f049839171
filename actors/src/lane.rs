//! The short way to a handler: on the thread where one of its actors lives, with nothing waiting
//! before it, an event is handled by the publisher's own task instead of the handler's.
//!
//! What the handler has not finished when it is polled for the first time goes on as a delivery of
//! its host, so that a publisher who leaves, or a thread that is busy, changes nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use rustc_hash::FxHashMap;

use crate::chain::{Asker, Parcel};
use crate::phase::{Phase, PhaseCell};
use crate::seat::Seat;
use crate::table::Table;

/// How deep handlers may be called from within each other, before their events wait in queues.
const DEPTH_MAX: u32 = 8;

/// Whoever can handle the events of one seat on this thread.
pub(crate) trait Lane {
    /// Handles the event, or gives it back untouched; what the handler puts out goes where `table`
    /// says. Whoever waits for a reply finds it in `asker` when it is there at once.
    fn take(
        self: Rc<Self>,
        parcel: Parcel,
        table: &Table,
        asker: Option<&mut Asker<'_>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Parcel>;
}

thread_local! {
    /// The runtimes that this thread has joined.
    static JOINED: RefCell<Vec<Arc<PhaseCell>>> = const { RefCell::new(Vec::new()) };
    /// By the address of the seat, which lives as long as its lane is open.
    static LANES: RefCell<FxHashMap<usize, Rc<dyn Lane>>> = RefCell::default();
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Lets handlers of a runtime open branches on this thread.
pub(crate) fn join(runtime: &Arc<PhaseCell>) {
    if !has_joined(runtime) {
        JOINED.with_borrow_mut(|joined| {
            joined.retain(|other| other.get() != Phase::Stopped);
            joined.push(Arc::clone(runtime));
        });
    }
}

fn has_joined(runtime: &Arc<PhaseCell>) -> bool {
    JOINED.with_borrow(|joined| joined.iter().any(|other| Arc::ptr_eq(other, runtime)))
}

/// An open lane on this thread; closed when it is dropped.
pub(crate) struct OpenLane {
    seat: Arc<Seat>,
}

impl OpenLane {
    pub(crate) fn new(seat: &Arc<Seat>, lane: Rc<dyn Lane>) -> Self {
        LANES.with_borrow_mut(|lanes| lanes.insert(place(seat), lane));
        Self { seat: Arc::clone(seat) }
    }
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        // A thread that ends has closed all lanes.
        let lane = LANES.try_with(|lanes| lanes.borrow_mut().remove(&place(&self.seat)));
        drop(lane);
    }
}

/// Handles the event on this thread, or gives it back.
pub(crate) fn handle(
    parcel: Parcel,
    seat: &Arc<Seat>,
    runtime: &Arc<PhaseCell>,
    table: &Table,
    asker: Option<&mut Asker<'_>>,
    cx: &mut Context<'_>,
) -> Result<(), Parcel> {
    if !seat.has_lanes || !seat.is_idle() || DEPTH.get() >= DEPTH_MAX {
        return Err(parcel);
    }
    let lane = LANES.with_borrow(|lanes| lanes.get(&place(seat)).map(Rc::clone));
    let Some(lane) = lane else {
        if has_joined(runtime) {
            let branching = seat.branching.lock().clone();
            if let Some(open) = branching {
                open(seat);
            }
        }
        return Err(parcel);
    };
    let _deeper = Deeper::begin();
    lane.take(parcel, table, asker, cx)
}

fn place(seat: &Arc<Seat>) -> usize {
    Arc::as_ptr(seat).addr()
}

/// One handler called from within another, until it is dropped.
struct Deeper;

impl Deeper {
    fn begin() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
