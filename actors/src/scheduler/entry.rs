//! One schedule as the runtime keeps it: what it publishes, and how it has fared.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::PublishError;
use crate::router::Router;
use crate::scheduler::info::ScheduleInfo;
use crate::scheduler::plan::Moment;
use crate::scheduler::timeline::Timeline;

/// A schedule that has not ended, or to which somebody holds a handle.
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) title: Title,
    pub(crate) timeline: Timeline,
    pub(crate) router: Arc<Router>,
    pub(crate) publish: PublishTick,
    pub(crate) progress: Arc<Progress>,
    pub(crate) end: End,
}

/// What somebody said about a schedule.
pub(crate) struct Title {
    pub(crate) name: String,
    pub(crate) event: &'static str,
    pub(crate) spec: String,
    pub(crate) may_overlap: bool,
}

/// Publishes a copy of the event; the chain that follows holds the [`Running`].
pub(crate) type PublishTick = Box<dyn Fn(Running) -> Publishing + Send + Sync>;

pub(crate) type Publishing = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>;

/// Whether a schedule was cancelled, and the wait for it.
#[derive(Default)]
pub(crate) struct End {
    is_cancelled: AtomicBool,
    woken: Notify,
}

/// How a schedule has fared. Its chains hold it too, and nothing else of the schedule.
#[derive(Default)]
pub(crate) struct Progress {
    figures: Mutex<Figures>,
    /// Told whenever a chain has ended.
    pub(crate) chain_ended: Notify,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) next: Option<Moment>,
    pub(crate) last_at: Option<SystemTime>,
    pub(crate) ticks: u64,
    pub(crate) skipped: u64,
    pub(crate) missed: u64,
    /// How many chains run.
    pub(crate) running: u64,
}

/// A tick whose chain runs, until it is dropped.
pub(crate) struct Running(Arc<Progress>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.figures.lock().running -= 1;
        self.0.chain_ended.notify_one();
    }
}

impl End {
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.woken.notify_one();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Ready once it is cancelled; for one task at a time.
    pub(crate) async fn cancelled(&self) {
        while !self.is_cancelled() {
            self.woken.notified().await;
        }
    }
}

impl Progress {
    pub(crate) fn figures(&self) -> Figures {
        *self.figures.lock()
    }

    pub(crate) fn plan_next(&self, next: Option<Moment>, missed: u64) {
        let mut figures = self.figures.lock();
        figures.next = next;
        figures.missed = figures.missed.saturating_add(missed);
    }

    /// Counts a tick, or that it is left out.
    fn begin(self: &Arc<Self>, may_overlap: bool, now: SystemTime) -> Option<Running> {
        let mut figures = self.figures.lock();
        if figures.running > 0 && !may_overlap {
            figures.skipped += 1;
            return None;
        }
        figures.running += 1;
        figures.ticks += 1;
        figures.last_at = Some(now);
        Some(Running(Arc::clone(self)))
    }
}

impl Entry {
    /// Publishes a tick; `None` when it is left out because an earlier one still runs.
    pub(crate) fn tick(&self) -> Option<Publishing> {
        let running = self.progress.begin(self.title.may_overlap, self.router.clock.now())?;
        Some((self.publish)(running))
    }

    /// Whether a tick would not be left out.
    pub(crate) fn is_free(&self) -> bool {
        self.title.may_overlap || self.progress.figures().running == 0
    }

    pub(crate) fn name(&self) -> &str {
        &self.title.name
    }

    pub(crate) fn info(&self) -> ScheduleInfo {
        let Figures { next, last_at, ticks, skipped, missed, running } = self.progress.figures();
        let next = next.filter(|_| !self.end.is_cancelled());
        ScheduleInfo {
            id: self.id,
            name: self.title.name.clone(),
            event: self.title.event,
            spec: self.title.spec.clone(),
            next_at: next.and_then(|next| self.timeline.wall_time(&self.router.clock, next)),
            last_at,
            ticks,
            skipped,
            missed,
            running: running > 0,
        }
    }
}
