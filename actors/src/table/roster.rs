//! Who is seated, by number and by name.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::seat::Seat;
use crate::table::route::Seats;

/// All handlers of a runtime.
#[derive(Default)]
pub(crate) struct Roster {
    seats: Seats,
    by_name: FxHashMap<Arc<str>, u64>,
    /// Those that subscribe to patterns.
    wild: Seats,
}

impl Roster {
    pub(crate) fn add(&mut self, seat: &Arc<Seat>) {
        self.seats.insert(seat.id, Arc::clone(seat));
        self.by_name.insert(Arc::clone(&seat.handler), seat.id);
        if !seat.wiring.patterns.is_empty() {
            self.wild.insert(seat.id, Arc::clone(seat));
        }
    }

    pub(crate) fn remove(&mut self, seat: &Seat) {
        self.seats.remove(&seat.id);
        self.by_name.remove(&seat.handler);
        self.wild.remove(&seat.id);
    }

    /// Those to whom patterns lead events of this name.
    pub(crate) fn matching(&self, name: &str) -> Seats {
        let matching = self.wild.iter().filter(|(_, seat)| seat.wiring.matches(name));
        matching.map(|(id, seat)| (*id, Arc::clone(seat))).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Seat>> {
        self.seats.values().cloned().collect()
    }

    pub(crate) fn named(&self, handler: &str) -> Option<Arc<Seat>> {
        self.numbered(*self.by_name.get(handler)?)
    }

    pub(crate) fn numbered(&self, id: u64) -> Option<Arc<Seat>> {
        self.seats.get(&id).cloned()
    }
}
