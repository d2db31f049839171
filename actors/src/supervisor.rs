//! The supervisor of one domain: starts its handlers' hosts, decides what happens when an actor
//! ends, and stops the hosts in reverse order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, ResponseFuture};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::layer::retry::doubled;
use crate::metrics::HandlerStatus;
use crate::policy::{Restart, RestartRules};
use crate::seat::Seat;

/// How an actor's life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It stopped its own context.
    Stopped,
    /// It, or a delivery to it, panicked.
    Panicked(String),
    /// It was told to stop.
    Retired,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    RestartAfter(Duration),
    GiveUp(HandlerStatus),
}

/// A host reports that an actor ended, and asks what to do.
pub(crate) struct Ended {
    pub(crate) seat: Arc<Seat>,
    pub(crate) end: End,
}

impl Message for Ended {
    type Result = Verdict;
}

/// Starts a host; it is given the supervisor's address.
pub(crate) struct StartChild(pub(crate) Hire);

/// What starts the host of a handler, whatever the type of its actor.
pub(crate) type Hire = Box<dyn FnOnce(&Addr<Supervisor>) -> Child + Send>;

impl Message for StartChild {
    type Result = ();
}

/// Stops one host after it has handled what waits in its closed queue.
pub(crate) struct StopChild {
    pub(crate) seat_id: u64,
}

impl Message for StopChild {
    type Result = ();
}

/// Stops all hosts now, the last one first.
pub(crate) struct StopAll;

impl Message for StopAll {
    type Result = ();
}

/// A host at work.
pub(crate) struct Child {
    pub(crate) seat: Arc<Seat>,
    pub(crate) retire: Arc<Notify>,
    pub(crate) task: JoinHandle<()>,
}

/// How long a host may take to end when the runtime stops: its actors' `stopped` hooks.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Supervisor {
    children: Vec<Child>,
    histories: HashMap<u64, History>,
}

impl Supervisor {
    pub(crate) fn new() -> Self {
        Self { children: Vec::new(), histories: HashMap::new() }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;
}

impl Handler<StartChild> for Supervisor {
    type Result = ();

    fn handle(&mut self, StartChild(hire): StartChild, ctx: &mut Context<Self>) {
        self.children.push(hire(&actix::AsyncContext::address(ctx)));
    }
}

impl Handler<Ended> for Supervisor {
    type Result = MessageResult<Ended>;

    fn handle(&mut self, Ended { seat, end }: Ended, _: &mut Context<Self>) -> Self::Result {
        let counters = &seat.counters;
        let successes = counters.processed.load(Relaxed) - counters.errors.load(Relaxed);
        let history = self.histories.entry(seat.id).or_default();
        let verdict = history.decide(&seat.rules.restart, &end, successes, Instant::now());
        let handler = &*seat.handler;
        match verdict {
            Verdict::RestartAfter(delay) => {
                counters.restarts.fetch_add(1, Relaxed);
                tracing::warn!(handler, ?end, ?delay, "handler restarts");
            }
            Verdict::GiveUp(HandlerStatus::Down) => {
                tracing::error!(handler, ?end, "handler is down, its policy allows no restart");
            }
            Verdict::GiveUp(_) => tracing::debug!(handler, ?end, "handler ended"),
        }
        MessageResult(verdict)
    }
}

impl Handler<StopChild> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, StopChild { seat_id }: StopChild, _: &mut Context<Self>) -> Self::Result {
        self.histories.remove(&seat_id);
        let place = self.children.iter().position(|child| child.seat.id == seat_id);
        let child = place.map(|place| self.children.remove(place));
        Box::pin(async move {
            if let Some(child) = child {
                // The host ends by itself when its closed queue is empty.
                let _ = child.task.await;
            }
        })
    }
}

impl Handler<StopAll> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopAll, _: &mut Context<Self>) -> Self::Result {
        let children = std::mem::take(&mut self.children);
        Box::pin(async move {
            for mut child in children.into_iter().rev() {
                child.retire.notify_one();
                if timeout(RETIRE_TIMEOUT, &mut child.task).await.is_err() {
                    tracing::warn!(handler = %child.seat.handler, "handler did not stop in time");
                    child.task.abort();
                }
            }
        })
    }
}

/// When a handler was restarted, and how many times in a row nothing succeeded in between.
#[derive(Default)]
struct History {
    restarts: VecDeque<Instant>,
    in_row: u32,
    successes: u64,
}

impl History {
    fn decide(&mut self, rules: &RestartRules, end: &End, successes: u64, now: Instant) -> Verdict {
        match (end, rules.restart) {
            (End::Retired, _) => return Verdict::GiveUp(HandlerStatus::Ended),
            (End::Stopped, Restart::OnFailure | Restart::Never) => {
                return Verdict::GiveUp(HandlerStatus::Ended);
            }
            (End::Panicked(_), Restart::Never) => return Verdict::GiveUp(HandlerStatus::Down),
            (End::Stopped, Restart::Always)
            | (End::Panicked(_), Restart::Always | Restart::OnFailure) => {}
        }
        while let Some(first) = self.restarts.front()
            && now.duration_since(*first) >= rules.within
        {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= rules.max as usize {
            return Verdict::GiveUp(HandlerStatus::Down);
        }
        self.restarts.push_back(now);
        self.in_row = if successes > self.successes { 1 } else { self.in_row + 1 };
        self.successes = successes;
        Verdict::RestartAfter(doubled(rules.delay, self.in_row, rules.delay_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{millis, secs};
    use crate::policy::Policy;

    fn rules(policy: Policy) -> RestartRules {
        policy.or(&Policy::built_in()).rules().restart
    }

    fn panicked() -> End {
        End::Panicked("boom".into())
    }

    #[actix::test]
    async fn the_pause_doubles_until_something_succeeds() {
        let rules = rules(Policy::default().restart_delay(millis(10), millis(50)));
        let (mut history, now) = (History::default(), Instant::now());
        let mut pause = |successes| history.decide(&rules, &panicked(), successes, now);
        for expected in [10, 20, 40, 50, 50] {
            assert_eq!(pause(0), Verdict::RestartAfter(millis(expected)));
        }
        assert_eq!(pause(1), Verdict::RestartAfter(millis(10)));
    }

    #[actix::test]
    async fn the_limit_counts_within_its_window_only() {
        let rules = rules(Policy::default().restarts_max(2).restarts_within(secs(10)));
        let (mut history, start) = (History::default(), Instant::now());
        let mut at = |s| history.decide(&rules, &panicked(), 0, start + secs(s));
        assert!(matches!(at(0), Verdict::RestartAfter(_)));
        assert!(matches!(at(1), Verdict::RestartAfter(_)));
        assert!(matches!(at(11), Verdict::RestartAfter(_)), "both are out of the window");
        assert!(matches!(at(12), Verdict::RestartAfter(_)));
        assert_eq!(at(13), Verdict::GiveUp(HandlerStatus::Down));
    }

    #[actix::test]
    async fn the_truth_table_of_restart() {
        use HandlerStatus::{Down, Ended};
        let decide = |restart, end: End| {
            let rules = rules(Policy::default().restart(restart));
            History::default().decide(&rules, &end, 0, Instant::now())
        };
        assert!(matches!(decide(Restart::Always, panicked()), Verdict::RestartAfter(_)));
        assert!(matches!(decide(Restart::Always, End::Stopped), Verdict::RestartAfter(_)));
        assert!(matches!(decide(Restart::OnFailure, panicked()), Verdict::RestartAfter(_)));
        assert_eq!(decide(Restart::OnFailure, End::Stopped), Verdict::GiveUp(Ended));
        assert_eq!(decide(Restart::Never, panicked()), Verdict::GiveUp(Down));
        assert_eq!(decide(Restart::Never, End::Stopped), Verdict::GiveUp(Ended));
    }
}
