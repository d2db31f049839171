//! The handle that everybody holds: publish, request, schedule, subscribe.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use actix::{Actor, Addr, Context};

use crate::dead_letters::DeadLetters;
use crate::domain::Domain;
use crate::error::PublishError;
use crate::event::{Event, Replies, TraceId};
use crate::event_log::{EventQuery, EventRecord};
use crate::graph::Unheard;
use crate::handle::HandlerHandle;
use crate::metrics::{HandlerStatus, MetricsSnapshot};
use crate::publish::{Address, Publish, Publisher};
use crate::registry::{Mount, Registry, Unmount};
use crate::request::Request;
use crate::router::Router;
use crate::scheduler::{Schedule, ScheduleInfo, Scheduler, Schedules, Scheduling};
use crate::seat::{Seat, Stuck};
use crate::span::SpanId;
use crate::start_error::StartError;
use crate::subscriber::Subscriber;

/// A cheap handle to the bus of one runtime; usable from any thread.
///
/// ```no_run
/// # use callboard_actors::{Bus, Event, Replies, secs};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct CreateUser { name: String }
/// # impl Event for CreateUser { const NAME: &'static str = "user.create"; }
/// # impl Replies for CreateUser { type Reply = UserCreated; }
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct UserCreated { name: String }
/// # impl Event for UserCreated { const NAME: &'static str = "user.created"; }
/// # async fn example(bus: Bus) -> Result<(), Box<dyn std::error::Error>> {
/// bus.publish(UserCreated { name: "Ada".into() }).await?;
/// let user = bus.request(CreateUser { name: "Ada".into() }).timeout(secs(5)).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Bus {
    publisher: Arc<Publisher>,
    registry: Addr<Registry>,
    scheduler: Addr<Scheduler>,
    schedules: Arc<Schedules>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("source", &self.publisher.name).finish_non_exhaustive()
    }
}

impl Bus {
    pub(crate) fn new(
        router: Arc<Router>,
        registry: Addr<Registry>,
        scheduler: Addr<Scheduler>,
        list: Arc<Schedules>,
    ) -> Self {
        let publisher = Arc::new(Publisher { router, name: "bus".into(), domain: None });
        Self { publisher, registry, scheduler, schedules: list }
    }

    /// The same bus for another publisher, whose name is written on what it publishes.
    pub fn with_source(&self, source: impl Into<Arc<str>>) -> Self {
        let publisher = Publisher { name: source.into(), ..Publisher::clone(&self.publisher) };
        Self { publisher: Arc::new(publisher), ..self.clone() }
    }

    fn router(&self) -> &Arc<Router> {
        &self.publisher.router
    }

    /// Publishes an event to everybody who subscribes to it; await it. It is ready when each
    /// handler's queue has taken the event or applied its overflow policy. A single handler that is
    /// idle on this thread may have been called by then, so hold no lock across the `.await` that a
    /// handler takes; [`try_publish`](Self::try_publish) calls none.
    pub fn publish<E: Event>(&self, event: E) -> Publish<E> {
        Publish::new(self.address(), event)
    }

    /// Publishes to everybody, or to nobody when the queue of one handler is full.
    ///
    /// # Errors
    /// [`PublishError::Full`] names the handler.
    pub fn try_publish<E: Event>(&self, event: E) -> Result<(), PublishError> {
        self.publish(event).try_now()
    }

    /// Publishes an event and waits for its reply; await it.
    pub fn request<E: Replies>(&self, event: E) -> Request<E, E::Reply> {
        Request::new(self.address(), event)
    }

    /// Publishes an event later, or again and again.
    pub fn schedule<E: Event>(&self, event: E) -> Scheduling<E> {
        let address = Address::outside(&self.with_source("scheduler").publisher);
        Scheduling::new(event, address, self.scheduler.clone(), Arc::clone(&self.schedules))
    }

    /// The schedules that have not ended, oldest first; none once the runtime was stopped.
    pub fn schedules(&self) -> Vec<ScheduleInfo> {
        self.schedules.all().iter().map(|entry| entry.info()).collect()
    }

    /// The oldest schedule of this name that has not ended. A name that was not set is the event's.
    pub fn find_schedule(&self, name: &str) -> Option<Schedule> {
        let mut all = self.schedules.all().into_iter();
        let entry = all.find(|entry| entry.name() == name)?;
        Some(Schedule::new(entry, Arc::clone(&self.schedules)))
    }

    /// The time by the wall clock of the runtime: the machine's, or the virtual one of a test.
    pub fn now(&self) -> SystemTime {
        self.router().clock.now()
    }

    /// A new trace id, for an edge that names a chain before it begins.
    pub fn new_trace_id(&self) -> TraceId {
        self.router().clock.trace_id()
    }

    /// A new span id, for an edge that records what it does.
    pub fn new_span_id(&self) -> SpanId {
        self.router().clock.span_id()
    }

    /// Adds a handler to a domain while the runtime runs.
    ///
    /// # Errors
    /// All faults that it would bring into the graph.
    pub async fn subscribe<A: Actor<Context = Context<A>>>(
        &self,
        domain: impl Into<String>,
        subscriber: Subscriber<A>,
    ) -> Result<Subscription, StartError> {
        let domains = vec![Domain::new(domain).actor(subscriber)];
        let mounted =
            self.registry.send(Mount { domains, unheard: Unheard::Allow, dry_run: false }).await;
        let seats = mounted.map_err(|_| StartError::shutdown())??;
        let seat = seats.into_iter().next().ok_or_else(StartError::shutdown)?;
        let router = Arc::clone(self.router());
        Ok(Subscription { router, seat, registry: self.registry.clone() })
    }

    /// A handle to one handler, by its name `domain.Handler`; `None` when there is none of that
    /// name.
    pub fn handler(&self, name: &str) -> Option<HandlerHandle> {
        Some(HandlerHandle::new(Arc::clone(self.router()), self.router().table().seat(name)?))
    }

    /// The counters of the runtime and of each handler.
    pub fn metrics(&self) -> MetricsSnapshot {
        let (table, router) = (self.router().table(), self.router());
        let (handlers, now) = (table.seats().iter(), router.clock.now());
        let handlers = handlers.map(|seat| (seat.handler.to_string(), seat.metrics(now))).collect();
        router.totals.snapshot(router.dead.store().count(), handlers)
    }

    /// The newest deliveries that match, oldest first.
    pub fn events(&self, query: &EventQuery) -> Vec<EventRecord> {
        self.router().event_log.recent(query, &self.router().clock)
    }

    /// What nobody could handle: to be read, edited, replayed, discarded.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(Arc::clone(self.router()))
    }

    /// Whether every handler takes events, and since when the runtime runs.
    pub fn health(&self) -> Health {
        let table = self.router().table();
        let down = table.seats().iter().filter(|seat| seat.status() == HandlerStatus::Down);
        Health {
            down: down.map(|seat| seat.handler.to_string()).collect(),
            stuck: table.seats().iter().flat_map(|seat| seat.stuck()).collect(),
            is_running: self.router().is_running(),
            uptime: self.router().clock.uptime(),
        }
    }

    fn address(&self) -> Address {
        Address::outside(&self.publisher)
    }
}

/// How a runtime is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Handlers that failed more often than their policy allows.
    pub down: Vec<String>,
    /// Attempts that take longer than their handler's policy expects.
    pub stuck: Vec<Stuck>,
    /// Whether events are taken from outside.
    pub is_running: bool,
    /// Since when.
    pub uptime: std::time::Duration,
}

/// A handler that was added at run time. Dropping the handle leaves it in place.
#[derive(Clone)]
pub struct Subscription {
    router: Arc<Router>,
    seat: Arc<Seat>,
    registry: Addr<Registry>,
}

impl Subscription {
    /// The handler's name, as metrics show it.
    pub fn handler(&self) -> &str {
        &self.seat.handler
    }

    /// A handle to look at the handler and to steer it.
    pub fn handle(&self) -> HandlerHandle {
        HandlerHandle::new(Arc::clone(&self.router), Arc::clone(&self.seat))
    }

    /// Removes the handler; ready when it has handled what waited in its queue.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the handler is removed all the same.
    pub async fn unsubscribe(self) {
        // A registry that is gone has stopped every handler.
        let _ = self.registry.send(Unmount { seat_id: self.seat.id }).await;
    }
}
