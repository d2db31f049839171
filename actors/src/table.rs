//! The routing table: which handlers an event leads to. Immutable; the registry replaces it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::chain::Parcel;
use crate::envelope::Envelope;
use crate::event::EventType;
use crate::seat::Seat;

/// Where the events of one name go.
#[derive(Default)]
pub(crate) struct Route {
    /// Each of these gets its own copy.
    everyone: Vec<Place>,
    /// Of these only the first that wants the event gets it, and the next one when it declines.
    line: Vec<Arc<Seat>>,
    /// Of each group one gets it.
    groups: BTreeMap<Arc<str>, Group>,
    /// Those of `everyone`, and the first in line, when no choice depends on the event.
    always: Option<Vec<Place>>,
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

impl Route {
    fn new(seats: &[&Arc<Seat>]) -> Self {
        let mut route = Self::default();
        for seat in seats.iter().copied() {
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
        if route.groups.is_empty() && seats.iter().copied().all(is_free) {
            let first = route.line.first().cloned();
            let first = first.map(|seat| Place { seat, rank: Some(0) });
            route.always = Some(route.everyone.iter().cloned().chain(first).collect());
        }
        route.competing = route.find_competing();
        route
    }

    /// Whom this event goes to.
    pub(crate) fn choose(&self, envelope: &Envelope) -> Chosen<'_> {
        if let Some(always) = &self.always {
            return Chosen { places: Cow::Borrowed(always), broken: Vec::new() };
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
            for output in &seat.outputs {
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

/// All routes of a runtime at one moment.
#[derive(Default)]
pub(crate) struct Table {
    known: FxHashMap<&'static str, Known>,
    /// Routes of names that no handler declares, so that only patterns lead to them.
    found: Mutex<HashMap<&'static str, Option<Arc<Route>>>>,
    seats: Vec<Arc<Seat>>,
}

/// What is known of a name that some handler takes or puts out.
pub(crate) struct Known {
    /// The one type that events of this name have.
    pub(crate) event_type: EventType,
    /// `None` when nobody takes it.
    pub(crate) route: Option<Arc<Route>>,
}

impl Table {
    pub(crate) fn new(seats: Vec<Arc<Seat>>) -> Self {
        let mut known = FxHashMap::default();
        for event in seats.iter().flat_map(|seat| seat.inputs.iter().chain(&seat.outputs)) {
            known.entry(event.name).or_insert_with(|| {
                let route = route(&seats, event.name);
                Known { event_type: *event, route }
            });
        }
        Self { known, found: Mutex::default(), seats }
    }

    pub(crate) fn route(&self, name: &'static str) -> Option<Cow<'_, Arc<Route>>> {
        if let Some(known) = self.known.get(name) {
            return known.route.as_ref().map(Cow::Borrowed);
        }
        if self.seats.iter().all(|seat| seat.patterns.is_empty()) {
            return None;
        }
        // There are as many names as event types in the program.
        let mut found = self.found.lock();
        found.entry(name).or_insert_with(|| route(&self.seats, name)).clone().map(Cow::Owned)
    }

    /// The shortest way from an event back to itself, as far as handlers declare what they publish.
    pub(crate) fn cycle(&self, event: &'static str) -> Vec<&'static str> {
        let mut cause = HashMap::new();
        let mut reached = VecDeque::from([event]);
        while let Some(name) = reached.pop_front() {
            let takers = self.seats.iter().filter(|seat| seat.takes(name));
            for output in takers.flat_map(|seat| &seat.outputs).map(|output| output.name) {
                cause.entry(output).or_insert_with(|| {
                    reached.push_back(output);
                    name
                });
            }
        }
        let mut way = vec![event];
        while let Some(name) = way.last().and_then(|name| cause.get(name)) {
            way.push(*name);
            if *name == event {
                way.reverse();
                return way;
            }
        }
        Vec::new()
    }

    pub(crate) fn known(&self, name: &str) -> Option<&Known> {
        self.known.get(name)
    }

    pub(crate) fn seats(&self) -> &[Arc<Seat>] {
        &self.seats
    }
}

fn route(seats: &[Arc<Seat>], name: &str) -> Option<Arc<Route>> {
    let subscribes = |seat: &&Arc<Seat>| seat.takes(name);
    let takers: Vec<_> = seats.iter().filter(subscribes).collect();
    (!takers.is_empty()).then(|| Arc::new(Route::new(&takers)))
}
