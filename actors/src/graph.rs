//! Who publishes what to whom: checked before anything starts, and drawn for people.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::context::in_namespace;
use crate::event::EventType;
use crate::event::{ERROR_SUFFIX, check_name};
use crate::pattern::Pattern;
use crate::policy::Policy;
use crate::start_error::StartFault;
use crate::supervisor::{Escalation, Strategy};

/// The handlers of a runtime and the events between them.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) domains: Vec<DomainNode>,
    pub(crate) handlers: Vec<Node>,
    pub(crate) outside: Outside,
}

/// A domain as the graph knows it.
#[derive(Clone, Debug)]
pub(crate) struct DomainNode {
    pub(crate) name: String,
    pub(crate) strategy: Strategy,
    pub(crate) escalation: Escalation,
}

/// A handler as the graph knows it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// `domain.Handler`.
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) inputs: Vec<EventType>,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) outputs: Vec<EventType>,
    /// What the bus publishes when it fails.
    pub(crate) error_facts: Vec<EventType>,
    pub(crate) policy: Policy,
}

/// What clients and sessions do, as far as it was declared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside {
    /// Events that are requested, with the reply that is waited for.
    pub(crate) requests: Vec<(EventType, EventType)>,
    pub(crate) publishes: Vec<EventType>,
    pub(crate) listens: Vec<EventType>,
}

/// What the check does about an event that a handler publishes and nobody hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unheard {
    /// Log it. A reply that only an undeclared request waits for looks unheard, so this is the
    /// default.
    #[default]
    Warn,
    /// Refuse to start.
    Refuse,
    /// Say nothing.
    Allow,
}

impl Graph {
    /// All faults.
    pub(crate) fn faults(&self, unheard: Unheard) -> Vec<StartFault> {
        let mut faults = self.name_faults();
        for node in &self.handlers {
            faults.extend(node.faults());
        }
        faults.extend(self.responder_faults());
        for (handler, event) in self.unheard() {
            match unheard {
                Unheard::Refuse => faults.push(StartFault::Unheard { handler, event }),
                Unheard::Warn => tracing::warn!(handler, event, "published, but nobody subscribes"),
                Unheard::Allow => {}
            }
        }
        faults
    }

    /// Every event type that occurs.
    fn event_types(&self) -> impl Iterator<Item = &EventType> {
        let handlers = self
            .handlers
            .iter()
            .flat_map(|node| node.inputs.iter().chain(&node.outputs).chain(&node.error_facts));
        let outside = &self.outside;
        let requests = outside.requests.iter().flat_map(|(event, reply)| [event, reply]);
        handlers.chain(requests).chain(&outside.publishes).chain(&outside.listens)
    }

    fn name_faults(&self) -> Vec<StartFault> {
        let mut types: BTreeMap<&'static str, Vec<&EventType>> = BTreeMap::new();
        for event in self.event_types() {
            let known = types.entry(event.name).or_default();
            if known.iter().all(|other| other.type_id != event.type_id) {
                known.push(event);
            }
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

    fn responder_faults(&self) -> Vec<StartFault> {
        let mut faults = Vec::new();
        let requested: BTreeSet<_> =
            self.outside.requests.iter().map(|(event, reply)| (event.name, reply.name)).collect();
        for (event, reply) in requested {
            // Who takes events of any kind and puts out none only looks on.
            let looks_on = |node: &Node| node.inputs.is_empty() && node.outputs.is_empty();
            let responds = |node: &&Node| node.takes(event) && !looks_on(node);
            let takers: Vec<_> = self.handlers.iter().filter(responds).collect();
            if takers.is_empty() {
                faults.push(StartFault::NoResponder { event });
            }
            let answers = |node: &&&Node| node.policy.priority.is_none() && node.puts_out(reply);
            let mut groups = BTreeSet::new();
            // Of a group one gets the event: its members are no rivals.
            let counts = |node: &&&Node| {
                node.policy.group.as_ref().is_none_or(|group| groups.insert(group.clone()))
            };
            let rivals = takers.iter().filter(answers).filter(counts);
            let rivals: Vec<_> = rivals.map(|node| node.name.as_str()).collect();
            if rivals.len() > 1 {
                let handlers = rivals.join(" and ");
                faults.push(StartFault::DuplicateResponder { event, reply, handlers });
            }
        }
        let mut lines: BTreeMap<(&'static str, i32), Vec<&str>> = BTreeMap::new();
        let known: BTreeSet<_> = self.event_types().map(|event| event.name).collect();
        for node in &self.handlers {
            let Some(priority) = node.policy.priority else { continue };
            for event in known.iter().filter(|event| node.takes(event)) {
                lines.entry((*event, priority)).or_default().push(&node.name);
            }
        }
        for ((event, priority), names) in lines.into_iter().filter(|(_, names)| names.len() > 1) {
            let handlers = names.join(" and ");
            faults.push(StartFault::EqualPriority { event, priority, handlers });
        }
        faults
    }

    /// Published events that neither a handler nor, as far as declared, anybody outside hears.
    fn unheard(&self) -> Vec<(String, &'static str)> {
        let outside = &self.outside;
        let replies = outside.requests.iter().map(|(_, reply)| reply.name);
        let heard: BTreeSet<_> = (self.handlers.iter().flat_map(|node| &node.inputs))
            .chain(&outside.listens)
            .map(|event| event.name)
            .chain(replies)
            .collect();
        let published = |node: &'_ Node| {
            let is_heard = |name: &str| {
                let listens = |node: &Node| node.patterns.iter().any(|p| p.matches(name));
                heard.contains(name) || self.handlers.iter().any(listens)
            };
            let unheard = node.outputs.iter().filter(|event| !is_heard(event.name));
            unheard.map(|event| (node.name.clone(), event.name)).collect::<Vec<_>>()
        };
        self.handlers.iter().flat_map(published).collect()
    }

    /// The arrows of the drawing: from and to, where an event is quoted.
    fn arrows(&self) -> Vec<(String, String)> {
        let event = |event: &EventType| format!("`{}`", event.name);
        let mut arrows = Vec::new();
        for node in &self.handlers {
            arrows.extend(node.inputs.iter().map(|input| (event(input), node.name.clone())));
            for pattern in &node.patterns {
                arrows.push((format!("`{pattern}`"), node.name.clone()));
                let known: BTreeSet<_> = self.event_types().map(|event| event.name).collect();
                let known = known.into_iter().filter(|name| pattern.matches(name));
                arrows.extend(known.map(|name| (format!("`{name}`"), format!("`{pattern}`"))));
            }
            arrows.extend(node.outputs.iter().map(|output| (node.name.clone(), event(output))));
        }
        arrows
    }

    /// The graph as a Mermaid flow chart: events are round, handlers square.
    pub fn to_mermaid(&self) -> String {
        let mut ids = HashMap::new();
        let mut lines = vec!["flowchart LR".to_owned()];
        for (from, to) in self.arrows() {
            for label in [&from, &to] {
                let next = ids.len();
                if !ids.contains_key(label) {
                    let name = self.caption(label);
                    let (open, close) =
                        if label.starts_with('`') { ("([", "])") } else { ("[", "]") };
                    lines.push(format!("    n{next}{open}{name}{close}"));
                    ids.insert(label.clone(), next);
                }
            }
            lines.push(format!("    n{} --> n{}", ids[&from], ids[&to]));
        }
        lines.join("\n") + "\n"
    }

    /// What is written on an event, or on a handler with its place among others.
    fn caption(&self, label: &str) -> String {
        let node = self.handlers.iter().find(|node| node.name == label);
        let group = node.and_then(|node| node.policy.group.as_ref());
        let priority = node.and_then(|node| node.policy.priority);
        match (group, priority) {
            (Some(group), _) => format!("{label}, group {group}"),
            (None, Some(priority)) => format!("{label}, priority {priority}"),
            (None, None) => label.trim_matches('`').to_owned(),
        }
    }

    /// The graph in Graphviz' DOT language: events are round, handlers square.
    pub fn to_dot(&self) -> String {
        let mut lines = ["digraph callboard {", "    rankdir=LR;", "    node [shape=box];"]
            .map(str::to_owned)
            .to_vec();
        let arrows = self.arrows();
        let ends = arrows.iter().flat_map(|(from, to)| [from, to]);
        let events: BTreeSet<_> =
            ends.filter(|end| end.starts_with('`')).map(|end| end.trim_matches('`')).collect();
        lines.extend(events.iter().map(|event| format!("    \"{event}\" [shape=oval];")));
        for name in self.handlers.iter().map(|node| &node.name) {
            let caption = self.caption(name);
            if caption != *name {
                lines.push(format!("    \"{name}\" [label=\"{caption}\"];"));
            }
        }
        for (from, to) in &arrows {
            let (from, to) = (from.trim_matches('`'), to.trim_matches('`'));
            lines.push(format!("    \"{from}\" -> \"{to}\";"));
        }
        lines.push("}\n".to_owned());
        lines.join("\n")
    }

    /// The policy of a handler, merged from all scopes, by its name `domain.Handler`.
    pub fn policy(&self, handler: &str) -> Option<&Policy> {
        self.handlers.iter().find(|node| node.name == handler).map(|node| &node.policy)
    }

    /// The graph as JSON: `{"domains": [{"name", "strategy", "escalation"}], "handlers": [{"name", "domain", "subscribes_to", "patterns",
    /// "publishes", "policy"}]}`, where the policy is an object of texts.
    pub fn to_json(&self) -> Value {
        let names = |events: &[EventType]| events.iter().map(|e| e.name).collect::<Vec<_>>();
        let handler = |node: &Node| {
            let patterns: Vec<_> = node.patterns.iter().map(Pattern::to_string).collect();
            let policy: BTreeMap<_, _> = node.policy.entries().into_iter().collect();
            json!({
                "name": node.name,
                "domain": node.domain,
                "subscribes_to": names(&node.inputs),
                "patterns": patterns,
                "publishes": names(&node.outputs),
                "policy": policy,
            })
        };
        let domain = |domain: &DomainNode| {
            json!({
                "name": domain.name,
                "strategy": domain.strategy.to_string(),
                "escalation": domain.escalation.to_string(),
            })
        };
        json!({
            "domains": self.domains.iter().map(domain).collect::<Vec<_>>(),
            "handlers": self.handlers.iter().map(handler).collect::<Vec<_>>(),
        })
    }
}

impl Node {
    fn takes(&self, event: &str) -> bool {
        self.inputs.iter().any(|input| input.name == event)
            || self.patterns.iter().any(|pattern| pattern.matches(event))
    }

    fn puts_out(&self, event: &str) -> bool {
        self.outputs.iter().any(|output| output.name == event)
    }

    fn faults(&self) -> Vec<StartFault> {
        let handler = || self.name.clone();
        let mut faults = Vec::new();
        if let Some(reason) = self.policy.merged_fault() {
            faults.push(StartFault::BadPolicy { owner: handler(), reason });
        }
        for pattern in &self.patterns {
            if let Some(reason) = pattern.fault() {
                let pattern = pattern.to_string();
                faults.push(StartFault::BadPattern { handler: handler(), pattern, reason });
            }
        }
        let mut seen = BTreeSet::new();
        for event in self.inputs.iter().filter(|input| !seen.insert(input.name)) {
            faults.push(StartFault::DuplicateInput { handler: handler(), event: event.name });
        }
        for event in self.outputs.iter().map(|output| output.name) {
            if event.ends_with(ERROR_SUFFIX) {
                faults.push(StartFault::ReservedName { handler: handler(), event });
            } else if !in_namespace(event, &self.domain) {
                let domain = self.domain.clone();
                faults.push(StartFault::ForeignNamespace { handler: handler(), domain, event });
            }
        }
        faults
    }
}
