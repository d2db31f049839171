//! What is wrong with handlers that are to be mounted: each by itself, with each other, and with
//! those that are mounted already.

use std::collections::{BTreeMap, BTreeSet};

use crate::context::in_namespace;
use crate::event::{ERROR_SUFFIX, EventType, check_name};
use crate::graph::index::Requested;
use crate::graph::{Index, Node, Unheard};
use crate::start_error::StartFault;

/// Handlers that are to be mounted.
pub(crate) struct Newcomers<'n> {
    pub(crate) nodes: &'n [Node],
    /// Whether the runtime starts with them, so that the outside is new too.
    pub(crate) is_start: bool,
    /// What is done about an event that one of them publishes and nobody hears.
    pub(crate) unheard: Unheard,
}

impl Newcomers<'_> {
    /// All faults that they bring.
    pub(crate) fn faults(&self, index: &Index) -> Vec<StartFault> {
        let mut faults = self.name_faults(index);
        for node in self.nodes {
            faults.extend(node_faults(node));
        }
        faults.extend(self.responder_faults(index));
        faults.extend(self.line_faults(index));
        faults.extend(self.unheard_faults(index));
        faults
    }

    fn events(&self) -> impl Iterator<Item = &EventType> {
        self.nodes.iter().flat_map(|node| node.wiring.events())
    }

    fn name_faults(&self, index: &Index) -> Vec<StartFault> {
        let mut types: BTreeMap<&'static str, Vec<&EventType>> = BTreeMap::new();
        for event in self.events() {
            let known = || index.type_of(event.name).into_iter().collect();
            add_type(types.entry(event.name).or_insert_with(known), event);
        }
        if self.is_start {
            for name in index.outside_types.keys() {
                types.entry(name).or_default();
            }
        }
        for (name, types) in &mut types {
            let outside = index.outside_types.get(name).into_iter().flatten();
            outside.for_each(|event| add_type(types, event));
        }
        let mut faults = Vec::new();
        let mut clashing = BTreeSet::new();
        for (name, events) in types {
            if let Err(reason) = check_name(name) {
                let type_name = events[0].type_name;
                faults.push(StartFault::BadEventName { name, type_name, reason });
            }
            // The error facts of two types clash because the types do.
            let follows =
                name.strip_suffix(ERROR_SUFFIX).is_some_and(|name| clashing.contains(name));
            if let [first, second, ..] = events[..]
                && !follows
            {
                clashing.insert(name);
                let (first, second) = (first.type_name, second.type_name);
                faults.push(StartFault::TypeClash { name, first, second });
            }
        }
        faults
    }

    fn responder_faults(&self, index: &Index) -> Vec<StartFault> {
        let mut answerers: BTreeMap<Requested, Vec<&Node>> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for node in self.nodes {
            if self.is_start {
                taken.extend(index.taken(node));
            }
            for requested in index.answered(node) {
                answerers.entry(requested).or_default().push(node);
            }
        }
        let mut faults = Vec::new();
        let requests = index.requests.keys().filter(|_| self.is_start);
        for requested in requests.filter(|requested| !taken.contains(*requested)) {
            faults.push((*requested, StartFault::NoResponder { event: requested.0 }));
        }
        for (requested, nodes) in answerers {
            let (event, reply) = requested;
            // Those that are mounted are no rivals, so the first stands for all.
            let mounted = index.requests.get(&requested).and_then(|all| all.values().next());
            let mounted = mounted.map(|(name, group)| (name, group.as_ref()));
            let new = nodes.into_iter().map(|node| (&node.name, node.policy.group.as_ref()));
            let mut groups = BTreeSet::new();
            // Of a group one gets the event: its members are no rivals.
            let rivals = mounted.into_iter().chain(new);
            let rivals = rivals.filter(|(_, group)| group.is_none_or(|group| groups.insert(group)));
            let rivals: Vec<_> = rivals.map(|(name, _)| &**name).collect();
            if rivals.len() > 1 {
                let handlers = rivals.join(" and ");
                let fault = StartFault::DuplicateResponder { event, reply, handlers };
                faults.push((requested, fault));
            }
        }
        faults.sort_by_key(|(requested, _)| *requested);
        faults.into_iter().map(|(_, fault)| fault).collect()
    }

    /// Handlers that stand at the same place in the line of an event.
    fn line_faults(&self, index: &Index) -> Vec<StartFault> {
        let mut lines: BTreeMap<(&'static str, i32), Vec<&str>> = BTreeMap::new();
        let mut fresh: BTreeSet<_> = self.events().map(|event| event.name).collect();
        fresh.retain(|name| !index.is_known(name));
        for event in &fresh {
            for (priority, handler) in index.wild_in_line(event) {
                lines.entry((*event, priority)).or_default().push(handler);
            }
        }
        for node in self.nodes {
            let Some(priority) = node.policy.priority else { continue };
            let mut taken = index.known_taken(node);
            taken.extend(fresh.iter().copied().filter(|event| node.wiring.takes(event)));
            for event in taken {
                let mounted = || index.in_line(event, priority).map(|name| &**name);
                let line = lines.entry((event, priority));
                line.or_insert_with(|| mounted().into_iter().collect()).push(&node.name);
            }
        }
        let crowded = lines.into_iter().filter(|(_, names)| names.len() > 1);
        crowded
            .map(|((event, priority), names)| {
                let handlers = names.join(" and ");
                StartFault::EqualPriority { event, priority, handlers }
            })
            .collect()
    }

    /// Published events that neither a newcomer nor, as far as declared, anybody outside hears.
    fn unheard_faults(&self, index: &Index) -> Vec<StartFault> {
        if self.unheard == Unheard::Allow {
            return Vec::new();
        }
        let outside = &index.outside;
        let heard: BTreeSet<_> = (self.nodes.iter().flat_map(|node| &node.wiring.inputs))
            .chain(&outside.listens)
            .chain(outside.requests.iter().map(|(_, reply)| reply))
            .map(|event| event.name)
            .collect();
        let wild = self.nodes.iter().filter(|node| !node.wiring.patterns.is_empty());
        let wild: Vec<_> = wild.collect();
        let is_heard =
            |name: &str| heard.contains(name) || wild.iter().any(|node| node.wiring.matches(name));
        let mut faults = Vec::new();
        for node in self.nodes {
            let outputs = node.wiring.outputs.iter().map(|output| output.name);
            for event in outputs.filter(|event| !is_heard(event)) {
                let handler = node.name.to_string();
                if self.unheard == Unheard::Refuse {
                    faults.push(StartFault::Unheard { handler, event });
                } else {
                    tracing::warn!(handler, event, "published, but nobody subscribes");
                }
            }
        }
        faults
    }
}

fn add_type<'t>(types: &mut Vec<&'t EventType>, event: &'t EventType) {
    if types.iter().all(|other| other.type_id != event.type_id) {
        types.push(event);
    }
}

/// What is wrong with a handler by itself.
fn node_faults(node: &Node) -> Vec<StartFault> {
    let handler = || node.name.to_string();
    let mut faults = Vec::new();
    if let Some(reason) = node.policy.merged_fault() {
        faults.push(StartFault::BadPolicy { owner: handler(), reason });
    }
    for pattern in &node.wiring.patterns {
        if let Some(reason) = pattern.fault() {
            let pattern = pattern.to_string();
            faults.push(StartFault::BadPattern { handler: handler(), pattern, reason });
        }
    }
    let mut seen = BTreeSet::new();
    for event in node.wiring.inputs.iter().filter(|input| !seen.insert(input.name)) {
        faults.push(StartFault::DuplicateInput { handler: handler(), event: event.name });
    }
    for event in node.wiring.outputs.iter().map(|output| output.name) {
        if event.ends_with(ERROR_SUFFIX) {
            faults.push(StartFault::ReservedName { handler: handler(), event });
        } else if !in_namespace(event, &node.domain) {
            let domain = node.domain.to_string();
            faults.push(StartFault::ForeignNamespace { handler: handler(), domain, event });
        }
    }
    faults
}
