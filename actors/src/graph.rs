//! Who publishes what to whom: checked before anything starts, and drawn for people.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::event::EventType;
use crate::pattern::Pattern;
use crate::policy::Policy;
use crate::seat::Seat;
use crate::supervisor::{Escalation, Strategy};
use crate::wiring::Wiring;

mod index;
pub(crate) use index::Index;
mod check;
pub(crate) use check::Newcomers;

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
    pub(crate) name: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) escalation: Escalation,
}

/// A handler as the graph knows it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// `domain.Handler`.
    pub(crate) name: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) policy: Arc<Policy>,
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

impl Node {
    /// The node of a handler that is seated.
    pub(crate) fn of(seat: &Seat) -> Self {
        Self {
            name: Arc::clone(&seat.handler),
            domain: Arc::clone(&seat.domain),
            wiring: Arc::clone(&seat.wiring),
            policy: Arc::clone(&seat.policy),
        }
    }
}

impl Outside {
    /// Every event type that was declared.
    pub(crate) fn events(&self) -> impl Iterator<Item = &EventType> {
        let requests = self.requests.iter().flat_map(|(event, reply)| [event, reply]);
        requests.chain(&self.publishes).chain(&self.listens)
    }
}

impl Graph {
    /// Every event type that occurs.
    fn event_types(&self) -> impl Iterator<Item = &EventType> {
        let handlers = self.handlers.iter().flat_map(|node| node.wiring.events());
        handlers.chain(self.outside.events())
    }

    /// The arrows of the drawing: from and to, where an event is quoted.
    fn arrows(&self) -> Vec<(String, String)> {
        let event = |event: &EventType| format!("`{}`", event.name);
        let mut arrows = Vec::new();
        for node in &self.handlers {
            arrows.extend(
                node.wiring.inputs.iter().map(|input| (event(input), node.name.to_string())),
            );
            for pattern in &node.wiring.patterns {
                arrows.push((format!("`{pattern}`"), node.name.to_string()));
                let known: BTreeSet<_> = self.event_types().map(|event| event.name).collect();
                let known = known.into_iter().filter(|name| pattern.matches(name));
                arrows.extend(known.map(|name| (format!("`{name}`"), format!("`{pattern}`"))));
            }
            let outputs = node.wiring.outputs.iter();
            arrows.extend(outputs.map(|output| (node.name.to_string(), event(output))));
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
        let node = self.handlers.iter().find(|node| *node.name == *label);
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
            if *caption != **name {
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
        self.handlers.iter().find(|node| *node.name == *handler).map(|node| &*node.policy)
    }

    /// The graph as JSON: `{"domains": [{"name", "strategy", "escalation"}], "handlers": [{"name", "domain", "subscribes_to", "patterns",
    /// "publishes", "policy"}]}`, where the policy is an object of texts.
    pub fn to_json(&self) -> Value {
        let names = |events: &[EventType]| events.iter().map(|e| e.name).collect::<Vec<_>>();
        let handler = |node: &Node| {
            let patterns: Vec<_> = node.wiring.patterns.iter().map(Pattern::to_string).collect();
            let policy: BTreeMap<_, _> = node.policy.entries().into_iter().collect();
            json!({
                "name": *node.name,
                "domain": *node.domain,
                "subscribes_to": names(&node.wiring.inputs),
                "patterns": patterns,
                "publishes": names(&node.wiring.outputs),
                "policy": policy,
            })
        };
        let domain = |domain: &DomainNode| {
            json!({
                "name": *domain.name,
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
