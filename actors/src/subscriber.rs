//! A handler before it runs: the factory of its actor, the events it takes, and its policy.

use std::collections::HashSet;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use parking_lot::Mutex;

use crate::context::EventContext;
use crate::envelope::Envelope;
use crate::error::{HandlerError, HandlerResult};
use crate::event::{Event, EventType};
use crate::failed::Failed;
use crate::handler::{Delivery, EventHandler, Resident, Shell};
use crate::host::{self, HostPlan};
use crate::instance::Factory;
use crate::output::{Output, Outputs};
use crate::pattern::Pattern;
use crate::policy::{Instances, Policy};
use crate::router::Router;
use crate::seat::Seat;
use crate::supervisor::Hire;
use crate::wiring::Wiring;
use crate::work::{Feed, Takes};

/// How many deliveries a short-form handler has in work at once, unless its policy says otherwise.
const SHORT_FORM_CONCURRENCY: usize = 64;

/// An actix actor as a handler: the full form, with state, timers and `&mut self`.
///
/// All events that it takes wait in one queue, so that it sees them in the order in which they were
/// published, across their types.
///
/// ```
/// use actix::prelude::*;
/// use callboard_actors::{Delivery, Event, HandlerResult, Subscriber};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct UserCreated {}
/// # impl Event for UserCreated { const NAME: &'static str = "user.created"; }
/// #[derive(Default)]
/// struct Census {
///     seen: u64,
/// }
///
/// impl Actor for Census {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<Delivery<UserCreated>> for Census {
///     type Result = HandlerResult<()>;
///
///     fn handle(&mut self, _: Delivery<UserCreated>, _: &mut Context<Self>) -> Self::Result {
///         self.seen += 1;
///         Ok(())
///     }
/// }
///
/// let census = Subscriber::new(Census::default).on::<UserCreated, ()>();
/// ```
#[must_use = "a subscriber does nothing until it is mounted"]
pub struct Subscriber<A: Actor> {
    name: String,
    factory: Factory<A>,
    feeds: Vec<Feed<A>>,
    error_facts: Vec<EventType>,
    outputs: Outputs,
    policy: Policy,
    resident: Option<fn(&A) -> Resident>,
    /// What this form of handler has where no scope says otherwise.
    form: Policy,
}

impl<A: Actor<Context = Context<A>>> Subscriber<A> {
    /// A handler whose actor is built by `factory`, again at each restart.
    pub fn new(factory: impl FnMut() -> A + Send + 'static) -> Self {
        Self {
            name: short_name(std::any::type_name::<A>()),
            factory: Arc::new(Mutex::new(factory)),
            feeds: Vec::new(),
            error_facts: Vec::new(),
            outputs: Outputs::default(),
            policy: Policy::default(),
            resident: None,
            form: Policy::default().concurrency(1),
        }
    }

    /// Subscribes to the events `E`, and publishes what the actor answers, an `O`.
    pub fn on<E: Event, O: Output>(mut self) -> Self
    where
        A: Handler<Delivery<E, O>>,
    {
        self.feeds.push(Feed::of::<E, O>());
        self.error_facts.push(EventType::of::<Failed<E>>());
        O::declare(&mut self.outputs);
        self
    }

    /// As [`on`](Self::on), with an answer for when the actor could not give one: after the last
    /// attempt, while the breaker is open, or when the bulkhead is full. It runs beside the actor,
    /// within the same timeout.
    pub fn on_or<E: Event, O: Output>(
        self,
        fallback: impl AsyncFn(&E, HandlerError, &EventContext) -> HandlerResult<O>
        + Send
        + Sync
        + 'static,
    ) -> Self
    where
        A: Handler<Delivery<E, O>>,
    {
        let mut subscriber = self.on::<E, O>();
        if let Some(feed) = subscriber.feeds.last_mut() {
            feed.fall_back_to(fallback);
        }
        subscriber
    }

    /// Subscribes to every event whose name matches `pattern`, whatever its type: `*` stands for
    /// one part of the name, `**` for one or more (`user.*`, `order.**`, `**.error`). The actor
    /// gets the [`Envelope`]. Of an event that it takes by its name too it gets one copy, by name.
    pub fn on_pattern<O: Output>(mut self, pattern: &str) -> Self
    where
        A: Handler<Delivery<Envelope, O>>,
    {
        self.feeds.push(Feed::matching::<O>(Pattern::new(pattern)));
        O::declare(&mut self.outputs);
        self
    }

    /// Declares an event that the actor publishes with `ctx.publish`, so that the graph shows it.
    pub fn publishes<E: Event>(mut self) -> Self {
        self.outputs.0.push(EventType::of::<E>());
        self
    }

    /// Sets the name; by default that of the actor's type.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the policy.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }
}

impl<H: EventHandler> Subscriber<Shell<H>> {
    /// The short form, on top of the full one.
    pub(crate) fn of_handler(handler: H) -> Self
    where
        H::Input: Event,
    {
        Self::short(handler, Self::on::<H::Input, H::Output>)
    }

    /// The short form, for all events whose names match.
    pub(crate) fn of_pattern_handler(pattern: &str, handler: H) -> Self
    where
        H: EventHandler<Input = Envelope>,
    {
        Self::short(handler, |subscriber| subscriber.on_pattern::<H::Output>(pattern))
    }

    fn short(handler: H, subscribe: impl FnOnce(Self) -> Self) -> Self {
        let (policy, prototype) = (handler.policy(), handler.clone());
        let mut subscriber = subscribe(Self::new(move || Shell::new(handler.clone())));
        if let Some(feed) = subscriber.feeds.last_mut() {
            feed.call_directly::<H>();
            feed.fall_back_to_handler(prototype);
        }
        subscriber.resident = Some(|shell| shell.handler());
        subscriber.name = short_name(std::any::type_name::<H>());
        subscriber.form =
            Policy::default().concurrency(SHORT_FORM_CONCURRENCY).instances(Instances::PerWorker);
        subscriber.policy(policy)
    }
}

/// A subscriber with the type of its actor erased.
pub(crate) struct HandlerSpec {
    pub(crate) name: String,
    pub(crate) wiring: Wiring,
    pub(crate) policy: Policy,
    pub(crate) form: Policy,
    pub(crate) hire: HireWith,
}

/// Makes ready what starts the handler, once its seat is known.
pub(crate) type HireWith = Box<dyn FnOnce(Arc<Router>, Arc<Seat>) -> Hire + Send>;

impl<A: Actor<Context = Context<A>>> From<Subscriber<A>> for HandlerSpec {
    fn from(subscriber: Subscriber<A>) -> Self {
        let Subscriber { name, factory, feeds, error_facts, outputs, policy, resident, form } =
            subscriber;
        let (mut inputs, mut patterns) = (Vec::new(), Vec::new());
        for feed in &feeds {
            match &feed.takes {
                Takes::Events(event) => inputs.push(*event),
                Takes::Matching(pattern) => patterns.push(pattern.clone()),
            }
        }
        // A feed for one type goes before those for a pattern.
        let mut feeds = feeds;
        feeds.sort_by_key(|feed| matches!(feed.takes, Takes::Matching(_)));
        let feeds = Arc::from(feeds);
        let hire = move |router, seat| -> Hire {
            let plan = HostPlan { router, seat, factory, feeds, resident };
            Box::new(move |supervisor| host::start(plan, supervisor))
        };
        let (mut outputs, hire) = (outputs.0, Box::new(hire));
        let mut seen = HashSet::new();
        outputs.retain(|output| seen.insert(output.type_id));
        let wiring = Wiring {
            inputs: inputs.into(),
            patterns: patterns.into(),
            outputs: outputs.into(),
            error_facts: error_facts.into(),
        };
        Self { name, wiring, policy, form, hire }
    }
}

/// The last part of a type's path, without its parameters: `a::b::Register<c::D>` is `Register`.
fn short_name(path: &str) -> String {
    let plain = path.split('<').next().unwrap_or(path);
    plain.rsplit("::").next().unwrap_or(plain).to_owned()
}
