//! Moves envelopes into the queues of the handlers that the routing table names. Everything that
//! the parts of one runtime share hangs here.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::time::Instant;

use crate::chain::{Asker, Parcel};
use crate::clock::{Clock, secs};
use crate::dead_letter::{Keeper, KeeperPlan};
use crate::envelope::Envelope;
use crate::error::{PublishError, RequestError};
use crate::event_log::{Entry, EventLog};
use crate::lane;
use crate::live::{Live, LiveGuard};
use crate::metrics::Totals;
use crate::observed::{Observed, Observer};
use crate::phase::{Phase, PhaseCell};
use crate::policy::Overflow;
use crate::queue::{Closed, Refused};
use crate::seat::Seat;
use crate::table::{Chosen, Known, Place, Route, Table};

mod bury;
mod onward;
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

/// How far an event got without waiting.
pub(crate) enum Published {
    /// To so many handlers, all that there are.
    To(usize),
    Partly(Rest),
}

/// What is done where a queue has no room and its policy is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Wait,
    /// Publish to nobody.
    Refuse,
}

/// Handlers whose queues had no room for an event, each with its copy.
pub(crate) struct Rest {
    full: Vec<(Arc<Seat>, Parcel)>,
    reached: usize,
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

    /// The table, for a look at it that is soon over.
    pub(crate) fn table_now(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    pub(crate) fn set_table(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// Publishes as far as nothing has to be waited for. A draining runtime takes events only from
    /// within its chains.
    ///
    /// An event for one handler alone is handled in place if it may be. For several it is not: the
    /// first of them could publish something that reached another one before the event itself.
    pub(crate) fn publish_now(
        &self,
        mut parcel: Parcel,
        from: Origin,
        mut asker: Option<&mut Asker<'_>>,
        when_full: WhenFull,
        cx: &mut Context<'_>,
    ) -> Result<Published, PublishError> {
        let table = self.table.load();
        let route = self.admit(&table, &parcel.envelope, from)?;
        if let Some(asker) = &mut asker
            && let Some(refusal) = refusal(route.as_deref().map(|route| &**route), asker)
        {
            asker.refused = Some(refusal);
            return Ok(Published::To(0));
        }
        self.count_published(&parcel.envelope);
        let chosen = route.as_ref().map(|route| route.choose(&parcel.envelope)).unwrap_or_default();
        if let ([place], []) = (&*chosen.places, &*chosen.broken) {
            let asker = asker.as_deref_mut();
            match lane::handle(place.address(parcel), &place.seat, &self.phase, &table, asker, cx) {
                Ok(()) => return Ok(Published::To(1)),
                Err(back) => parcel = back,
            }
        }
        if let Some(asker) = asker {
            parcel.chain = Some(asker.chain());
        }
        let places = self.settle(chosen, &parcel);
        self.enqueue(&places, parcel, when_full)
    }

    /// Publishes, waiting for room where the policy says so. Says to how many handlers it went.
    ///
    /// # Cancel safety
    /// Dropped while it waits, the handlers that had room have the event and the others do not.
    pub(crate) async fn publish(
        &self,
        parcel: Parcel,
        from: Origin,
    ) -> Result<usize, PublishError> {
        let mut parcel = Some(parcel);
        let published = poll_fn(|cx| match parcel.take() {
            Some(parcel) => Poll::Ready(self.publish_now(parcel, from, None, WhenFull::Wait, cx)),
            None => Poll::Pending,
        });
        match published.await? {
            Published::To(reached) => Ok(reached),
            Published::Partly(rest) => self.publish_rest(rest).await,
        }
    }

    /// Waits for room where there was none.
    pub(crate) async fn publish_rest(&self, rest: Rest) -> Result<usize, PublishError> {
        for (seat, parcel) in rest.full {
            self.wait_and_put(&seat, parcel).await?;
        }
        Ok(rest.reached)
    }

    /// Puts the parcel into the queues as far as they have room.
    fn enqueue(
        &self,
        places: &[Place],
        parcel: Parcel,
        when_full: WhenFull,
    ) -> Result<Published, PublishError> {
        let rejecting = |place: &&Place| match place.seat.rules.overflow {
            Overflow::Reject => true,
            Overflow::Wait => when_full == WhenFull::Refuse,
            Overflow::DropOldest | Overflow::DropNewest => false,
        };
        let mut reserved = reserve(places.iter().filter(rejecting), &parcel)?;
        let (mut full, reached) = (Vec::new(), places.len());
        let mut parcel = Some(parcel);
        for (n, place) in places.iter().enumerate() {
            let copy = if n + 1 < reached { parcel.clone() } else { parcel.take() };
            let Some(copy) = copy.map(|copy| place.address(copy)) else { break };
            if let Some(room) = reserved.pop_if_of(&place.seat) {
                self.put(&place.seat, copy, |parcel| room.push(parcel))?;
            } else if let Some(copy) = self.offer(&place.seat, copy)? {
                full.push((Arc::clone(&place.seat), copy));
            }
        }
        if full.is_empty() {
            return Ok(Published::To(reached));
        }
        Ok(Published::Partly(Rest { full, reached }))
    }

    /// Publishes to all handlers, or to none when one of them has no room; handles nothing in place.
    pub(crate) fn try_publish(&self, parcel: Parcel, from: Origin) -> Result<(), PublishError> {
        let table = self.table.load();
        let route = self.admit(&table, &parcel.envelope, from)?;
        self.count_published(&parcel.envelope);
        let places = self.choose(route.as_deref().map(|route| &**route), &parcel);
        self.enqueue(&places, parcel, WhenFull::Refuse).map(drop)
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
        self.table.load().route(envelope.name()).map(Cow::into_owned)
    }

    /// Whom the event goes to. Nobody means: it is unheard.
    fn choose<'r>(&self, route: Option<&'r Route>, parcel: &Parcel) -> Cow<'r, [Place]> {
        let chosen = route.map(|route| route.choose(&parcel.envelope));
        self.settle(chosen.unwrap_or_default(), parcel)
    }

    fn settle<'r>(&self, chosen: Chosen<'r>, parcel: &Parcel) -> Cow<'r, [Place]> {
        let Chosen { places, broken } = chosen;
        for (seat, panic) in &broken {
            self.bury_unwanted(parcel, seat, panic);
        }
        if places.is_empty() && broken.is_empty() {
            self.unheard(&parcel.envelope);
        }
        places
    }

    /// Says where the event goes, if it may be published.
    fn admit<'t>(
        &self,
        table: &'t Table,
        envelope: &Envelope,
        from: Origin,
    ) -> Result<Option<Cow<'t, Arc<Route>>>, PublishError> {
        let (event, hops) = (envelope.name(), envelope.hops());
        let closes_at = match from {
            Origin::Outside => Phase::Draining,
            Origin::Chain => Phase::Stopped,
        };
        if self.phase.get() >= closes_at {
            return Err(PublishError::Shutdown { event });
        }
        if hops > self.limits.hops_max {
            let cycle = table.cycle(event).join(" → ");
            return Err(PublishError::TooManyHops { event, hops, cycle });
        }
        let route = match table.known(event) {
            Some(Known { event_type, .. }) if event_type.type_id != envelope.type_id() => {
                return Err(PublishError::TypeClash { event, registered: event_type.type_name });
            }
            Some(known) => known.route.as_ref().map(Cow::Borrowed),
            None => table.route(event),
        };
        Ok(route)
    }

    fn count_published(&self, envelope: &Envelope) {
        self.totals.published.fetch_add(1, Ordering::Relaxed);
        self.observer.see(|| Observed::Published(envelope));
    }

    /// Puts the parcel into the seat's queue or does what its policy says; gives it back when the
    /// policy is to wait for room.
    fn offer(&self, seat: &Arc<Seat>, parcel: Parcel) -> Result<Option<Parcel>, PublishError> {
        if !seat.takes_events() {
            self.bury_unavailable(&parcel, seat)?;
            return Ok(None);
        }
        if seat.rules.overflow == Overflow::DropOldest {
            self.put(seat, parcel, |parcel| {
                if let Some(oldest) = seat.queue.push_over_oldest(parcel)? {
                    self.live.end();
                    self.dropped(&oldest, seat);
                }
                Ok(())
            })?;
            return Ok(None);
        }
        self.live.begin();
        let Err(refused) = seat.queue.try_push(parcel) else { return Ok(None) };
        self.live.end();
        match refused {
            Refused::Closed(parcel) => self.bury_unavailable(&parcel, seat)?,
            Refused::Full(parcel) if seat.rules.overflow == Overflow::DropNewest => {
                self.dropped(&parcel, seat);
            }
            Refused::Full(parcel) => return Ok(Some(parcel)),
        }
        Ok(None)
    }

    async fn wait_and_put(&self, seat: &Arc<Seat>, parcel: Parcel) -> Result<(), PublishError> {
        let guard = LiveGuard::begin(&self.live);
        match seat.queue.push(parcel).await {
            Ok(()) => {
                guard.hand_over();
                Ok(())
            }
            Err(closed) => self.bury_unavailable(&closed.0, seat),
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
        self.event_log.push(&Entry {
            ended: Instant::now(),
            envelope,
            handler: None,
            took: Duration::ZERO,
            error: None,
            attempts: 0,
        });
    }
}

/// Why nobody may be asked: nobody answers, or several would.
fn refusal(route: Option<&Route>, asker: &Asker<'_>) -> Option<RequestError> {
    let (event, trace_id) = (asker.requested, asker.trace_id);
    let Some(route) = route else { return Some(RequestError::NoHandler { event, trace_id }) };
    let (_, handlers) = route.competing.iter().find(|(output, _)| *output == asker.wanted)?;
    Some(RequestError::Ambiguous { event, handlers: handlers.clone(), trace_id })
}

fn fail_full(parcel: &Parcel, seat: &Seat) {
    parcel.fail(RequestError::Full {
        event: parcel.envelope.name(),
        handler: seat.handler.to_string(),
        queue_max: seat.queue.max(),
        trace_id: parcel.envelope.trace_id(),
    });
}
