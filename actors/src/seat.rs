//! One handler's seat at the bus: its names, its queue, its counters and its state.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bell::{Bell, Call};
use crate::chain::Parcel;
use crate::envelope::Envelope;
use crate::error::panic_text;
use crate::layer::breaker::{Circuit, CircuitState, WhenOpen};
use crate::layer::dedupe::Seen;
use crate::layer::limiter::Limiter;
use crate::metrics::{Counters, HandlerMetrics, HandlerStatus, Now};
use crate::policy::{Instances, Policy, Rules};
use crate::queue::Queue;
use crate::throttle::Throttle;
use crate::wiring::Wiring;

mod watch;
pub use watch::Stuck;
pub(crate) use watch::{Spot, Watch, Watched};

/// One handler's seat at the bus.
pub(crate) struct Seat {
    pub(crate) id: u64,
    /// `domain.Handler`.
    pub(crate) handler: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) wiring: Arc<Wiring>,
    /// As it was merged from the scopes, for people.
    pub(crate) policy: Arc<Policy>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) queue: Queue<Parcel>,
    pub(crate) counters: Counters,
    /// `None` when there is no limit. It may be changed at run time.
    limiter: ArcSwapOption<Limiter>,
    is_limited: AtomicBool,
    pub(crate) circuit: Option<Box<Circuit>>,
    /// Told when the circuit may admit somebody who was refused.
    pub(crate) circuit_changed: Notify,
    pub(crate) seen: Option<Box<Seen>>,
    pub(crate) drops: Throttle,
    watch: Watch,
    is_paused: AtomicBool,
    /// The bell of the host that empties the queue.
    pub(crate) bell: Arc<Bell>,
    status: AtomicU8,
    /// Whether nothing stands around an attempt: no layer, breaker, bulkhead, memory of what was
    /// handled, or parked key.
    pub(crate) is_plain: bool,
    /// Whether events may be handled in place, where an actor of it lives.
    pub(crate) has_lanes: bool,
    /// What opens a branch on a thread that has joined the runtime.
    pub(crate) branching: Mutex<Option<Branching>>,
}

/// Opens a branch of a handler on the current thread, and a lane to it.
pub(crate) type Branching = Arc<dyn Fn(&Arc<Seat>) + Send + Sync>;

/// What a seat is made from.
pub(crate) struct SeatPlan {
    pub(crate) id: u64,
    pub(crate) handler: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) rules: Arc<Rules>,
}

impl Seat {
    pub(crate) fn new(plan: SeatPlan) -> Self {
        let SeatPlan { id, handler, domain, wiring, policy, rules } = plan;
        let is_plain = policy.around_delivery.is_empty()
            && policy.around_attempt.is_empty()
            && policy.breaker.is_none()
            && policy.bulkhead.is_none()
            && policy.dedupe.is_none()
            && !rules.parks_key;
        // One of a key at a time needs the queue.
        let has_lanes = is_plain && !rules.ordered_by_key && rules.threads().is_none();
        let (queue, counters) =
            (Queue::new(rules.queue_max, rules.ordered_by_key), Counters::default());
        Self {
            id,
            handler,
            domain,
            wiring,
            is_limited: AtomicBool::new(policy.rate_limit.is_some()),
            limiter: ArcSwapOption::new(
                policy.rate_limit.clone().map(|l| Arc::new(Limiter::new(l))),
            ),
            circuit: policy.breaker.clone().map(Circuit::new).map(Box::new),
            circuit_changed: Notify::new(),
            seen: policy.dedupe.clone().map(Seen::new).map(Box::new),
            drops: Throttle::default(),
            watch: Watch::default(),
            is_paused: AtomicBool::new(false),
            bell: Arc::default(),
            status: AtomicU8::new(0),
            is_plain,
            has_lanes,
            branching: Mutex::default(),
            policy,
            rules,
            queue,
            counters,
        }
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

    /// An actor of it ended. What is down or ended stays so.
    pub(crate) fn mark_restarting(&self) {
        // Refused by a status that stays.
        let _ = self.status.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
    }

    /// An actor of it has started. What is down or ended stays so.
    pub(crate) fn mark_up(&self) {
        // Refused by a status that stays.
        let _ = self.status.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.is_paused.store(paused, Ordering::Release);
        self.bell.ring(Call::Look);
    }

    pub(crate) fn limiter(&self) -> Option<Arc<Limiter>> {
        if self.is_limited.load(Ordering::Acquire) { self.limiter.load_full() } else { None }
    }

    /// Whether there may be a rate limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Acquire)
    }

    pub(crate) fn set_limiter(&self, limiter: Option<Limiter>) {
        let is_limited = limiter.is_some();
        self.limiter.store(limiter.map(Arc::new));
        self.is_limited.store(is_limited, Ordering::Release);
    }

    /// Whether a call of the handler would be refused by its breaker.
    pub(crate) fn refuses_calls(&self, now: Instant) -> bool {
        self.circuit.as_ref().is_some_and(|circuit| {
            circuit.when_open() == WhenOpen::Refuse && circuit.state(now) == CircuitState::Open
        })
    }

    /// Whether it will handle what is put into its queue.
    pub(crate) fn takes_events(&self) -> bool {
        !matches!(self.status(), HandlerStatus::Down | HandlerStatus::Ended)
    }

    /// Whether it takes events and none of them waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.takes_events() && !self.is_paused()
    }

    /// Whether it may have an instance on each worker.
    pub(crate) fn has_branches(&self) -> bool {
        let rules = &self.rules;
        self.has_lanes && rules.concurrency > 1 && rules.instances == Instances::PerWorker
    }

    /// Whether its predicates hold; the text of the panic when one of them panicked.
    pub(crate) fn wants(&self, envelope: &Envelope) -> Result<bool, String> {
        let predicates = &self.policy.predicates;
        if predicates.is_empty() {
            return Ok(true);
        }
        let all = || predicates.iter().all(|predicate| predicate(envelope));
        catch_unwind(AssertUnwindSafe(all)).map_err(|panic| panic_text(&*panic))
    }

    /// Whether deliveries are in work, beside what is handled in place right now.
    pub(crate) fn has_in_flight(&self) -> bool {
        self.counters.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Deliveries in work.
    pub(crate) fn in_flight(&self) -> u64 {
        self.counters.in_flight.load(Ordering::Relaxed) + self.in_place() as u64
    }

    /// As they are at this time by the runtime's wall clock.
    pub(crate) fn metrics(&self, now: SystemTime) -> HandlerMetrics {
        let age = |parcel: &Parcel| now.duration_since(parcel.envelope.label().timestamp).ok();
        self.counters.snapshot(&Now {
            status: self.status(),
            is_paused: self.is_paused(),
            queue_depth: self.queue.len(),
            queue_max: self.queue.max(),
            queue_age: self.queue.read_oldest(age).flatten().unwrap_or_default(),
            stuck: self.stuck().len(),
            in_flight: self.in_flight(),
            breaker: self.circuit.as_ref().map(|circuit| circuit.state(Instant::now())),
        })
    }
}
