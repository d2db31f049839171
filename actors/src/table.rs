//! The routing table: which handlers an event name leads to. Immutable; the registry replaces it.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::chain::Parcel;
use crate::envelope::{Envelope, Label};
use crate::error::HandlerError;
use crate::event::Event;
use crate::failed::Failed;
use crate::metrics::{Counters, HandlerMetrics, HandlerStatus};
use crate::policy::{Policy, Rules};
use crate::queue::Queue;

/// An event type as the runtime knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventType {
    pub(crate) name: &'static str,
    pub(crate) type_id: TypeId,
    pub(crate) type_name: &'static str,
    /// Makes the fact that a handler failed on such an event.
    pub(crate) error_fact: ErrorFact,
}

/// From the event, the handler, its error and the attempts.
pub(crate) type ErrorFact =
    fn(&Envelope, &str, &HandlerError, attempts: u32, Label) -> Option<Envelope>;

impl EventType {
    pub(crate) fn of<E: Event>() -> Self {
        Self {
            name: E::NAME,
            type_id: TypeId::of::<E>(),
            type_name: std::any::type_name::<E>(),
            error_fact: |envelope, handler, error, attempts, label| {
                let event = Arc::unwrap_or_clone(envelope.event::<E>()?);
                Some(Envelope::new(Arc::new(Failed::new(event, handler, error, attempts)), label))
            },
        }
    }
}

/// One handler's seat at the bus: its names, its queue and its state.
pub(crate) struct Seat {
    pub(crate) id: u64,
    /// `domain.Handler`.
    pub(crate) handler: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) inputs: Vec<EventType>,
    pub(crate) outputs: Vec<EventType>,
    /// As it was merged from the scopes, for people.
    pub(crate) policy: Policy,
    pub(crate) rules: Rules,
    pub(crate) queue: Queue<Parcel>,
    pub(crate) counters: Counters,
    status: AtomicU8,
}

/// What a seat is made from.
pub(crate) struct SeatPlan {
    pub(crate) id: u64,
    pub(crate) handler: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) inputs: Vec<EventType>,
    pub(crate) outputs: Vec<EventType>,
    pub(crate) policy: Policy,
}

impl Seat {
    pub(crate) fn new(plan: SeatPlan) -> Self {
        let SeatPlan { id, handler, domain, inputs, outputs, policy } = plan;
        let rules = policy.rules();
        let (queue, counters) = (Queue::new(rules.queue_max), Counters::default());
        let status = AtomicU8::new(0);
        Self { id, handler, domain, inputs, outputs, policy, rules, queue, counters, status }
    }

    pub(crate) fn status(&self) -> HandlerStatus {
        match self.status.load(Ordering::Acquire) {
            0 => HandlerStatus::Up,
            1 => HandlerStatus::Restarting,
            2 => HandlerStatus::Down,
            _ => HandlerStatus::Ended,
        }
    }

    pub(crate) fn set_status(&self, status: HandlerStatus) {
        let value = match status {
            HandlerStatus::Up => 0,
            HandlerStatus::Restarting => 1,
            HandlerStatus::Down => 2,
            HandlerStatus::Ended => 3,
        };
        self.status.store(value, Ordering::Release);
    }

    pub(crate) fn metrics(&self) -> HandlerMetrics {
        self.counters.snapshot(self.status(), self.queue.len(), self.queue.max())
    }
}

/// Where the events of one name go.
#[derive(Default)]
pub(crate) struct Route {
    /// Each of these gets its own copy.
    pub(crate) everyone: Vec<Arc<Seat>>,
    /// Of these only the first gets a copy, and the next one when it declines.
    pub(crate) line: Vec<Arc<Seat>>,
    /// Outputs that several of `everyone` publish, with the handlers' names.
    pub(crate) competing: Vec<(&'static str, String)>,
}

impl Route {
    /// The seats that get a newly published event.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.everyone.iter().chain(self.line.first())
    }

    fn add(&mut self, seat: Arc<Seat>) {
        match seat.rules.priority {
            None => self.everyone.push(seat),
            Some(priority) => {
                let behind = |other: &Arc<Seat>| other.rules.priority >= Some(priority);
                let place = self.line.partition_point(behind);
                self.line.insert(place, seat);
            }
        }
    }

    fn find_competing(&mut self) {
        let mut handlers: HashMap<&'static str, Vec<&str>> = HashMap::new();
        for seat in &self.everyone {
            for output in &seat.outputs {
                handlers.entry(output.name).or_default().push(&seat.handler);
            }
        }
        handlers.retain(|_, names| names.len() > 1);
        self.competing =
            handlers.into_iter().map(|(output, names)| (output, names.join(", "))).collect();
    }
}

#[derive(Default)]
pub(crate) struct Table {
    routes: HashMap<&'static str, Route>,
    types: HashMap<&'static str, EventType>,
    seats: Vec<Arc<Seat>>,
}

impl Table {
    pub(crate) fn new(seats: Vec<Arc<Seat>>) -> Self {
        let mut routes: HashMap<_, Route> = HashMap::new();
        let mut types = HashMap::new();
        for seat in &seats {
            for input in &seat.inputs {
                routes.entry(input.name).or_default().add(Arc::clone(seat));
            }
            for event in seat.inputs.iter().chain(&seat.outputs) {
                types.entry(event.name).or_insert(*event);
            }
        }
        routes.values_mut().for_each(Route::find_competing);
        Self { routes, types, seats }
    }

    pub(crate) fn route(&self, name: &str) -> Option<&Route> {
        self.routes.get(name)
    }

    /// The one type that events of this name have.
    pub(crate) fn event_type(&self, name: &str) -> Option<&EventType> {
        self.types.get(name)
    }

    pub(crate) fn seats(&self) -> &[Arc<Seat>] {
        &self.seats
    }
}
