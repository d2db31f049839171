//! What is mounted, by all that a newcomer can clash with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::event::EventType;
use crate::graph::{Node, Outside};

/// The handlers at work and the outside, by name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) outside: Outside,
    /// The types that clients and sessions use, by name.
    pub(super) outside_types: BTreeMap<&'static str, Vec<EventType>>,
    /// The types that handlers use, by name, with the number of times.
    types: FxHashMap<&'static str, (EventType, usize)>,
    /// What is requested, by event and reply.
    pub(super) requests: BTreeMap<Requested, Answerers>,
    /// Who stands where in the line of an event.
    lines: BTreeMap<(&'static str, i32), Arc<str>>,
    /// Those who stand in the line of each event that their patterns match.
    wild_lines: BTreeMap<u64, (i32, Node)>,
}

/// An event that is requested, and its reply.
pub(super) type Requested = (&'static str, &'static str);

/// The handlers that answer a request, in the order of mounting, with their groups.
pub(super) type Answerers = BTreeMap<u64, (Arc<str>, Option<Arc<str>>)>;

impl Index {
    /// Nothing is mounted yet.
    pub(crate) fn new(outside: Outside) -> Self {
        let mut index = Self::default();
        for event in outside.events() {
            let known = index.outside_types.entry(event.name).or_default();
            if known.iter().all(|other| other.type_id != event.type_id) {
                known.push(*event);
            }
        }
        let requests = outside.requests.iter().map(|(event, reply)| (event.name, reply.name));
        index.requests = requests.map(|requested| (requested, Answerers::new())).collect();
        Self { outside, ..index }
    }

    /// One more handler, whose number is above those of all before it.
    pub(crate) fn add(&mut self, id: u64, node: &Node) {
        for event in node.wiring.events() {
            if !self.is_known(event.name) {
                let lines = self.wild_lines.values();
                for (priority, node) in lines.filter(|(_, node)| node.wiring.matches(event.name)) {
                    self.lines.insert((event.name, *priority), Arc::clone(&node.name));
                }
            }
            self.types.entry(event.name).or_insert((*event, 0)).1 += 1;
        }
        for requested in self.answered(node) {
            let answerer = (Arc::clone(&node.name), node.policy.group.clone());
            self.requests.entry(requested).or_default().insert(id, answerer);
        }
        if let Some(priority) = node.policy.priority {
            for event in self.known_taken(node) {
                self.lines.insert((event, priority), Arc::clone(&node.name));
            }
            if !node.wiring.patterns.is_empty() {
                self.wild_lines.insert(id, (priority, node.clone()));
            }
        }
    }

    /// One handler less.
    pub(crate) fn remove(&mut self, id: u64, node: &Node) {
        for requested in self.answered(node) {
            if let Some(answerers) = self.requests.get_mut(&requested) {
                answerers.remove(&id);
            }
        }
        if let Some(priority) = node.policy.priority {
            for event in self.known_taken(node) {
                self.lines.remove(&(event, priority));
            }
            self.wild_lines.remove(&id);
        }
        for event in node.wiring.events() {
            let Some((_, count)) = self.types.get_mut(event.name) else { continue };
            *count -= 1;
            if *count > 0 {
                continue;
            }
            self.types.remove(event.name);
            if !self.is_known(event.name) {
                let lines = self.wild_lines.values();
                for (priority, _) in lines.filter(|(_, node)| node.wiring.matches(event.name)) {
                    self.lines.remove(&(event.name, *priority));
                }
            }
        }
    }

    /// Whether somebody uses events of this name.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.types.contains_key(name) || self.outside_types.contains_key(name)
    }

    /// The type that handlers use under a name.
    pub(super) fn type_of(&self, name: &str) -> Option<&EventType> {
        self.types.get(name).map(|(event_type, _)| event_type)
    }

    /// The names of known events that a handler takes.
    pub(super) fn known_taken(&self, node: &Node) -> BTreeSet<&'static str> {
        let inputs = node.wiring.inputs.iter().map(|input| input.name);
        let mut taken: BTreeSet<_> = inputs.filter(|name| self.is_known(name)).collect();
        if !node.wiring.patterns.is_empty() {
            let known = self.types.keys().chain(self.outside_types.keys()).copied();
            taken.extend(known.filter(|name| node.wiring.matches(name)));
        }
        taken
    }

    /// Who stands at this place in the line of an event.
    pub(super) fn in_line(&self, event: &'static str, priority: i32) -> Option<&Arc<str>> {
        self.lines.get(&(event, priority))
    }

    /// Those whose patterns put them into the line of an event, with their places.
    pub(super) fn wild_in_line(&self, event: &str) -> impl Iterator<Item = (i32, &Arc<str>)> {
        let lines = self.wild_lines.values();
        let matching = lines.filter(move |(_, node)| node.wiring.matches(event));
        matching.map(|(priority, node)| (*priority, &node.name))
    }

    /// The requests that a handler takes, other than to look on.
    pub(super) fn taken(&self, node: &Node) -> Vec<Requested> {
        let wiring = &node.wiring;
        // Who takes events of any kind and puts out none only looks on.
        if wiring.inputs.is_empty() && wiring.outputs.is_empty() {
            return Vec::new();
        }
        if !wiring.patterns.is_empty() {
            let requests = self.requests.keys().copied();
            return requests.filter(|(event, _)| wiring.takes(event)).collect();
        }
        let of_input = |input: &EventType| {
            let name = input.name;
            let from = self.requests.range((name, "")..).map(|(requested, _)| *requested);
            from.take_while(move |(event, _)| *event == name)
        };
        wiring.inputs.iter().flat_map(of_input).collect()
    }

    /// The requests that a handler answers whenever it gets them.
    pub(super) fn answered(&self, node: &Node) -> Vec<Requested> {
        if node.policy.priority.is_some() {
            return Vec::new();
        }
        let mut taken = self.taken(node);
        taken.retain(|(_, reply)| node.wiring.puts_out(reply));
        taken
    }
}
