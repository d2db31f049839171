//! Bus, domains, supervisors and scheduler together: start, look at, drain, stop. No HTTP.

use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "testing")]
use std::time::SystemTime;

use actix::{Actor, Addr};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::bus::Bus;
use crate::clock::{Clock, Wall};
use crate::dead_letter::{DeadLetter, DeadLetterStore, KeeperPlan};
use crate::domain::Domain;
use crate::event::EventType;
use crate::event::{Event, Replies};
use crate::graph::{Graph, Outside, Unheard};
use crate::lane;
#[cfg(feature = "testing")]
use crate::layer::Layer;
use crate::observed::Observer;
use crate::phase::Phase;
use crate::policy::Policy;
use crate::registry::{GetGraph, Mount, Registry, StopDomains};
use crate::router::{Limits, Router};
use crate::scheduler::{Scheduler, Schedules, StopSchedules};
use crate::start_error::{StartError, StartFault};
use crate::supervisor::OnDown;
use crate::watchdog::{self, Leash};

/// A runtime about to start: what is mounted, and its limits.
///
/// Its handlers run on the thread that starts it, as far as their policy says nothing else
/// ([`Policy::instances`](crate::Policy::instances), [`Policy::blocking`](crate::Policy::blocking)).
#[must_use = "nothing runs until it is started"]
#[derive(Default)]
pub struct RuntimeBuilder {
    domains: Vec<Domain>,
    outside: Outside,
    limits: Limits,
    policy: Policy,
    unheard: Unheard,
    seed: Option<u64>,
    wall: Wall,
    observer: Observer,
    dead: KeeperPlan,
    on_down: OnDown,
}

/// A running runtime: a cheap handle, which dereferences to its [`Bus`]. Dropping it stops nothing.
#[derive(Clone)]
pub struct Runtime {
    bus: Bus,
    router: Arc<Router>,
    registry: Addr<Registry>,
    scheduler: Addr<Scheduler>,
    watchdog: Arc<Mutex<Option<Leash>>>,
}

/// What was left when a runtime stopped.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StopReport {
    /// By handler: events that waited, and deliveries that were in work. Empty after a clean stop.
    pub left: Vec<Left>,
}

/// What one handler had not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// The handler.
    pub handler: String,
    /// Events in its queue.
    pub queued: usize,
    /// Deliveries in work.
    pub in_flight: u64,
}

impl StopReport {
    /// Whether every accepted event was handled.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty()
    }
}

impl Runtime {
    /// A runtime about to start.
    #[allow(clippy::new_ret_no_self)] // `Runtime::new().mount(..).start()` reads as it runs
    pub fn new() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// The bus.
    pub fn bus(&self) -> Bus {
        self.bus.clone()
    }

    /// Who publishes what to whom, run-time subscriptions included. Empty once stopped.
    pub async fn graph(&self) -> Graph {
        self.registry.send(GetGraph).await.unwrap_or_default()
    }

    /// Stops: refuses new events and cancels schedules, lets running chains finish for at most the
    /// drain timeout, answers who still waits with `Shutdown`, and stops the handlers in reverse
    /// order. Says what was left. A second call waits for nothing and reports nothing.
    pub async fn stop(&self) -> StopReport {
        self.router.phase.advance_to(Phase::Draining);
        // A scheduler that is gone has no schedules.
        let _ = self.scheduler.send(StopSchedules).await;
        let quiet = timeout(self.router.limits.drain_timeout, self.router.live.quiet()).await;
        let report = if quiet.is_ok() { StopReport::default() } else { self.left() };
        self.router.phase.advance_to(Phase::Stopped);
        self.watchdog.lock().take();
        for Left { handler, queued, in_flight } in &report.left {
            tracing::error!(handler, queued, in_flight, "left unfinished at shutdown");
        }
        // A registry that is gone has stopped every handler.
        let _ = self.registry.send(StopDomains).await;
        report
    }

    /// Lets handlers that may have an instance on each worker
    /// ([`Instances::PerWorker`](crate::Instances::PerWorker)) handle what is requested on this
    /// thread right here. [`bus`](Self::bus) works on any thread; this saves waking another one.
    ///
    /// A handler's instance starts when it is asked for first, and ends with the runtime or with the
    /// thread. The thread must be one of actix: in an own server, call it in the closure that makes
    /// the workers' applications.
    pub fn join_thread(&self) {
        lane::join(&self.router.phase);
    }

    /// Sets the virtual wall clock.
    #[cfg(feature = "testing")]
    pub(crate) fn set_clock(&self, time: SystemTime) {
        self.router.clock.set(time);
    }

    #[cfg(feature = "testing")]
    pub(crate) async fn quiet(&self) {
        self.router.live.quiet().await;
    }

    #[cfg(feature = "testing")]
    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// What each handler has not finished.
    pub(crate) fn left(&self) -> StopReport {
        let table = self.router.table();
        let left = table.seats().iter().map(|seat| Left {
            handler: seat.handler.to_string(),
            queued: seat.queue.len(),
            in_flight: seat.in_flight(),
        });
        StopReport { left: left.filter(|left| left.queued > 0 || left.in_flight > 0).collect() }
    }
}

impl Deref for Runtime {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl RuntimeBuilder {
    /// Adds a domain.
    pub fn mount(mut self, domain: Domain) -> Self {
        self.domains.push(domain);
        self
    }

    /// Declares that `E` is requested from outside, so that a missing or second responder is found
    /// before anything starts.
    pub fn requests<E: Replies>(mut self) -> Self {
        self.outside.requests.push((EventType::of::<E>(), EventType::of::<E::Reply>()));
        self
    }

    /// Declares that `E` is published from outside.
    pub fn publishes<E: Event>(mut self) -> Self {
        self.outside.publishes.push(EventType::of::<E>());
        self
    }

    /// Declares that somebody outside hears `E`.
    pub fn listens<E: Event>(mut self) -> Self {
        self.outside.listens.push(EventType::of::<E>());
        self
    }

    /// Sets what the policies of the domains and their handlers leave open.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how long a request waits, unless it says otherwise. Default 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.limits.request_timeout = timeout;
        self
    }

    /// Sets how long [`Runtime::stop`] lets running chains finish. Default 5 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.limits.drain_timeout = timeout;
        self
    }

    /// Sets how many deliveries the event log keeps. Default 200; 0 switches it off.
    pub fn event_log_max(mut self, records: usize) -> Self {
        self.limits.event_log_max = records;
        self
    }

    /// Sets how many dead letters are kept; the oldest makes room, and is logged. Default 1 000.
    pub fn dead_letters_max(mut self, letters: usize) -> Self {
        self.limits.dead_letters_max = letters;
        self
    }

    /// Sets how long dead letters are kept. Default: until they have to make room.
    pub fn dead_letters_ttl(mut self, age: Duration) -> Self {
        self.dead.ttl = Some(age);
        self
    }

    /// Keeps dead letters in this store instead of memory; it has its own limit.
    pub fn dead_letter_store(mut self, store: impl DeadLetterStore) -> Self {
        self.dead.store = Some(Box::new(store));
        self
    }

    /// Calls `hook` for each new dead letter, where the delivery failed: it must be quick. There may
    /// be several; one that panics is logged.
    pub fn on_dead_letter(mut self, hook: impl Fn(&DeadLetter) + Send + Sync + 'static) -> Self {
        self.dead.hooks.push(Box::new(hook));
        self
    }

    /// Calls `hook` with the name of each handler that goes down, once its status says so. One that
    /// panics is logged. The last one that is set counts.
    pub fn on_down(mut self, hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_down = Some(Arc::new(hook));
        self
    }

    /// Sets how many schedules there may be. Default 1 024.
    pub fn schedules_max(mut self, schedules: usize) -> Self {
        self.limits.schedules_max = schedules;
        self
    }

    /// Sets how many handlers a chain may pass before it is taken for a loop. Default 64.
    pub fn hops_max(mut self, hops: u16) -> Self {
        self.limits.hops_max = hops;
        self
    }

    /// Sets what the check does about events that nobody hears.
    pub fn unheard(mut self, unheard: Unheard) -> Self {
        self.unheard = unheard;
        self
    }

    /// Seeds the random generator, so that identifiers and jitter repeat.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets where the wall-clock time comes from.
    #[cfg(feature = "testing")]
    pub(crate) fn wall(mut self, wall: Wall) -> Self {
        self.wall = wall;
        self
    }

    #[cfg(feature = "testing")]
    pub(crate) fn observed_by(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Puts layers around everything that the runtime's own policy puts around deliveries.
    #[cfg(feature = "testing")]
    pub(crate) fn outermost(
        mut self,
        delivery: Vec<Arc<dyn Layer>>,
        attempt: Vec<Arc<dyn Layer>>,
    ) -> Self {
        self.policy.around_delivery.splice(0..0, delivery);
        self.policy.around_attempt.splice(0..0, attempt);
        self
    }

    /// Checks everything that was mounted and starts it on this thread.
    ///
    /// # Errors
    /// All faults at once; nothing was started then.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start(self) -> Result<Runtime, StartError> {
        let mut faults = self.faults();
        let Self {
            domains,
            mut outside,
            mut limits,
            policy,
            unheard,
            seed,
            wall,
            observer,
            dead,
            on_down,
        } = self;
        limits.room_timeout = policy.clone().or(&Policy::built_in()).rules().timeout;
        for domain in &domains {
            outside.requests.extend(&domain.requests);
        }
        let schedules_max = limits.schedules_max;
        let router = Arc::new(Router::new(limits, Clock::new(seed, wall), observer, dead));
        let registry = Registry::new(Arc::clone(&router), outside, policy, on_down).start();
        let refused = !faults.is_empty();
        let mounted = registry.send(Mount { domains, unheard, dry_run: refused }).await;
        if let Err(error) = mounted.map_err(|_| StartError::shutdown())? {
            faults.extend(error.faults);
        }
        if !faults.is_empty() {
            return Err(StartError { faults });
        }
        let list = Arc::new(Schedules::new(schedules_max));
        let scheduler = Scheduler::new(Arc::clone(&list)).start();
        let (seats, plans) = (registry.clone(), scheduler.clone());
        let bus = Bus::new(Arc::clone(&router), seats, plans, list);
        let watchdog = Arc::new(Mutex::new(Some(watchdog::start(&router))));
        Ok(Runtime { bus, router, registry, scheduler, watchdog })
    }

    /// Faults that are not the graph's.
    fn faults(&self) -> Vec<StartFault> {
        let mut faults = Vec::new();
        if let Some(reason) = self.policy.fault() {
            faults.push(StartFault::BadPolicy { owner: "the runtime".to_owned(), reason });
        }
        let mut seen = HashSet::new();
        for domain in self.domains.iter().map(|domain| domain.name.clone()) {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            if domain.is_empty() || !domain.bytes().all(plain) {
                faults.push(StartFault::BadDomainName { domain });
            } else if !seen.insert(domain.clone()) {
                faults.push(StartFault::DuplicateDomain { domain });
            }
        }
        let limits = &self.limits;
        for (limit, is_zero) in [
            ("request_timeout", limits.request_timeout.is_zero()),
            ("schedules_max", limits.schedules_max == 0),
            ("hops_max", limits.hops_max == 0),
        ] {
            if is_zero {
                faults.push(StartFault::ZeroLimit { limit });
            }
        }
        faults
    }
}
