//! Moves envelopes into the queues of the handlers that the routing table names. Everything that
//! the parts of one runtime share hangs here.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::chain::Parcel;
use crate::clock::{Clock, secs};
use crate::dead_letter::{DeadLetter, DeadLetters, DeadReason};
use crate::envelope::{Envelope, Label};
use crate::error::{HandlerError, PublishError, RequestError};
use crate::event_log::{EventLog, EventRecord};
use crate::live::{Live, LiveGuard};
use crate::metrics::Totals;
use crate::phase::{Phase, PhaseCell};
use crate::policy::Overflow;
use crate::queue::{Closed, Room};
use crate::seat::Seat;
use crate::table::{Chosen, Place, Route, Table};

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
    pub(crate) dead_letters: DeadLetters,
    pub(crate) live: Live,
    /// One permit for each schedule that may be added.
    pub(crate) schedules: Arc<Semaphore>,
    pub(crate) tap: Tap,
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

/// Sees each published event; for tests.
pub(crate) type Tap = Option<Box<dyn Fn(&Envelope) + Send + Sync>>;

impl Router {
    pub(crate) fn new(limits: Limits, seed: Option<u64>, tap: Tap) -> Self {
        Self {
            clock: Clock::new(seed),
            phase: Arc::default(),
            totals: Totals::default(),
            event_log: EventLog::new(limits.event_log_max),
            dead_letters: DeadLetters::new(limits.dead_letters_max),
            live: Live::default(),
            schedules: Arc::new(Semaphore::new(limits.schedules_max)),
            tap,
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
        self.admit(&parcel, from)?;
        let route = self.route(&parcel.envelope);
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
        if let Err(refused) = self.admit(&parcel, Origin::Chain) {
            self.bury_refused(&parcel, refused);
            return;
        }
        let route = self.route(&parcel.envelope);
        let places = self.choose(route.as_deref(), &parcel);
        // Refused only at shutdown, where each chain tells its requester when it is dropped.
        let full = |place: &&Place| !self.offer(place, &parcel).unwrap_or(true);
        for place in places.iter().filter(full).collect::<Vec<_>>() {
            let patience = match place.seat.rules.overflow {
                Overflow::Reject => Duration::ZERO,
                _ => self.limits.room_timeout,
            };
            if timeout(patience, self.wait_and_put(place, &parcel)).await.is_err() {
                self.bury_full(&parcel, &place.seat);
            }
        }
    }

    /// Publishes to all handlers, or to none when one of them has no room. Says to how many.
    pub(crate) fn try_publish(&self, parcel: &Parcel, from: Origin) -> Result<usize, PublishError> {
        self.admit(parcel, from)?;
        let route = self.route(&parcel.envelope);
        let places = self.choose(route.as_deref(), parcel);
        let refusing =
            |place: &&Place| matches!(place.seat.rules.overflow, Overflow::Wait | Overflow::Reject);
        let mut reserved = reserve(places.iter().filter(refusing), parcel)?;
        for place in &*places {
            if let Some(room) = reserved.pop_if_of(&place.seat) {
                self.put(&place.seat, place.address(&parcel), |parcel| room.push(parcel))?;
            } else {
                self.offer(place, parcel)?;
            }
        }
        Ok(places.len())
    }

    /// Gives a declined event to the next handler in line; `false` when there is none.
    pub(crate) async fn pass_on(&self, parcel: &Parcel) -> bool {
        let route = self.route(&parcel.envelope);
        let behind = |rank| route.as_ref().and_then(|route| route.behind(rank, &parcel.envelope));
        let Some(place) = parcel.rank.and_then(behind) else { return false };
        // Refused only at shutdown, where each chain tells its requester when it is dropped.
        if !self.offer(&place, parcel).unwrap_or(true) {
            let _ = self.wait_and_put(&place, parcel).await;
        }
        true
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

    /// Keeps an event that a handler did not handle.
    pub(crate) fn bury(&self, parcel: &Parcel, handler: &str, reason: DeadReason, attempts: u32) {
        self.totals.dead_lettered.fetch_add(1, Ordering::Relaxed);
        let envelope = parcel.envelope.clone();
        tracing::warn!(
            handler, event = envelope.name(), trace_id = %envelope.trace_id(),
            attempts, %reason, "dead letter"
        );
        let (handler, at) = (handler.to_owned(), self.clock.now());
        let letter = DeadLetter { envelope, handler, reason, attempts, at };
        if let Some(lost) = self.dead_letters.push(letter) {
            tracing::error!(
                handler = lost.handler, event = lost.envelope.name(),
                trace_id = %lost.envelope.trace_id(), "dead letter discarded, their ring is full"
            );
        }
    }

    /// A handler that takes no events got one: it is dead, unless the runtime has stopped.
    pub(crate) fn bury_unavailable(
        &self,
        parcel: &Parcel,
        seat: &Seat,
    ) -> Result<(), PublishError> {
        let (event, trace_id) = (parcel.envelope.name(), parcel.envelope.trace_id());
        if self.phase.get() == Phase::Stopped {
            return Err(PublishError::Shutdown { event });
        }
        let handler = seat.handler.to_string();
        parcel.fail(RequestError::Unavailable { event, handler, trace_id });
        self.bury(parcel, &seat.handler, DeadReason::Unavailable, 0);
        let error = HandlerError::retry("the handler takes no events").code("unavailable");
        self.announce(parcel, &seat.handler, &error);
        Ok(())
    }

    /// A chain's event found no room in time.
    fn bury_full(&self, parcel: &Parcel, seat: &Seat) {
        fail_full(parcel, seat);
        self.bury(parcel, &seat.handler, DeadReason::Full, 0);
        let error = HandlerError::retry("the handler's queue is full").code("full");
        self.announce(parcel, &seat.handler, &error);
    }

    /// A handler's predicate panicked on an event.
    fn bury_unwanted(&self, parcel: &Parcel, seat: &Seat, panic: &str) {
        let handler = &*seat.handler;
        tracing::error!(
            handler, event = parcel.envelope.name(), trace_id = %parcel.envelope.trace_id(), panic,
            "a predicate panicked"
        );
        let error = HandlerError::panic(panic);
        parcel.fail_at(handler, &error);
        self.bury(parcel, handler, DeadReason::Failed(error.clone()), 0);
        self.announce(parcel, handler, &error);
    }

    /// Publishes the fact that an event was not even delivered. It waits for nothing: who has no
    /// room for it gets a dead letter.
    fn announce(&self, parcel: &Parcel, handler: &str, error: &HandlerError) {
        let Some(fact) = self.error_fact(&parcel.envelope, handler, error, 0) else { return };
        let parcel = Parcel::new(fact, parcel.chain.clone());
        self.count_published(&parcel.envelope);
        let route = self.route(&parcel.envelope);
        for place in &*self.choose(route.as_deref(), &parcel) {
            if !self.offer(place, &parcel).unwrap_or(true) {
                self.bury(&parcel, &place.seat.handler, DeadReason::Full, 0);
            }
        }
    }

    /// The fact that a handler failed on an event, unless the event is such a fact itself. What
    /// makes good for the failure has its own time: the requester's may be over.
    pub(crate) fn error_fact(
        &self,
        envelope: &Envelope,
        handler: &str,
        error: &HandlerError,
        attempts: u32,
    ) -> Option<Envelope> {
        let label = Label {
            id: self.clock.event_id(),
            metadata: envelope.metadata().without_deadline(),
            causation_id: Some(envelope.id()),
            source: handler.into(),
            timestamp: self.clock.now(),
            hops: envelope.hops() + 1,
            expires_at: None,
        };
        envelope.error_fact(handler, error, attempts, label)
    }

    fn bury_refused(&self, parcel: &Parcel, refused: PublishError) {
        parcel.fail(RequestError::not_accepted(refused.clone(), parcel.envelope.trace_id()));
        let error = HandlerError::retry(refused.to_string()).code("refused");
        let publisher = parcel.envelope.source();
        self.bury(parcel, publisher, DeadReason::Refused(refused), 0);
        self.announce(parcel, publisher, &error);
    }

    fn admit(&self, parcel: &Parcel, from: Origin) -> Result<(), PublishError> {
        let (event, hops) = (parcel.envelope.name(), parcel.envelope.hops());
        let closes_at = match from {
            Origin::Outside => Phase::Draining,
            Origin::Chain => Phase::Stopped,
        };
        if self.phase.get() >= closes_at {
            return Err(PublishError::Shutdown { event });
        }
        if hops > self.limits.hops_max {
            return Err(PublishError::TooManyHops { event, hops });
        }
        let table = self.table.load();
        if let Some(known) = table.event_type(event)
            && known.type_id != parcel.envelope.type_id()
        {
            return Err(PublishError::TypeClash { event, registered: known.type_name });
        }
        self.count_published(&parcel.envelope);
        Ok(())
    }

    fn count_published(&self, envelope: &Envelope) {
        self.totals.published.fetch_add(1, Ordering::Relaxed);
        if let Some(tap) = &self.tap {
            tap(envelope);
        }
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
                    dropped(&oldest, seat);
                }
                Ok(())
            })?;
        } else if let Some(room) = seat.queue.try_reserve() {
            self.put(seat, parcel, |parcel| room.push(parcel))?;
        } else if seat.rules.overflow == Overflow::DropNewest {
            dropped(&parcel, seat);
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

    fn unheard(&self, envelope: &Envelope) {
        self.totals.unheard.fetch_add(1, Ordering::Relaxed);
        if self.event_log.is_enabled() {
            self.event_log.push(EventRecord {
                ts: self.clock.now(),
                event_type: envelope.name(),
                event_id: envelope.id(),
                trace_id: envelope.trace_id(),
                source: envelope.source().to_owned(),
                handler: String::new(),
                duration_ms: 0.0,
                ok: true,
                error: None,
                attempts: 0,
            });
        }
    }
}

fn dropped(parcel: &Parcel, seat: &Seat) {
    seat.counters.dropped.fetch_add(1, Ordering::Relaxed);
    if let Some(events) = seat.drops.hit(Instant::now()) {
        let (handler, overflow) = (&*seat.handler, seat.rules.overflow);
        tracing::warn!(handler, %overflow, events, "dropped, the queue is full");
    }
    fail_full(parcel, seat);
}

fn fail_full(parcel: &Parcel, seat: &Seat) {
    parcel.fail(RequestError::Full {
        event: parcel.envelope.name(),
        handler: seat.handler.to_string(),
        queue_max: seat.queue.max(),
        trace_id: parcel.envelope.trace_id(),
    });
}

/// Room in the queue of each of these seats, or in none.
fn reserve<'t>(
    places: impl Iterator<Item = &'t Place>,
    parcel: &Parcel,
) -> Result<Reserved<'t>, PublishError> {
    let mut rooms = Vec::new();
    for seat in places.map(|place| &place.seat).filter(|seat| seat.takes_events()) {
        let room = seat.queue.try_reserve().ok_or_else(|| PublishError::Full {
            event: parcel.envelope.name(),
            handler: seat.handler.to_string(),
            queue_max: seat.queue.max(),
        })?;
        rooms.push((seat.id, room));
    }
    rooms.reverse();
    Ok(Reserved(rooms))
}

/// Reserved rooms by seat, the next one last.
struct Reserved<'t>(Vec<(u64, Room<'t, Parcel>)>);

impl<'t> Reserved<'t> {
    fn pop_if_of(&mut self, seat: &Seat) -> Option<Room<'t, Parcel>> {
        let (id, _) = self.0.last()?;
        if *id == seat.id { self.0.pop().map(|(_, room)| room) } else { None }
    }
}
