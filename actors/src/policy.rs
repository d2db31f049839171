//! How deliveries to one handler behave, and what happens when it fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::Envelope;
use crate::event::Event;
use crate::layer::Layer;
use crate::layer::breaker::Breaker;
use crate::layer::bulkhead::Bulkhead;
use crate::layer::dedupe::Dedupe;
use crate::layer::limiter::RateLimit;
use crate::layer::retry::{Failure, Jitter};

mod instances;
pub use instances::Instances;
mod overflow;
pub use overflow::Overflow;
mod restart;
pub use restart::Restart;
mod rules;
pub(crate) use rules::{RestartRules, Rules};
mod merge;

/// The policy of a runtime, of a domain, or of one handler.
///
/// Each value is set or left to the next wider scope: the handler's own counts first, then that of
/// its domain, then that of the runtime, then the default that each setter names. What a running
/// handler got in the end is printed by [`Runtime::graph`](crate::Runtime::graph) and by
/// `Display`.
///
/// ```
/// use callboard_actors::{Overflow, Policy, secs};
/// let policy = Policy::default().queue_max(64).overflow(Overflow::Reject).timeout(secs(2));
/// assert_eq!(policy.to_string(), "queue_max=64 overflow=reject timeout=2s");
/// ```
#[derive(Clone, Default)]
#[must_use = "a policy does nothing until a handler, a domain or a runtime has it"]
pub struct Policy {
    pub(crate) queue_max: Option<usize>,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) instances: Option<Instances>,
    pub(crate) ordered_by_key: Option<bool>,
    pub(crate) parks_key: Option<bool>,
    pub(crate) priority: Option<i32>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stuck_after: Option<Duration>,
    pub(crate) attempts_max: Option<u32>,
    pub(crate) retry_delay: Option<Duration>,
    pub(crate) retry_delay_max: Option<Duration>,
    pub(crate) retry_jitter: Option<Jitter>,
    pub(crate) retry_within: Option<Duration>,
    /// A wider scope's first: of two for the same failure the later one holds.
    pub(crate) attempts_for: Vec<(Failure, u32)>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) bulkhead: Option<Bulkhead>,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) dedupe: Option<Dedupe>,
    pub(crate) restart: Option<Restart>,
    pub(crate) restarts_max: Option<u32>,
    pub(crate) restarts_within: Option<Duration>,
    pub(crate) restart_delay: Option<Duration>,
    pub(crate) restart_delay_max: Option<Duration>,
    pub(crate) blocking: Option<usize>,
    pub(crate) predicates: Vec<Predicate>,
    /// The outermost first.
    pub(crate) around_delivery: Vec<Arc<dyn Layer>>,
    pub(crate) around_attempt: Vec<Arc<dyn Layer>>,
}

/// Says whether a handler wants an event.
pub(crate) type Predicate = Arc<dyn Fn(&Envelope) -> bool + Send + Sync>;

impl Policy {
    /// How many events may wait. Default 1 024.
    pub fn queue_max(mut self, events: usize) -> Self {
        self.queue_max = Some(events);
        self
    }

    /// What happens to an event for which there is no room. Default [`Overflow::Wait`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// How many deliveries are in work at once. Default: 1 for an actor, which has `&mut self`, so
    /// that its events stay in order; 64 for an [`EventHandler`](crate::EventHandler).
    pub fn concurrency(mut self, deliveries: usize) -> Self {
        self.concurrency = Some(deliveries);
        self
    }

    /// How many actors it has, and where. Default: [`Instances::PerWorker`] for an
    /// [`EventHandler`](crate::EventHandler) whose concurrency nobody has set, else
    /// [`Instances::One`].
    pub fn instances(mut self, instances: Instances) -> Self {
        self.instances = Some(instances);
        self
    }

    /// Handles the events of one [`key`](crate::Event::key) one after the other, in the order in
    /// which they were published, and those of different keys at the same time, as far as
    /// [`concurrency`](Self::concurrency) allows. Events without a key are in no order.
    pub fn ordered_by_key(mut self) -> Self {
        self.ordered_by_key = Some(true);
        self
    }

    /// A dead letter parks its key: later events of the key become dead letters too, untried, until
    /// the first one was replayed or discarded. So no event of a key is handled before one that
    /// came earlier. Needs [`ordered_by_key`](Self::ordered_by_key).
    pub fn parks_key(mut self) -> Self {
        self.parks_key = Some(true);
        self
    }

    /// The place in the line of handlers of one event: the highest gets the event, the next one
    /// only when it declines. Without a priority a handler always gets its own copy.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Joins a consumer group: of all members of one name, one gets each event. Events with a
    /// [`key`](crate::Event::key) go to the same member as long as it takes events, the others in
    /// turn.
    pub fn group(mut self, name: impl Into<Arc<str>>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// How old an event may be when it is taken into work; an older one is dropped, counted as
    /// `expired`, and a requester is told. Default: it does not age.
    pub fn ttl(mut self, age: Duration) -> Self {
        self.ttl = Some(age);
        self
    }

    /// How long one attempt may take; then its future is dropped. Default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long an attempt may take before the watchdog reports it as stuck, by name and trace; it
    /// also sees a handler that keeps its thread and so outlives its own timeout. Default 10 s.
    pub fn stuck_after(mut self, limit: Duration) -> Self {
        self.stuck_after = Some(limit);
        self
    }

    /// How many times a delivery is tried before it has failed. Default 1.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = Some(attempts);
        self
    }

    /// The longest pause before the second attempt, which doubles for each further one, and the
    /// limit of the doubled pause. Default 100 ms and 10 s.
    pub fn retry_delay(mut self, first: Duration, max: Duration) -> Self {
        self.retry_delay = Some(first);
        self.retry_delay_max = Some(max);
        self
    }

    /// How many times a delivery is tried when it fails in this way, instead of
    /// [`attempts_max`](Self::attempts_max).
    pub fn attempts_for(mut self, failure: Failure, attempts: u32) -> Self {
        self.attempts_for.push((failure, attempts));
        self
    }

    /// How the pause between attempts is drawn. Default [`Jitter::Full`].
    pub fn retry_jitter(mut self, jitter: Jitter) -> Self {
        self.retry_jitter = Some(jitter);
        self
    }

    /// No attempt begins later than this after the first one began. Default: no limit but the
    /// requester's deadline.
    pub fn retry_within(mut self, limit: Duration) -> Self {
        self.retry_within = Some(limit);
        self
    }

    /// How many deliveries may begin in a time; the others wait or are refused. Default: no limit.
    ///
    /// It can be changed while the runtime runs:
    /// [`HandlerHandle::set_rate_limit`](crate::HandlerHandle::set_rate_limit).
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// Shares a number of attempts in work with all that have a clone of the bulkhead. Default:
    /// none.
    pub fn bulkhead(mut self, bulkhead: Bulkhead) -> Self {
        self.bulkhead = Some(bulkhead);
        self
    }

    /// Stops calling a handler that fails again and again, for a while. Default: no breaker.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Handles an event, or the events of one key, once within a window. Default: each delivery is
    /// handled.
    pub fn dedupe(mut self, dedupe: Dedupe) -> Self {
        self.dedupe = Some(dedupe);
        self
    }

    /// Whether the actor is rebuilt after it ended. Default [`Restart::Always`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = Some(restart);
        self
    }

    /// How many restarts within [`restarts_within`](Self::restarts_within) are tolerated; one more
    /// marks the handler down. Default 30.
    pub fn restarts_max(mut self, restarts: u32) -> Self {
        self.restarts_max = Some(restarts);
        self
    }

    /// The window for [`restarts_max`](Self::restarts_max). Default 60 s.
    pub fn restarts_within(mut self, window: Duration) -> Self {
        self.restarts_within = Some(window);
        self
    }

    /// The pause before the first restart, which doubles with each restart that no success came
    /// after, and the limit of the doubled pause. Default 10 ms and 1 s.
    pub fn restart_delay(mut self, first: Duration, max: Duration) -> Self {
        self.restart_delay = Some(first);
        self.restart_delay_max = Some(max);
        self
    }

    /// Gives the handler this many threads of its own, at most 256, because it computes or blocks.
    /// Default: none, it runs on the runtime's thread.
    pub fn blocking(mut self, threads: usize) -> Self {
        self.blocking = Some(threads);
        self
    }

    /// Takes an event only if `predicate` holds: others do not even enter the queue. Several
    /// predicates, of all scopes, must all hold. It is called where the event is published, so it
    /// must be quick; one that panics makes the event a dead letter.
    pub fn when(mut self, predicate: impl Fn(&Envelope) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Arc::new(predicate));
        self
    }

    /// As [`when`](Self::when), for events of one type; those of other types are taken.
    pub fn when_event<E: Event>(
        self,
        predicate: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.when(move |envelope| envelope.event::<E>().is_none_or(&predicate))
    }

    /// Puts a layer around the whole delivery: outside all that this policy does, called once, and
    /// sees the final outcome. The layers of a wider scope are further outside.
    pub fn around_delivery(mut self, layer: impl Layer) -> Self {
        self.around_delivery.push(Arc::new(layer));
        self
    }

    /// Puts a layer around each attempt: inside the timeout, next to the handler. The layers of a
    /// wider scope are further outside.
    pub fn around_attempt(mut self, layer: impl Layer) -> Self {
        self.around_attempt.push(Arc::new(layer));
        self
    }

    /// The values that are set, by name.
    pub(crate) fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = Vec::new();
        macro_rules! plain {
            ($($field:ident),*) => {
                $(if let Some(value) = &self.$field {
                    entries.push((stringify!($field), value.to_string()));
                })*
            };
        }
        macro_rules! debug {
            ($($field:ident),*) => {
                $(if let Some(value) = &self.$field {
                    entries.push((stringify!($field), format!("{value:?}")));
                })*
            };
        }
        plain!(queue_max, overflow, concurrency, instances);
        plain!(ordered_by_key, parks_key, priority, group);
        debug!(ttl, timeout, stuck_after);
        plain!(attempts_max);
        for (failure, attempts) in &self.attempts_for {
            entries.push(("attempts_for", format!("{failure:?}:{attempts}")));
        }
        debug!(retry_delay, retry_delay_max, retry_jitter, retry_within);
        plain!(rate_limit, bulkhead, breaker, dedupe);
        plain!(restart, restarts_max);
        debug!(restarts_within, restart_delay, restart_delay_max);
        plain!(blocking);
        if !self.predicates.is_empty() {
            entries.push(("when", format!("{} predicates", self.predicates.len())));
        }
        let layers =
            [("around_delivery", &self.around_delivery), ("around_attempt", &self.around_attempt)];
        for (name, layers) in layers.into_iter().filter(|(_, layers)| !layers.is_empty()) {
            let layers: Vec<_> = layers.iter().map(|layer| layer.name()).collect();
            entries.push((name, layers.join(",")));
        }
        entries
    }
}

/// The values that are set, as `name=value`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.entries().into_iter().enumerate() {
            let separator = if place == 0 { "" } else { " " };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({self})")
    }
}
