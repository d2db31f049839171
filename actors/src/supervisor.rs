//! The supervisor of one domain: starts its handlers' hosts, decides what happens when an actor
//! ends, and stops the hosts in reverse order.

use std::collections::BTreeMap;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, ResponseFuture,
    WrapFuture,
};
use futures_util::future::try_join_all;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::bell::{Bell, Call};
use crate::error::panic_text;
use crate::metrics::HandlerStatus;
use crate::policy::Restart;
use crate::seat::Seat;

mod strategy;
pub use strategy::Strategy;
mod history;
use history::History;
pub(crate) use history::{End, Verdict};
mod escalation;
pub use escalation::Escalation;
use escalation::{Ladder, Step};
mod round;
use round::{Cue, Round, Ticket};
mod message;
pub(crate) use message::{
    AddBranch, Answer, Branch, Child, Ended, Hire, StartChild, StopAll, StopChild,
};

/// Told the name of each handler that goes down.
pub(crate) type OnDown = Option<Arc<dyn Fn(&str) + Send + Sync>>;

/// What a supervisor is made from.
pub(crate) struct Regime {
    pub(crate) domain: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) escalation: Escalation,
    pub(crate) on_down: OnDown,
}

/// How long a host may take to end when the runtime stops, or its actors when they are recalled:
/// their `stopped` hooks.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Supervisor {
    regime: Regime,
    /// By the number of the seat, which is the order of mounting.
    members: BTreeMap<u64, Member>,
    ladder: Ladder,
    round: Round,
}

/// A handler of the domain.
struct Member {
    seat: Arc<Seat>,
    bell: Arc<Bell>,
    /// `None` once somebody waits for its end.
    task: Option<JoinHandle<()>>,
    /// Most never have any.
    trouble: Option<Box<Trouble>>,
    branches: Vec<Branch>,
    /// The verdict that ended it.
    gone: Option<HandlerStatus>,
}

/// The ends of a handler's actors.
#[derive(Default)]
struct Trouble {
    history: History,
    /// Its actors that ended and wait for an answer.
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Member {
    /// Whether none of its actors is alive.
    fn has_ended(&mut self) -> bool {
        self.branches.retain_mut(|branch| branch.ended.try_recv() == Err(TryRecvError::Empty));
        self.waiting() >= self.seat.rules.threads().unwrap_or(1) + self.branches.len()
    }

    /// Calls all its hosts.
    fn ring(&self, call: Call) {
        self.bell.ring(call);
        self.branches.iter().for_each(|branch| branch.bell.ring(call));
    }

    /// How many of its actors wait for an answer.
    fn waiting(&self) -> usize {
        self.trouble.as_ref().map_or(0, |trouble| trouble.waiting.len())
    }

    fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    fn answer_all(&mut self, verdict: Verdict) {
        for reply in self.trouble().waiting.drain(..) {
            // An actor that is retired does not wait for the answer.
            let _ = reply.send(Answer::only(verdict));
        }
    }
}

impl Supervisor {
    pub(crate) fn new(regime: Regime) -> Self {
        Self {
            regime,
            members: BTreeMap::new(),
            ladder: Ladder::default(),
            round: Round::default(),
        }
    }

    /// Decides about an actor that ended: answers, or keeps the reply until it is to be rebuilt.
    fn judge(&mut self, id: u64, end: &End, reply: oneshot::Sender<Answer>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.trouble().waiting.push(reply);
        if let Some(status) = member.gone {
            member.answer_all(Verdict::GiveUp(status));
            self.round.leave(id);
            return;
        }
        if self.round.is_stopping(id) {
            if member.has_ended() {
                self.round.ended(id);
            }
            return;
        }
        let counters = &member.seat.counters;
        let successes = counters.processed().saturating_sub(counters.errors.load(Relaxed));
        let rules = Arc::clone(&member.seat.rules);
        let history = &mut member.trouble().history;
        let verdict = history.decide(&rules.restart, end, successes, Instant::now());
        let never = rules.restart.restart == Restart::Never;
        match verdict {
            Verdict::RestartAfter(delay) => self.restart(id, end, delay),
            Verdict::GiveUp(HandlerStatus::Down) if !never => self.escalate(id),
            Verdict::GiveUp(status) => self.give_up(id, status),
        }
    }

    fn restart(&mut self, id: u64, end: &End, delay: Duration) {
        let strategy = self.regime.strategy;
        let Some(member) = self.members.get_mut(&id) else { return };
        tracing::warn!(handler = %member.seat.handler, ?end, ?delay, "handler restarts");
        if strategy != Strategy::OneForOne && matches!(end, End::Panicked(_)) {
            self.call(id, delay, |other, restart| strategy.rebuilds(other, id, restart));
        } else {
            self.round.leave(id);
            member.seat.counters.restarts.fetch_add(1, Relaxed);
            member.answer_all(Verdict::RestartAfter(delay));
        }
    }

    /// Begins to rebuild the handlers that are called, among them this one.
    fn call(&mut self, id: u64, pause: Duration, is_called: impl Fn(u64, Restart) -> bool) {
        let members = self.members.iter();
        let called = members.filter(|(other, member)| {
            member.gone.is_none() && is_called(**other, member.seat.rules.restart.restart)
        });
        self.round.call(called.map(|(id, _)| *id), pause);
        if self.members.get_mut(&id).is_some_and(Member::has_ended) {
            self.round.ended(id);
        }
    }

    /// A handler is beyond its limits.
    fn escalate(&mut self, id: u64) {
        let Some(member) = self.members.get(&id) else { return };
        let domain = Arc::clone(&self.regime.domain);
        let handler = Arc::clone(&member.seat.handler);
        match self.ladder.decide(self.regime.escalation, Instant::now()) {
            Step::HandlerDown => self.give_up(id, HandlerStatus::Down),
            Step::RestartDomain(pause) => {
                tracing::warn!(%domain, %handler, ?pause, "beyond its limits, its domain restarts");
                for trouble in self.members.values_mut().filter_map(|m| m.trouble.as_mut()) {
                    trouble.history = History::default();
                }
                self.call(id, pause, |other, restart| other == id || restart != Restart::Never);
            }
            Step::DomainDown => {
                tracing::error!(%domain, %handler, "beyond its limits, its domain is down");
                self.call(id, Duration::ZERO, |_, _| true);
                for id in self.members.keys().copied().collect::<Vec<_>>() {
                    self.mark_gone(id, HandlerStatus::Down);
                }
            }
        }
    }

    fn give_up(&mut self, id: u64, status: HandlerStatus) {
        let Some(member) = self.members.get(&id) else { return };
        let handler = &*member.seat.handler;
        if status == HandlerStatus::Down {
            tracing::error!(handler, "handler is down, its policy allows no restart");
        } else {
            tracing::debug!(handler, "handler ended");
        }
        self.mark_gone(id, status);
    }

    /// Nothing of the handler is built again. Those of its actors that are alive learn it when they
    /// end.
    fn mark_gone(&mut self, id: u64, status: HandlerStatus) {
        let Some(member) = self.members.get_mut(&id).filter(|member| member.gone.is_none()) else {
            return;
        };
        member.gone = Some(status);
        // Before the hook, which may look at it.
        member.seat.set_status(status);
        if member.waiting() > 0 {
            member.answer_all(Verdict::GiveUp(status));
            self.round.leave(id);
        }
        if !member.branches.is_empty() {
            member.ring(Call::Quit);
        }
        if status == HandlerStatus::Down
            && let Some(on_down) = &self.regime.on_down
        {
            let handler = &*member.seat.handler;
            let told = catch_unwind(AssertUnwindSafe(|| on_down(handler)));
            if let Err(panic) = told {
                let panic = panic_text(&*panic);
                tracing::error!(handler, panic, "the hook for handlers that go down panicked");
            }
        }
    }

    /// Does what the round says, until it waits for something.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        while let Some(cue) = self.round.next() {
            match cue {
                Cue::Recall(seat_id, ticket) => self.recall(seat_id, ticket, ctx),
                Cue::Pause(pause, ticket) => {
                    let pause = sleep(pause).into_actor(self).map(move |(), act, ctx| {
                        act.round.pause_is_over(ticket);
                        act.go_on(ctx);
                    });
                    ctx.spawn(pause);
                }
                Cue::Release(seat_id) => self.release(seat_id, ctx),
            }
        }
    }

    fn recall(&mut self, seat_id: u64, ticket: Ticket, ctx: &mut Context<Self>) {
        let Some(member) = self.members.get(&seat_id) else {
            return self.round.leave(seat_id);
        };
        let handler = Arc::clone(&member.seat.handler);
        member.ring(Call::Recall);
        let too_late = sleep(RETIRE_TIMEOUT).into_actor(self).map(move |(), act, ctx| {
            if act.round.give_up_on(seat_id, ticket) {
                tracing::warn!(%handler, "handler does not stop in time, it is rebuilt later");
                if let Some(member) = act.members.get_mut(&seat_id) {
                    member.answer_all(Verdict::RestartAfter(Duration::ZERO));
                }
                act.go_on(ctx);
            }
        });
        ctx.spawn(too_late);
    }

    fn release(&mut self, seat_id: u64, ctx: &mut Context<Self>) {
        let Some(member) = self.members.get_mut(&seat_id) else {
            return self.round.leave(seat_id);
        };
        member.seat.counters.restarts.fetch_add(1, Relaxed);
        let verdict = Verdict::RestartAfter(Duration::ZERO);
        let mut begun = Vec::new();
        for reply in member.trouble().waiting.drain(..) {
            let (started, has_started) = oneshot::channel();
            begun.push(has_started);
            // An actor that is retired does not wait for the answer.
            let _ = reply.send(Answer { verdict, started: Some(started) });
        }
        // An actor that did not start reports its end, so nothing is to be done about it here.
        let started = try_join_all(begun).into_actor(self).map(move |started, act, ctx| {
            if started.is_ok() {
                act.round.risen(seat_id);
                act.go_on(ctx);
            }
        });
        ctx.spawn(started);
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;
}

impl Handler<StartChild> for Supervisor {
    type Result = ();

    fn handle(&mut self, StartChild(hire): StartChild, ctx: &mut Context<Self>) {
        let Child { seat, bell, task } = hire(&ctx.address());
        let id = seat.id;
        let (task, branches) = (Some(task), Vec::new());
        let member = Member { seat, bell, task, trouble: None, branches, gone: None };
        self.members.insert(id, member);
    }
}

impl Handler<AddBranch> for Supervisor {
    type Result = bool;

    fn handle(&mut self, add: AddBranch, _: &mut Context<Self>) -> bool {
        let member = self.members.get_mut(&add.seat_id);
        let member = member.filter(|member| member.task.is_some() && member.gone.is_none());
        member.map(|member| member.branches.push(add.branch)).is_some()
    }
}

impl Handler<Ended> for Supervisor {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, ended: Ended, ctx: &mut Context<Self>) -> Self::Result {
        let Ended { seat, end, is_logged } = ended;
        if let End::Panicked(panic) = &end
            && !is_logged.load(Relaxed)
        {
            tracing::error!(handler = %seat.handler, panic, "handler panicked");
        }
        let (reply, answer) = oneshot::channel();
        if self.members.contains_key(&seat.id) {
            self.judge(seat.id, &end, reply);
            self.go_on(ctx);
        }
        Box::pin(async { answer.await.unwrap_or_else(|_| Answer::of_nobody()) })
    }
}

impl Handler<StopChild> for Supervisor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, StopChild { seat_id }: StopChild, _: &mut Context<Self>) -> Self::Result {
        let member = self.members.get_mut(&seat_id);
        let (task, branches) = member
            .map(|member| (member.task.take(), take(&mut member.branches)))
            .unwrap_or_default();
        let ended = async move {
            if let Some(task) = task {
                // The host ends by itself when its closed queue is empty.
                let _ = task.await;
            }
            for Branch { bell, ended } in branches {
                bell.ring(Call::Quit);
                // Its end is the answer.
                let _ = ended.await;
            }
        };
        Box::pin(ended.into_actor(self).map(move |(), act, ctx| {
            act.members.remove(&seat_id);
            act.round.leave(seat_id);
            act.go_on(ctx);
        }))
    }
}

impl Handler<StopAll> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopAll, _: &mut Context<Self>) -> Self::Result {
        let members = take(&mut self.members);
        self.round = Round::default();
        Box::pin(async move {
            for member in members.into_values().rev() {
                member.ring(Call::Retire);
                for branch in member.branches {
                    // One that does not end in time is left to the end of its thread.
                    let _ = timeout(RETIRE_TIMEOUT, branch.ended).await;
                }
                let Some(mut task) = member.task else { continue };
                if timeout(RETIRE_TIMEOUT, &mut task).await.is_err() {
                    tracing::warn!(handler = %member.seat.handler, "handler did not stop in time");
                    task.abort();
                }
            }
        })
    }
}
