//! Which events a handler takes and puts out. Handlers of one kind share it.

use crate::event::EventType;
use crate::pattern::Pattern;

/// What ties a handler to the events of a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wiring {
    pub(crate) inputs: Box<[EventType]>,
    pub(crate) patterns: Box<[Pattern]>,
    pub(crate) outputs: Box<[EventType]>,
    /// What the bus publishes when it fails.
    pub(crate) error_facts: Box<[EventType]>,
}

impl Wiring {
    /// Whether it subscribes to events of this name.
    pub(crate) fn takes(&self, name: &str) -> bool {
        self.inputs.iter().any(|input| input.name == name) || self.matches(name)
    }

    /// Whether one of its patterns leads events of this name to it.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    pub(crate) fn puts_out(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output.name == name)
    }

    /// The events that the handler itself names.
    pub(crate) fn declared(&self) -> impl Iterator<Item = &EventType> {
        self.inputs.iter().chain(&self.outputs)
    }

    /// Every event that has to do with it.
    pub(crate) fn events(&self) -> impl Iterator<Item = &EventType> {
        self.declared().chain(&self.error_facts)
    }
}
