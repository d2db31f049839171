//! How the policies of several scopes become the one that a handler lives by, and what can be wrong
//! with it.

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{millis, secs};
use crate::layer::retry::{Jitter, RetryRules};
use crate::policy::{Instances, Overflow, Policy, Restart, RestartRules, Rules};

/// The most threads that one blocking handler may have.
const THREADS_MAX: usize = 256;

impl Policy {
    /// What is used where no scope says otherwise.
    pub(crate) fn built_in() -> Self {
        Self::default()
            .queue_max(1024)
            .overflow(Overflow::Wait)
            .timeout(secs(30))
            .stuck_after(secs(10))
            .attempts_max(1)
            .retry_delay(millis(100), secs(10))
            .retry_jitter(Jitter::Full)
            .restart(Restart::Always)
            .restarts_max(30)
            .restarts_within(secs(60))
            .restart_delay(millis(10), secs(1))
    }

    /// This policy, completed by a wider one.
    pub(crate) fn or(self, wider: &Self) -> Self {
        macro_rules! merged {
            ($($field:ident),*) => {
                Self {
                    $($field: self.$field.or_else(|| wider.$field.clone()),)*
                    attempts_for: join(&wider.attempts_for, self.attempts_for),
                    predicates: join(&wider.predicates, self.predicates),
                    around_delivery: join(&wider.around_delivery, self.around_delivery),
                    around_attempt: join(&wider.around_attempt, self.around_attempt),
                }
            };
        }
        merged!(
            queue_max,
            overflow,
            concurrency,
            instances,
            ordered_by_key,
            parks_key,
            priority,
            group,
            ttl,
            timeout,
            stuck_after,
            attempts_max,
            retry_delay,
            retry_delay_max,
            retry_jitter,
            retry_within,
            rate_limit,
            bulkhead,
            breaker,
            dedupe,
            restart,
            restarts_max,
            restarts_within,
            restart_delay,
            restart_delay_max,
            blocking
        )
    }

    /// Whether a handler behaves alike by both: what has a state, or is code, is the same one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        macro_rules! equal {
            ($($field:ident),*) => { $(self.$field == other.$field)&&* };
        }
        let bulkhead = match (&self.bulkhead, &other.bulkhead) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        bulkhead
            && equal!(queue_max, overflow, concurrency, instances, ordered_by_key, parks_key)
            && equal!(priority, group)
            && equal!(ttl, timeout, stuck_after, attempts_max, attempts_for, retry_delay)
            && equal!(retry_delay_max, retry_jitter, retry_within, rate_limit, breaker, dedupe)
            && equal!(restart, restarts_max, restarts_within, restart_delay, restart_delay_max)
            && equal!(blocking)
            && are_same(&self.predicates, &other.predicates)
            && are_same(&self.around_delivery, &other.around_delivery)
            && are_same(&self.around_attempt, &other.around_attempt)
    }

    /// Every value decided, by this policy or by the built-in one.
    pub(crate) fn rules(&self) -> Rules {
        let Self { overflow, restart, .. } = *self;
        let duration = |value: Option<Duration>| value.unwrap_or_default();
        Rules {
            queue_max: self.queue_max.unwrap_or_default(),
            overflow: overflow.unwrap_or_default(),
            concurrency: self.concurrency.unwrap_or(1),
            instances: self.instances.unwrap_or_default(),
            ordered_by_key: self.ordered_by_key.unwrap_or_default(),
            parks_key: self.parks_key.unwrap_or_default(),
            priority: self.priority,
            group: self.group.clone(),
            ttl: self.ttl,
            timeout: duration(self.timeout),
            stuck_after: duration(self.stuck_after),
            retry: RetryRules {
                attempts_max: self.attempts_max.unwrap_or(1),
                rules: self.attempts_for.clone(),
                delay: duration(self.retry_delay),
                delay_max: duration(self.retry_delay_max),
                jitter: self.retry_jitter.unwrap_or_default(),
                within: self.retry_within,
            },
            restart: RestartRules {
                restart: restart.unwrap_or_default(),
                max: self.restarts_max.unwrap_or_default(),
                within: duration(self.restarts_within),
                delay: duration(self.restart_delay),
                delay_max: duration(self.restart_delay_max),
            },
            blocking: self.blocking,
        }
    }

    /// What is wrong with the values, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let zero = |limit: Option<Duration>| limit == Some(Duration::ZERO);
        let odd = |threads| threads == 0 || threads > THREADS_MAX;
        let odd_threads =
            |instances| matches!(instances, Instances::Threads(threads) if odd(threads));
        let never = self.attempts_for.iter().any(|(_, attempts)| *attempts == 0);
        let own = [
            (self.queue_max == Some(0), "queue_max is 0: a queue needs room for one event"),
            (self.concurrency == Some(0), "concurrency is 0: nothing would ever be handled"),
            (self.attempts_max == Some(0), "attempts_max is 0: nothing would ever be tried"),
            (never, "attempts_for a failure is 0: the attempt that failed is one"),
            (zero(self.timeout), "timeout is 0: every delivery would fail"),
            (zero(self.ttl), "ttl is 0: every event would be too old"),
            (zero(self.stuck_after), "stuck_after is 0: every delivery would be reported"),
            (self.blocking.is_some_and(odd), "blocking needs 1 to 256 threads"),
            (self.instances.is_some_and(odd_threads), "instances on threads need 1 to 256 of them"),
        ];
        own.into_iter()
            .find_map(|(is_wrong, reason)| is_wrong.then_some(reason))
            .or_else(|| self.rate_limit.as_ref()?.fault())
            .or_else(|| self.bulkhead.as_ref()?.fault())
            .or_else(|| self.breaker.as_ref()?.fault())
            .or_else(|| self.dedupe.as_ref()?.fault())
    }

    /// What is wrong with values that come from different scopes.
    pub(crate) fn merged_fault(&self) -> Option<&'static str> {
        if self.parks_key == Some(true) && self.ordered_by_key != Some(true) {
            Some("parks_key needs ordered_by_key")
        } else if self.group.is_some() && self.priority.is_some() {
            Some("a handler in a group cannot stand in line too: leave out group or priority")
        } else {
            None
        }
    }
}

fn are_same<T: ?Sized>(one: &[Arc<T>], other: &[Arc<T>]) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.all(|(a, b)| ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b)))
}

fn join<T: Clone>(wider: &[T], narrower: Vec<T>) -> Vec<T> {
    let mut all = wider.to_vec();
    all.extend(narrower);
    all
}
