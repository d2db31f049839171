//! The routing table: which handlers an event leads to. A table does not change; the registry
//! replaces it by its successor, which shares with it what stays.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::event::EventType;
use crate::seat::Seat;

mod route;
pub(crate) use route::{Chosen, Place, Route};
use route::{Seats, route_to};
mod roster;
use roster::Roster;

/// Into how many parts the names are divided, so that a change copies little.
const SHARDS: usize = 64;

/// All routes of a runtime at one moment.
pub(crate) struct Table {
    shards: Vec<Arc<Shard>>,
    /// Routes of names that no handler declares, so that only patterns lead to them.
    found: Mutex<FxHashMap<&'static str, Option<Arc<Route>>>>,
    /// Shared by all tables of a runtime: who is seated now.
    roster: Arc<Mutex<Roster>>,
    /// Who was seated when this was asked for first.
    seats: OnceLock<Vec<Arc<Seat>>>,
}

type Shard = HashMap<Name, Known, BuildHasherDefault<Ready>>;

/// What is known of a name that some handler takes or puts out.
#[derive(Clone)]
pub(crate) struct Known {
    /// The one type that events of this name have.
    pub(crate) event_type: EventType,
    /// `None` when nobody takes it.
    pub(crate) route: Option<Arc<Route>>,
    takers: Arc<Mutex<Seats>>,
    /// How many times handlers declare it.
    declared: usize,
}

impl Known {
    /// Those who take it are others now.
    fn renew(&mut self) {
        let has_takers = !self.takers.lock().is_empty();
        self.route = has_takers.then(|| route_to(&self.takers));
    }
}

/// An event name, and its hash: computed once, it finds the shard and the place within.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    hash: u64,
    text: &'static str,
}

impl Name {
    fn new(text: &'static str) -> Self {
        Self { hash: FxBuildHasher.hash_one(text), text }
    }

    /// By other bits than those that find the place within.
    fn shard(&self) -> usize {
        usize::from(self.hash.to_be_bytes()[2]) % SHARDS
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes a hash as it is.
#[derive(Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn write(&mut self, bytes: &[u8]) {
        // Not used: a name writes its hash only.
        self.0 = FxBuildHasher.hash_one(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Table {
    fn default() -> Self {
        let empty = Arc::<Shard>::default();
        let shards = (0..SHARDS).map(|_| Arc::clone(&empty)).collect();
        Self { shards, found: Mutex::default(), roster: Arc::default(), seats: OnceLock::new() }
    }
}

impl Table {
    /// A table that is as this one until it is changed.
    pub(crate) fn successor(&self) -> Self {
        Self {
            shards: self.shards.clone(),
            found: Mutex::default(),
            roster: Arc::clone(&self.roster),
            seats: OnceLock::new(),
        }
    }

    /// Leads events to one more handler.
    pub(crate) fn add(&mut self, seat: &Arc<Seat>) {
        self.roster.lock().add(seat);
        for event in seat.wiring.declared() {
            let name = Name::new(event.name);
            let roster = &self.roster;
            let shard = Arc::make_mut(&mut self.shards[name.shard()]);
            let known = shard.entry(name).or_insert_with(|| {
                let takers = Arc::new(Mutex::new(roster.lock().matching(event.name)));
                Known { event_type: *event, route: None, takers, declared: 0 }
            });
            known.declared += 1;
        }
        self.update(seat, |takers| {
            takers.insert(seat.id, Arc::clone(seat));
        });
    }

    /// Leads no events to a handler any more.
    pub(crate) fn remove(&mut self, seat: &Seat) {
        self.roster.lock().remove(seat);
        self.update(seat, |takers| {
            takers.remove(&seat.id);
        });
        for event in seat.wiring.declared() {
            let name = Name::new(event.name);
            let shard = Arc::make_mut(&mut self.shards[name.shard()]);
            let Some(known) = shard.get_mut(&name) else { continue };
            known.declared -= 1;
            if known.declared == 0 {
                shard.remove(&name);
            }
        }
    }

    /// Changes who takes the events that lead to this handler.
    fn update(&mut self, seat: &Seat, change: impl Fn(&mut Seats)) {
        for event in seat.wiring.declared() {
            let name = Name::new(event.name);
            let shard = Arc::make_mut(&mut self.shards[name.shard()]);
            let Some(known) = shard.get_mut(&name) else { continue };
            if seat.wiring.takes(event.name) {
                change(&mut known.takers.lock());
            }
            known.renew();
        }
        if seat.wiring.patterns.is_empty() {
            return;
        }
        for shard in &mut self.shards {
            if !shard.keys().any(|name| seat.wiring.matches(name.text)) {
                continue;
            }
            let entries = Arc::make_mut(shard).iter_mut();
            for (_, known) in entries.filter(|(name, _)| seat.wiring.matches(name.text)) {
                change(&mut known.takers.lock());
                known.renew();
            }
        }
    }

    pub(crate) fn route(&self, name: &'static str) -> Option<Cow<'_, Arc<Route>>> {
        if let Some(known) = self.known(name) {
            return known.route.as_ref().map(Cow::Borrowed);
        }
        // There are as many names as event types in the program.
        let mut found = self.found.lock();
        let route = found.entry(name).or_insert_with(|| {
            let takers = self.roster.lock().matching(name);
            (!takers.is_empty()).then(|| route_to(&Arc::new(Mutex::new(takers))))
        });
        route.clone().map(Cow::Owned)
    }

    /// The shortest way from an event back to itself, as far as handlers declare what they publish.
    pub(crate) fn cycle(&self, event: &'static str) -> Vec<&'static str> {
        let mut cause = HashMap::new();
        let mut reached = VecDeque::from([event]);
        while let Some(name) = reached.pop_front() {
            let takers = self.seats().iter().filter(|seat| seat.wiring.takes(name));
            for output in takers.flat_map(|seat| &seat.wiring.outputs).map(|output| output.name) {
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

    pub(crate) fn known(&self, name: &'static str) -> Option<&Known> {
        let name = Name::new(name);
        self.shards[name.shard()].get(&name)
    }

    /// All handlers, in the order of mounting.
    pub(crate) fn seats(&self) -> &[Arc<Seat>] {
        self.seats.get_or_init(|| self.roster.lock().all())
    }

    /// The handler of this name, `domain.Handler`.
    pub(crate) fn seat(&self, handler: &str) -> Option<Arc<Seat>> {
        self.roster.lock().named(handler)
    }

    /// The handler of this number.
    pub(crate) fn numbered(&self, id: u64) -> Option<Arc<Seat>> {
        self.roster.lock().numbered(id)
    }
}
