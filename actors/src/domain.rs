//! A named group of handlers: a namespace for what they publish, and one supervisor.

use actix::{Actor, Context};

use crate::envelope::Envelope;
use crate::event::{Event, EventType, Replies};
use crate::handler::EventHandler;
use crate::policy::Policy;
use crate::subscriber::{HandlerSpec, Subscriber};
use crate::supervisor::{Escalation, Strategy};

/// A domain: its handlers may publish only events named `<domain>.*`, and subscribe to any.
///
/// A domain is usually the result of a function whose parameters are its dependencies.
#[must_use = "a domain does nothing until it is mounted"]
pub struct Domain {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) strategy: Strategy,
    pub(crate) escalation: Escalation,
    pub(crate) handlers: Vec<HandlerSpec>,
    pub(crate) requests: Vec<(EventType, EventType)>,
}

impl Domain {
    /// An empty domain; `name` is lower case, without dots.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            policy: Policy::default(),
            strategy: Strategy::default(),
            escalation: Escalation::default(),
            handlers: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// Adds a short-form handler: a prototype, cloned at each (re)start.
    pub fn handler<H: EventHandler>(mut self, handler: H) -> Self
    where
        H::Input: Event,
    {
        self.handlers.push(Subscriber::of_handler(handler).into());
        self
    }

    /// Adds a short-form handler of every event whose name matches `pattern`, whatever its type:
    /// `*` stands for one part of the name, `**` for one or more (`user.*`, `order.**`, `**`).
    pub fn handler_on<H: EventHandler<Input = Envelope>>(
        mut self,
        pattern: &str,
        handler: H,
    ) -> Self {
        self.handlers.push(Subscriber::of_pattern_handler(pattern, handler).into());
        self
    }

    /// Adds an actix actor.
    pub fn actor<A: Actor<Context = Context<A>>>(mut self, subscriber: Subscriber<A>) -> Self {
        self.handlers.push(subscriber.into());
        self
    }

    /// Sets what the policies of its handlers leave open.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets which handlers are rebuilt when one of them fails.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets what follows when a handler fails more often than its policy allows.
    pub fn escalation(mut self, escalation: Escalation) -> Self {
        self.escalation = escalation;
        self
    }

    /// Declares that handlers of this domain request `E`, so that a missing or second responder is
    /// found before anything starts.
    pub fn requests<E: Replies>(mut self) -> Self {
        self.requests.push((EventType::of::<E>(), EventType::of::<E::Reply>()));
        self
    }
}
