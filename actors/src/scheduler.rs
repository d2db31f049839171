//! Publishes events by the clock: a plan enters, ticks and what is told of them leave.

mod missed;
pub use missed::Missed;
mod info;
pub use info::ScheduleInfo;
mod cron;
mod plan;
mod ticker;
mod timeline;
mod entry;
mod list;
pub(crate) use list::Schedules;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::prelude::SendError;
use actix::{Actor, Addr, Context, Handler, Message};
use tokio::time::Instant;

use crate::chain::{Chain, ChainPlan};
use crate::clock::to_rfc3339;
use crate::envelope::Envelope;
use crate::error::PublishError;
use crate::event::Event;
use crate::observed::Observed;
use crate::publish::{Address, Publish};
use crate::router::Router;
use cron::Cron;
use entry::{End, Entry, Progress, PublishTick, Running, Title};
use list::Refused;
use plan::Plan;
use ticker::Ticker;
use timeline::{Timeline, since_epoch};

/// An event about to be scheduled: say when.
///
/// A tick is left out, and counted, while the chain of an earlier one still runs, unless they may
/// [overlap](Self::overlapping). What happens to ticks that could not be published in time is said
/// by [`missed`](Self::missed).
#[must_use = "nothing is scheduled until you say when"]
pub struct Scheduling<E> {
    event: E,
    address: Address,
    scheduler: Addr<Scheduler>,
    list: Arc<Schedules>,
    name: Option<String>,
    may_overlap: bool,
    missed: Missed,
}

/// A handle to a schedule. Dropping it does not end the schedule.
#[derive(Clone)]
pub struct Schedule {
    entry: Arc<Entry>,
    list: Arc<Schedules>,
}

/// What became of [`Schedule::run_now`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ran {
    /// The event was published.
    Published,
    /// The tick was left out, and counted as skipped: the chain of an earlier one still runs.
    StillRunning,
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
    /// The cron expression or its time zone is wrong, or it never fires.
    #[error("`{event}` was not scheduled: {reason}")]
    BadCron {
        /// The event's name.
        event: &'static str,
        /// What is wrong and what to write.
        reason: String,
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

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schedule").field(&self.info()).finish()
    }
}

impl Schedule {
    pub(crate) fn new(entry: Arc<Entry>, list: Arc<Schedules>) -> Self {
        Self { entry, list }
    }

    /// Publishes a tick at once, beside the plan; ready when each handler's queue has taken it. It
    /// does so for a schedule that has ended, too.
    ///
    /// # Errors
    /// As for publishing.
    ///
    /// # Cancel safety
    /// As for [`Publish`].
    pub async fn run_now(&self) -> Result<Ran, PublishError> {
        match self.entry.tick() {
            Some(publishing) => publishing.await.map(|()| Ran::Published),
            None => Ok(Ran::StillRunning),
        }
    }

    /// Ends the schedule and takes it off the list. A tick that was published goes on; one that
    /// waits for room is given up.
    pub fn cancel(&self) {
        self.entry.end.cancel();
        self.list.remove(self.entry.id);
    }

    /// How it stands.
    pub fn info(&self) -> ScheduleInfo {
        self.entry.info()
    }

    /// How many ticks were published, those that were refused included.
    pub fn ticks(&self) -> u64 {
        self.entry.progress.figures().ticks
    }

    /// How many ticks were left out because the chain of an earlier one still ran.
    pub fn skipped(&self) -> u64 {
        self.entry.progress.figures().skipped
    }

    /// How many ticks were not made up for when their time had gone by.
    pub fn missed(&self) -> u64 {
        self.entry.progress.figures().missed
    }
}

impl<E: Event> Scheduling<E> {
    pub(crate) fn new(
        event: E,
        address: Address,
        scheduler: Addr<Scheduler>,
        list: Arc<Schedules>,
    ) -> Self {
        let (name, may_overlap, missed) = (None, false, Missed::default());
        Self { event, address, scheduler, list, name, may_overlap, missed }
    }

    /// Names the schedule, for [`Bus::find_schedule`](crate::Bus::find_schedule) and for people.
    /// Default: the event's name. Several may have the same.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Publishes each tick, also while the chain of an earlier one still runs.
    pub fn overlapping(mut self) -> Self {
        self.may_overlap = true;
        self
    }

    /// Sets what happens to ticks whose time went by. Default [`Missed::Skip`].
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Publishes a copy each `interval`, the first after one interval, until it is cancelled. It
    /// counts the time that passes: setting the clock does not concern it, and while the machine is
    /// suspended the time may stand still.
    ///
    /// # Errors
    /// When `interval` is zero, the limit of schedules is reached, or the runtime is stopping.
    pub fn every(self, interval: Duration) -> Result<Schedule, ScheduleError> {
        if interval.is_zero() {
            return Err(ScheduleError::ZeroInterval { event: E::NAME });
        }
        let timeline = Timeline::Passing(Instant::now());
        self.add(format!("every {interval:?}"), timeline, Plan::Every(interval))
    }

    /// Publishes once, after `delay`, in time that passes as for [`every`](Self::every).
    ///
    /// # Errors
    /// When the limit of schedules is reached, or the runtime is stopping.
    pub fn after(self, delay: Duration) -> Result<Schedule, ScheduleError> {
        let timeline = Timeline::Passing(Instant::now());
        self.add(format!("after {delay:?}"), timeline, Plan::Once(delay))
    }

    /// Publishes once, when the wall clock shows `time`; at once when that is past. When the clock
    /// is set, or the machine was suspended, that is noticed within 60 s.
    ///
    /// # Errors
    /// When the limit of schedules is reached, or the runtime is stopping.
    pub fn at(self, time: SystemTime) -> Result<Schedule, ScheduleError> {
        let spec = format!("at {}", to_rfc3339(time));
        self.add(spec, Timeline::Wall, Plan::Once(since_epoch(time)))
    }

    #[doc = include_str!("docs/cron.md")]
    pub fn cron(self, expression: &str) -> Result<Schedule, ScheduleError> {
        let now = Timeline::Wall.now(&self.address.router().clock);
        let cron = Cron::parse(expression, now);
        let cron = cron.map_err(|reason| ScheduleError::BadCron { event: E::NAME, reason })?;
        self.add(format!("cron {}", cron.text()), Timeline::Wall, Plan::Cron(Box::new(cron)))
    }

    fn add(self, spec: String, timeline: Timeline, plan: Plan) -> Result<Schedule, ScheduleError> {
        let Self { event, address, scheduler, list, name, may_overlap, missed } = self;
        let router = Arc::clone(address.router());
        if !router.is_running() {
            return Err(ScheduleError::Shutdown { event: E::NAME });
        }
        let event = Arc::new(event);
        let scheduled = Arc::clone(&event);
        let ticker = Ticker::new(plan, missed, timeline.now(&router.clock));
        let progress = Arc::<Progress>::default();
        progress.plan_next(ticker.next(), 0);
        let publish: PublishTick = Box::new(move |running| {
            let publish = Publish::new(address.clone(), E::clone(&event));
            let track =
                move |router: &Router, envelope: &Envelope| track(router, envelope, running);
            Box::pin(publish.tracked(track))
        });
        let (name, event) = (name.unwrap_or_else(|| E::NAME.to_owned()), E::NAME);
        let title = Title { name, event, spec: spec.clone(), may_overlap };
        let end = End::default();
        let added = list
            .add({
                let router = Arc::clone(&router);
                move |id| Entry { id, title, timeline, router, publish, progress, end }
            })
            .map_err(|refused| refused_error(event, refused))?;
        let (entry, listed) = added;
        let ticking = run(Arc::clone(&entry), ticker);
        let task = async move {
            ticking.await;
            drop(listed);
        };
        match scheduler.try_send(Add { task: Box::pin(task) }) {
            Ok(()) => {
                let (name, event) = (E::NAME, scheduled);
                router.observer.see(|| Observed::Scheduled { name, event, spec });
                Ok(Schedule { entry, list })
            }
            Err(SendError::Full(_)) => {
                Err(ScheduleError::Full { event, schedules_max: list.max() })
            }
            Err(SendError::Closed(_)) => Err(ScheduleError::Shutdown { event }),
        }
    }
}

fn refused_error(event: &'static str, refused: Refused) -> ScheduleError {
    match refused {
        Refused::Full { max } => ScheduleError::Full { event, schedules_max: max },
        Refused::Closed => ScheduleError::Shutdown { event },
    }
}

/// Publishes what is due until nothing is left to come or the schedule is cancelled.
async fn run(entry: Arc<Entry>, mut ticker: Ticker) {
    let clock = &entry.router.clock;
    while !entry.end.is_cancelled() {
        if ticker.owed() > 0 && entry.is_free() {
            ticker.made_up();
            if !tick(&entry).await {
                return;
            }
        } else {
            let Some(next) = ticker.next() else { return };
            tokio::select! {
                () = entry.end.cancelled() => return,
                () = entry.progress.chain_ended.notified(), if ticker.owed() > 0 => continue,
                () = entry.timeline.sleep_towards(clock, next) => {}
            }
        }
        let look = ticker.look(entry.timeline.now(clock));
        entry.progress.plan_next(ticker.next(), look.missed);
        if look.is_due && !tick(&entry).await {
            return;
        }
    }
}

/// Publishes a tick or leaves it out; `false` when no more can come.
async fn tick(entry: &Entry) -> bool {
    let Some(publishing) = entry.tick() else { return true };
    let published = tokio::select! {
        () = entry.end.cancelled() => return false,
        published = publishing => published,
    };
    match published {
        Ok(()) => true,
        Err(PublishError::Shutdown { .. }) => false,
        Err(error) => {
            let (schedule, event) = (entry.name(), entry.title.event);
            tracing::error!(schedule, event, %error, "tick refused");
            true
        }
    }
}

/// A chain that tells when it has ended.
fn track(router: &Router, envelope: &Envelope, running: Running) -> Arc<Chain> {
    let plan = ChainPlan {
        requested: envelope.name(),
        wanted: None,
        trace_id: envelope.trace_id(),
        patience: Duration::ZERO,
        phase: Arc::clone(&router.phase),
    };
    Chain::watched(plan, Box::new(running))
}

/// Runs a schedule.
struct Add {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Message for Add {
    type Result = ();
}

/// Cancels all schedules; none can be added after.
pub(crate) struct StopSchedules;

impl Message for StopSchedules {
    type Result = ();
}

/// The actor on whose thread the schedules run, wherever they are made.
pub(crate) struct Scheduler {
    list: Arc<Schedules>,
}

impl Scheduler {
    pub(crate) fn new(list: Arc<Schedules>) -> Self {
        Self { list }
    }
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.list.max());
    }
}

impl Handler<Add> for Scheduler {
    type Result = ();

    fn handle(&mut self, Add { task }: Add, _: &mut Context<Self>) {
        actix_rt::spawn(task);
    }
}

impl Handler<StopSchedules> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: StopSchedules, ctx: &mut Context<Self>) {
        self.list.close();
        actix::ActorContext::stop(ctx);
    }
}
