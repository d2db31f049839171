//! Where the events of one name go, and who of several gets one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::chain::Parcel;
use crate::envelope::Envelope;
use crate::seat::Seat;

/// Seats in the order of mounting.
pub(crate) type Seats = BTreeMap<u64, Arc<Seat>>;

/// Where the events of one name go; worked out when the first one comes, so that to mount many
/// handlers of one event costs no more than to mount each.
pub(crate) type Route = LazyLock<Ways, Box<dyn FnOnce() -> Ways + Send + Sync>>;

/// A route to these, as they are when it is first taken.
pub(crate) fn route_to(takers: &Arc<Mutex<Seats>>) -> Arc<Route> {
    let takers = Arc::clone(takers);
    Arc::new(LazyLock::new(Box::new(move || {
        let takers: Vec<_> = takers.lock().values().cloned().collect();
        Ways::new(&takers)
    })))
}

/// Who gets the events of one name.
#[derive(Default)]
pub(crate) struct Ways {
    /// Each of these gets its own copy; when nothing depends on the event, the first in line is
    /// among them.
    everyone: Vec<Place>,
    /// Of these only the first that wants the event gets it, and the next one when it declines.
    line: Vec<Arc<Seat>>,
    /// Of each group one gets it.
    groups: BTreeMap<Arc<str>, Group>,
    /// Whether no choice depends on the event.
    is_fixed: bool,
    /// Outputs that several handlers publish of which each gets a copy, with their names.
    pub(crate) competing: Vec<(&'static str, String)>,
}

/// A seat that an event goes to.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) seat: Arc<Seat>,
    /// Which place in line it has.
    pub(crate) rank: Option<usize>,
}

impl Place {
    /// The parcel as it is for the handler that sits here.
    pub(crate) fn address(&self, mut parcel: Parcel) -> Parcel {
        parcel.rank = self.rank;
        // The limit of the handler that declined it is not this one's.
        parcel.expires_at = parcel.envelope.label().expires_at;
        if let Some(ttl) = self.seat.rules.ttl {
            let end = Instant::now() + ttl;
            parcel.expires_at = Some(parcel.expires_at.map_or(end, |other| other.min(end)));
        }
        parcel
    }
}

/// Handlers of which one gets each event.
#[derive(Default)]
struct Group {
    members: Vec<Arc<Seat>>,
    turn: AtomicUsize,
}

/// Whom an event goes to.
#[derive(Default)]
pub(crate) struct Chosen<'r> {
    pub(crate) places: Cow<'r, [Place]>,
    /// Handlers whose predicates panicked, with the text.
    pub(crate) broken: Vec<(Arc<Seat>, String)>,
}

impl Ways {
    fn new(seats: &[Arc<Seat>]) -> Self {
        let mut route = Self::default();
        for seat in seats {
            if let Some(group) = &seat.rules.group {
                let group = route.groups.entry(Arc::clone(group)).or_default();
                group.members.push(Arc::clone(seat));
            } else if let Some(priority) = seat.rules.priority {
                let behind = |other: &Arc<Seat>| other.rules.priority >= Some(priority);
                let place = route.line.partition_point(behind);
                route.line.insert(place, Arc::clone(seat));
            } else {
                route.everyone.push(Place { seat: Arc::clone(seat), rank: None });
            }
        }
        let is_free = |seat: &Arc<Seat>| seat.policy.predicates.is_empty();
        route.is_fixed = route.groups.is_empty() && seats.iter().all(is_free);
        route.competing = route.find_competing();
        if route.is_fixed {
            let first = route.line.first().cloned();
            route.everyone.extend(first.map(|seat| Place { seat, rank: Some(0) }));
            route.everyone.shrink_to_fit();
        }
        route
    }

    /// Whom this event goes to.
    pub(crate) fn choose(&self, envelope: &Envelope) -> Chosen<'_> {
        if self.is_fixed {
            return Chosen { places: Cow::Borrowed(&self.everyone), broken: Vec::new() };
        }
        let mut broken = Vec::new();
        let mut wants = |seat: &Arc<Seat>| {
            seat.wants(envelope).unwrap_or_else(|panic| {
                broken.push((Arc::clone(seat), panic));
                false
            })
        };
        let mut places: Vec<_> =
            self.everyone.iter().filter(|place| wants(&place.seat)).cloned().collect();
        if let Some(rank) = self.line.iter().position(&mut wants) {
            places.push(Place { seat: Arc::clone(&self.line[rank]), rank: Some(rank) });
        }
        for group in self.groups.values() {
            let seat = group.choose(envelope.key(), &mut wants).cloned();
            places.extend(seat.map(|seat| Place { seat, rank: None }));
        }
        Chosen { places: Cow::Owned(places), broken }
    }

    /// Who is in line behind this rank and wants the event.
    pub(crate) fn behind(&self, rank: usize, envelope: &Envelope) -> Chosen<'static> {
        let mut chosen = Chosen::default();
        for (rank, seat) in self.line.iter().enumerate().skip(rank + 1) {
            match seat.wants(envelope) {
                Ok(true) => {
                    let place = Place { seat: Arc::clone(seat), rank: Some(rank) };
                    chosen.places = Cow::Owned(vec![place]);
                    break;
                }
                Ok(false) => {}
                Err(panic) => chosen.broken.push((Arc::clone(seat), panic)),
            }
        }
        chosen
    }

    fn find_competing(&self) -> Vec<(&'static str, String)> {
        let mut handlers: BTreeMap<&'static str, Vec<&str>> = BTreeMap::new();
        let groups = self.groups.values().filter_map(|group| group.members.first());
        for seat in self.everyone.iter().map(|place| &place.seat).chain(groups) {
            for output in &seat.wiring.outputs {
                handlers.entry(output.name).or_default().push(&seat.handler);
            }
        }
        handlers.retain(|_, names| names.len() > 1);
        handlers.into_iter().map(|(output, names)| (output, names.join(", "))).collect()
    }
}

impl Group {
    /// The member whose turn it is, of those that want the event and take events; one that takes
    /// none only when no other is there. A key always leads to the same member ("rendezvous
    /// hashing", Thaler and Ravishankar 1998), so that its order holds across the group.
    fn choose(
        &self,
        key: Option<&str>,
        mut wants: impl FnMut(&Arc<Seat>) -> bool,
    ) -> Option<&Arc<Seat>> {
        let wanting: Vec<_> = self.members.iter().filter(|seat| wants(seat)).collect();
        let up: Vec<_> = wanting.iter().copied().filter(|seat| seat.takes_events()).collect();
        let candidates = if up.is_empty() { wanting } else { up };
        if let Some(key) = key {
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            return candidates.into_iter().max_by_key(|seat| hasher.hash_one((key, seat.id)));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        candidates.get(turn.checked_rem(candidates.len())?).copied()
    }
}
