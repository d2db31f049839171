//! Publishes events by the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::SendError;
use actix::{Actor, Addr, Context, Handler, Message};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::chain::{Chain, ChainPlan};
use crate::envelope::Envelope;
use crate::error::PublishError;
use crate::event::Event;
use crate::publish::{Address, Publish};
use crate::router::Router;

/// An event about to be scheduled: say when.
#[must_use = "nothing is scheduled until you say when"]
pub struct Scheduling<E> {
    event: E,
    address: Address,
    scheduler: Addr<Scheduler>,
}

/// A schedule that runs. Dropping the handle does not end it.
#[derive(Clone)]
pub struct Schedule {
    state: Arc<State>,
}

/// Why an event was not scheduled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The interval is zero.
    #[error("`{event}` cannot be published every 0 s")]
    ZeroInterval {
        /// The event's name.
        event: &'static str,
    },
    /// There are as many schedules as the runtime allows.
    #[error("`{event}` was not scheduled: {schedules_max} schedules are the limit")]
    Full {
        /// The event's name.
        event: &'static str,
        /// The limit.
        schedules_max: usize,
    },
    /// The runtime is draining or has stopped.
    #[error("the runtime is shutting down, `{event}` was not scheduled")]
    Shutdown {
        /// The event's name.
        event: &'static str,
    },
}

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    woken: Notify,
    /// Whether the chain of the latest tick still runs.
    running: AtomicBool,
    ticks: AtomicU64,
    skipped: AtomicU64,
}

impl Schedule {
    /// Ends the schedule. A tick that was published goes on.
    pub fn cancel(&self) {
        self.state.cancelled.store(true, Ordering::Release);
        self.state.woken.notify_one();
    }

    /// How many events were published.
    pub fn ticks(&self) -> u64 {
        self.state.ticks.load(Ordering::Acquire)
    }

    /// How many ticks were left out because the chain of an earlier one still ran.
    pub fn skipped(&self) -> u64 {
        self.state.skipped.load(Ordering::Acquire)
    }

    fn is_cancelled(&self) -> bool {
        self.state.cancelled.load(Ordering::Acquire)
    }
}

impl<E: Event> Scheduling<E> {
    pub(crate) fn new(event: E, address: Address, scheduler: Addr<Scheduler>) -> Self {
        Self { event, address, scheduler }
    }

    /// Publishes a copy each `interval`, the first after one interval, until it is cancelled. A tick
    /// is left out, and counted, while the chain of the previous one still runs; ticks that the
    /// process slept through are not made up for.
    ///
    /// # Errors
    /// When `interval` is zero, the limit of schedules is reached, or the runtime is stopping.
    pub fn every(self, interval: Duration) -> Result<Schedule, ScheduleError> {
        if interval.is_zero() {
            return Err(ScheduleError::ZeroInterval { event: E::NAME });
        }
        self.add(interval, Some(interval))
    }

    /// Publishes once, after `delay`.
    ///
    /// # Errors
    /// When the limit of schedules is reached, or the runtime is stopping.
    pub fn after(self, delay: Duration) -> Result<Schedule, ScheduleError> {
        self.add(delay, None)
    }

    fn add(self, first: Duration, then: Option<Duration>) -> Result<Schedule, ScheduleError> {
        let Self { event, address, scheduler } = self;
        let schedule = Schedule { state: Arc::default() };
        let router = Arc::clone(address.router());
        let permit = Arc::clone(&router.schedules).try_acquire_owned();
        let schedules_max = router.limits.schedules_max;
        let permit = permit.map_err(|_| ScheduleError::Full { event: E::NAME, schedules_max })?;
        let publish = move || Publish::new(address.clone(), event.clone());
        let ticking = run(publish, schedule.clone(), Instant::now() + first, then);
        let task = async move {
            ticking.await;
            drop(permit);
        };
        let add = Add { schedule: schedule.clone(), task: Box::pin(task) };
        let event = E::NAME;
        match scheduler.try_send(add) {
            Ok(()) => Ok(schedule),
            Err(SendError::Full(_)) => Err(ScheduleError::Full { event, schedules_max }),
            Err(SendError::Closed(_)) => Err(ScheduleError::Shutdown { event }),
        }
    }
}

async fn run<E: Event>(
    publish: impl Fn() -> Publish<E>,
    schedule: Schedule,
    first: Instant,
    then: Option<Duration>,
) {
    let state = &schedule.state;
    let mut next = first;
    while !schedule.is_cancelled() {
        tokio::select! {
            () = state.woken.notified() => continue,
            () = sleep_until(next) => {}
        }
        if state.running.swap(true, Ordering::AcqRel) {
            state.skipped.fetch_add(1, Ordering::AcqRel);
        } else {
            state.ticks.fetch_add(1, Ordering::AcqRel);
            let ended = Arc::clone(state);
            let track = move |router: &Router, envelope: &Envelope| track(router, envelope, ended);
            tokio::select! {
                () = state.woken.notified() => continue,
                published = publish().tracked(track) => match published {
                    Ok(()) => {}
                    Err(PublishError::Shutdown { .. }) => return,
                    Err(error) => tracing::error!(event = E::NAME, %error, "tick refused"),
                }
            }
        }
        let Some(interval) = then else { return };
        next += interval;
        let now = Instant::now();
        if next <= now {
            next = now + interval;
        }
    }
}

/// A chain that tells when it has ended.
fn track(router: &Router, envelope: &Envelope, ended: Arc<State>) -> Arc<Chain> {
    let plan = ChainPlan {
        requested: envelope.name(),
        wanted: None,
        trace_id: envelope.trace_id(),
        patience: Duration::ZERO,
        phase: Arc::clone(&router.phase),
    };
    Chain::new(plan, Box::new(move |_| ended.running.store(false, Ordering::Release)))
}

/// Runs a schedule.
struct Add {
    schedule: Schedule,
    task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Message for Add {
    type Result = ();
}

/// Cancels all schedules; none can be added after.
pub(crate) struct StopSchedules;

impl Message for StopSchedules {
    type Result = ();
}

/// The actor that holds the schedules.
pub(crate) struct Scheduler {
    schedules: Vec<(Schedule, tokio::task::JoinHandle<()>)>,
    max: usize,
}

impl Scheduler {
    pub(crate) fn new(schedules_max: usize) -> Self {
        Self { schedules: Vec::new(), max: schedules_max }
    }
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.max);
    }
}

impl Handler<Add> for Scheduler {
    type Result = ();

    fn handle(&mut self, Add { schedule, task }: Add, _: &mut Context<Self>) {
        self.schedules.retain(|(_, task)| !task.is_finished());
        self.schedules.push((schedule, actix_rt::spawn(task)));
    }
}

impl Handler<StopSchedules> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: StopSchedules, ctx: &mut Context<Self>) {
        for (schedule, _) in &self.schedules {
            schedule.cancel();
        }
        actix::ActorContext::stop(ctx);
    }
}
