//! Moves envelopes into the queues of the handlers that the routing table names. Everything that
//! the parts of one runtime share hangs here.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout};

use crate::chain::Parcel;
use crate::clock::{Clock, secs};
use crate::dead_letter::{Keeper, KeeperPlan};
use crate::envelope::Envelope;
use crate::error::{PublishError, RequestError};
use crate::event_log::{Entry, EventLog};
use crate::live::{Live, LiveGuard};
use crate::metrics::Totals;
use crate::observed::{Observed, Observer};
use crate::phase::{Phase, PhaseCell};
use crate::policy::Overflow;
use crate::queue::Closed;
use crate::seat::Seat;
use crate::table::{Chosen, Known, Place, Route, Table};

mod bury;
mod reserved;
use reserved::reserve;

/// Limits and defaults of one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How long the outputs of a chain wait for room in a queue.
    pub(crate) room_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) event_log_max: usize,
    pub(crate) dead_letters_max: usize,
    pub(crate) schedules_max: usize,
    pub(crate) hops_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            room_timeout: secs(30),
            request_timeout: secs(30),
            drain_timeout: secs(5),
            event_log_max: 200,
            dead_letters_max: 1000,
            schedules_max: 1024,
            hops_max: 64,
        }
    }
}

pub(crate) struct Router {
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) phase: Arc<PhaseCell>,
    pub(crate) totals: Totals,
    pub(crate) event_log: EventLog,
    pub(crate) dead: Arc<Keeper>,
    pub(crate) live: Live,
    pub(crate) observer: Observer,
    table: ArcSwap<Table>,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client, a session, the scheduler.
    Outside,
    /// A handler at work.
    Chain,
}

impl Router {
    pub(crate) fn new(limits: Limits, clock: Clock, observer: Observer, dead: KeeperPlan) -> Self {
        Self {
            clock,
            phase: Arc::default(),
            totals: Totals::default(),
            event_log: EventLog::new(limits.event_log_max),
            dead: Arc::new(Keeper::new(dead, limits.dead_letters_max)),
            live: Live::default(),
            observer,
            table: ArcSwap::default(),
            limits,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase.get() == Phase::Running
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    pub(crate) fn set_table(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// Publishes, waiting for room where the policy says so. A draining runtime takes events only
    /// from within its chains. Says to how many handlers the event went.
    ///
    /// # Cancel safety
    /// Dropped while it waits, the handlers that had room have the event and the others do not.
    pub(crate) async fn publish(
        &self,
        parcel: Parcel,
        from: Origin,
    ) -> Result<usize, PublishError> {
        let route = self.admit(&parcel, from)?;
        let places = self.choose(route.as_deref(), &parcel);
        let rejecting = |place: &&Place| place.seat.rules.overflow == Overflow::Reject;
        let mut reserved = reserve(places.iter().filter(rejecting), &parcel)?;
        let mut full = Vec::new();
        for place in &*places {
            if let Some(room) = reserved.pop_if_of(&place.seat) {
                self.put(&place.seat, place.address(&parcel), |parcel| room.push(parcel))?;
            } else if !self.offer(place, &parcel)? {
                full.push(place);
            }
        }
        for place in full {
            self.wait_and_put(place, &parcel).await?;
        }
        Ok(places.len())
    }

    /// Publishes what a handler put out. Each subscriber gets it or a dead letter: a full queue is
    /// waited for, but no longer than a handler may take, or two handlers that feed each other
    /// could wait for ever.
    pub(crate) async fn publish_onward(&self, parcel: Parcel) {
        let route = match self.admit(&parcel, Origin::Chain) {
            Ok(route) => route,
            Err(refused) => return self.bury_refused(&parcel, refused),
        };
        let places = self.choose(route.as_deref(), &parcel);
        // Refused only at shutdown, where each chain tells its requester when it is dropped.
        let full = |place: &&Place| !self.offer(place, &parcel).unwrap_or(true);
        for place in places.iter().filter(full).collect::<Vec<_>>() {
            self.wait_or_bury(place, &parcel).await;
        }
    }

    /// Publishes to all handlers, or to none when one of them has no room. Says to how many.
    pub(crate) fn try_publish(&self, parcel: &Parcel, from: Origin) -> Result<usize, PublishError> {
        let route = self.admit(parcel, from)?;
        let places = self.choose(route.as_deref(), parcel);
        let refusing =
            |place: &&Place| matches!(place.seat.rules.overflow, Overflow::Wait | Overflow::Reject);
        let mut reserved = reserve(places.iter().filter(refusing), parcel)?;
        for place in &*places {
            if let Some(room) = reserved.pop_if_of(&place.seat) {
                self.put(&place.seat, place.address(parcel), |parcel| room.push(parcel))?;
            } else {
                self.offer(place, parcel)?;
            }
        }
        Ok(places.len())
    }

    /// Gives a declined event to the next handler in line; `false` when there is none.
    pub(crate) async fn pass_on(&self, parcel: &Parcel) -> bool {
        let (Some(route), Some(rank)) = (self.route(&parcel.envelope), parcel.rank) else {
            return false;
        };
        let Chosen { places, broken } = route.behind(rank, &parcel.envelope);
        for (seat, panic) in &broken {
            self.bury_unwanted(parcel, seat, panic);
        }
        for place in &*places {
            // Refused only at shutdown, where each chain tells its requester when it is dropped.
            if !self.offer(place, parcel).unwrap_or(true) {
                self.wait_or_bury(place, parcel).await;
            }
        }
        !places.is_empty() || !broken.is_empty()
    }

    /// Waits for room, but not without end: then the event is dead.
    async fn wait_or_bury(&self, place: &Place, parcel: &Parcel) {
        let patience = match place.seat.rules.overflow {
            Overflow::Reject => Duration::ZERO,
            _ => self.limits.room_timeout,
        };
        if timeout(patience, self.wait_and_put(place, parcel)).await.is_err() {
            self.bury_full(parcel, &place.seat);
        }
    }

    /// Puts a dead letter into its handler's queue once more; false when that takes no events.
    pub(crate) async fn redeliver(&self, parcel: Parcel, handler: &str) -> bool {
        let table = self.table();
        let seat = table.seats().iter().find(|seat| *seat.handler == *handler);
        let Some(seat) = seat.filter(|seat| self.is_running() && seat.takes_events()) else {
            return false;
        };
        let guard = LiveGuard::begin(&self.live);
        let is_accepted = seat.queue.push(parcel).await.is_ok();
        if is_accepted {
            guard.hand_over();
        }
        is_accepted
    }

    fn route(&self, envelope: &Envelope) -> Option<Arc<Route>> {
        self.table.load().route(envelope.name())
    }

    /// Whom the event goes to. Nobody means: it is unheard.
    fn choose<'r>(&self, route: Option<&'r Route>, parcel: &Parcel) -> Cow<'r, [Place]> {
        let chosen = route.map(|route| route.choose(&parcel.envelope));
        let Chosen { places, broken } = chosen.unwrap_or_default();
        for (seat, panic) in &broken {
            self.bury_unwanted(parcel, seat, panic);
        }
        if places.is_empty() && broken.is_empty() {
            self.unheard(&parcel.envelope);
        }
        places
    }

    /// Says where the event goes, if it may be published.
    fn admit(&self, parcel: &Parcel, from: Origin) -> Result<Option<Arc<Route>>, PublishError> {
        let (event, hops) = (parcel.envelope.name(), parcel.envelope.hops());
        let closes_at = match from {
            Origin::Outside => Phase::Draining,
            Origin::Chain => Phase::Stopped,
        };
        if self.phase.get() >= closes_at {
            return Err(PublishError::Shutdown { event });
        }
        if hops > self.limits.hops_max {
            let cycle = self.table.load().cycle(event).join(" → ");
            return Err(PublishError::TooManyHops { event, hops, cycle });
        }
        let table = self.table.load();
        let route = match table.known(event) {
            Some(Known { event_type, .. }) if event_type.type_id != parcel.envelope.type_id() => {
                return Err(PublishError::TypeClash { event, registered: event_type.type_name });
            }
            Some(known) => known.route.clone(),
            None => table.route(event),
        };
        self.count_published(&parcel.envelope);
        Ok(route)
    }

    fn count_published(&self, envelope: &Envelope) {
        self.totals.published.fetch_add(1, Ordering::Relaxed);
        self.observer.see(|| Observed::Published(envelope));
    }

    /// Puts the parcel into the seat's queue or does what its policy says; `false` when the policy
    /// is to wait for room.
    fn offer(&self, place: &Place, parcel: &Parcel) -> Result<bool, PublishError> {
        let (seat, parcel) = (&place.seat, place.address(parcel));
        if !seat.takes_events() {
            self.bury_unavailable(&parcel, seat)?;
        } else if seat.rules.overflow == Overflow::DropOldest {
            self.put(seat, parcel, |parcel| {
                if let Some(oldest) = seat.queue.push_over_oldest(parcel)? {
                    self.live.end();
                    self.dropped(&oldest, seat);
                }
                Ok(())
            })?;
        } else if let Some(room) = seat.queue.try_reserve() {
            self.put(seat, parcel, |parcel| room.push(parcel))?;
        } else if seat.rules.overflow == Overflow::DropNewest {
            self.dropped(&parcel, seat);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    async fn wait_and_put(&self, place: &Place, parcel: &Parcel) -> Result<(), PublishError> {
        let guard = LiveGuard::begin(&self.live);
        match place.seat.queue.push(place.address(parcel)).await {
            Ok(()) => {
                guard.hand_over();
                Ok(())
            }
            Err(closed) => self.bury_unavailable(&closed.0, &place.seat),
        }
    }

    /// Counts the parcel as live before the host can see it.
    fn put(
        &self,
        seat: &Arc<Seat>,
        parcel: Parcel,
        push: impl FnOnce(Parcel) -> Result<(), Closed<Parcel>>,
    ) -> Result<(), PublishError> {
        self.live.begin();
        push(parcel).or_else(|closed| {
            self.live.end();
            self.bury_unavailable(&closed.0, seat)
        })
    }

    fn dropped(&self, parcel: &Parcel, seat: &Seat) {
        seat.counters.dropped.fetch_add(1, Ordering::Relaxed);
        let (envelope, handler) = (&parcel.envelope, &*seat.handler);
        self.observer.see(|| Observed::Dropped { envelope, handler });
        if let Some(events) = seat.drops.hit(Instant::now()) {
            let overflow = seat.rules.overflow;
            tracing::warn!(handler, %overflow, events, "dropped, the queue is full");
        }
        fail_full(parcel, seat);
    }

    fn unheard(&self, envelope: &Envelope) {
        self.totals.unheard.fetch_add(1, Ordering::Relaxed);
        self.observer.see(|| Observed::Unheard(envelope));
        if self.event_log.is_enabled() {
            self.event_log.push(Entry {
                ts: self.clock.now(),
                event_type: envelope.name(),
                event_id: envelope.id(),
                trace_id: envelope.trace_id(),
                source: Arc::clone(envelope.shared_source()),
                handler: None,
                took: Duration::ZERO,
                error: None,
                attempts: 0,
            });
        }
    }
}

fn fail_full(parcel: &Parcel, seat: &Seat) {
    parcel.fail(RequestError::Full {
        event: parcel.envelope.name(),
        handler: seat.handler.to_string(),
        queue_max: seat.queue.max(),
        trace_id: parcel.envelope.trace_id(),
    });
}
