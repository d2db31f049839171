//! The task behind each handler: takes events from its queue, gives them to its actors, and outlives
//! every one of them.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use actix::{Actor, Addr, Context};
use actix_rt::Arbiter;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::bell::{Bell, Call};
use crate::chain::Parcel;
use crate::crew::Crew;
use crate::handler::Resident;
use crate::instance::{Factory, Instance};
use crate::lane::OpenLane;
use crate::metrics::HandlerStatus;
use crate::publish::Publisher;
use crate::router::Router;
use crate::seat::{Seat, Spot};
use crate::supervisor::{Child, Supervisor};
use crate::upkeep::Upkeep;
use crate::work::{Feed, Left, Waiting, Work};

mod branch;
use branch::branching;

/// What a host is made from.
pub(crate) struct HostPlan<A: Actor> {
    pub(crate) router: Arc<Router>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) factory: Factory<A>,
    pub(crate) feeds: Arc<[Feed<A>]>,
    pub(crate) resident: Option<fn(&A) -> Resident>,
}

/// Starts the host on the current thread.
pub(crate) fn start<A>(plan: HostPlan<A>, supervisor: &Addr<Supervisor>) -> Child
where
    A: Actor<Context = Context<A>>,
{
    let bell = Arc::clone(&plan.seat.bell);
    let seat = Arc::clone(&plan.seat);
    *seat.branching.lock() = branching(&plan, supervisor);
    let host = Host::new(plan, supervisor, Arc::clone(&bell), Site::Home);
    Child { seat, bell, task: actix_rt::spawn(host.run()) }
}

/// Whether a host empties the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    Home,
    Branch,
}

struct Host<A: Actor> {
    work: Rc<Work<A>>,
    bell: Arc<Bell>,
    concurrency: usize,
    /// The handler's own threads.
    threads: Vec<Arbiter>,
}

/// A host at work.
#[derive(Default)]
struct Service {
    /// `None` until something waits: most handlers at rest never had that.
    waiting: Option<FuturesUnordered<Waiting>>,
    is_closed: bool,
    /// How the handler ended before its queue was closed.
    given_up: Option<HandlerStatus>,
}

impl<A: Actor<Context = Context<A>>> Host<A> {
    fn new(plan: HostPlan<A>, supervisor: &Addr<Supervisor>, bell: Arc<Bell>, site: Site) -> Self {
        let HostPlan { router, seat, factory, feeds, resident } = plan;
        let threads = seat.rules.threads().unwrap_or_default();
        let threads: Vec<_> = (0..threads).map(|_| Arbiter::new()).collect();
        let instances = if threads.is_empty() {
            vec![Instance::new(None)]
        } else {
            threads.iter().map(|thread| Instance::new(Some(thread.handle()))).collect()
        };
        // A thread that computes does one thing at a time.
        let each = if seat.rules.blocking.is_some() { 1 } else { seat.rules.concurrency };
        let is_home = site == Site::Home;
        let concurrency = each * instances.len();
        let crew = Rc::new(Crew::new(instances, each));
        let publisher = Arc::new(Publisher {
            router: Arc::clone(&router),
            name: Arc::clone(&seat.handler),
            domain: Some(Arc::clone(&seat.domain)),
        });
        let upkeep = (0..crew.instances.len()).map(|instance| {
            let (crew, seat) = (Rc::clone(&crew), Arc::clone(&seat));
            let (factory, supervisor) = (Arc::clone(&factory), supervisor.clone());
            let life = async move {
                crew.instances[instance].keep(&factory, resident, &seat, &supervisor).await
            };
            Upkeep::new(life)
        });
        let upkeep = upkeep.collect();
        let (resting, spot) = (Cell::new(0), Spot::new(&seat));
        let left = Left::new(Arc::clone(&bell));
        let work =
            Work { router, seat, publisher, feeds, crew, upkeep, resting, spot, is_home, left };
        Self { work: Rc::new(work), bell, concurrency, threads }
    }

    async fn run(self) {
        let (seat, work) = (&self.work.seat, &self.work);
        let lane = seat.has_lanes.then(|| OpenLane::new(seat, Rc::<Work<A>>::clone(work)));
        let mut service = Service::default();
        let status = poll_fn(|cx| self.poll_serve(&mut service, Site::Home, cx)).await;
        drop(lane);
        *seat.branching.lock() = None;
        seat.set_status(status);
        for parcel in seat.queue.close_and_drain() {
            work.router.live.end();
            // Refused only at shutdown, where each chain tells its requester when it is dropped.
            let _ = work.router.bury_unavailable(&parcel, seat);
        }
        self.end().await;
        for thread in &self.threads {
            // A thread that has ended already needs no stop.
            let _ = thread.stop();
        }
    }

    /// Finishes what was begun on this thread, until the handler or the runtime ends.
    async fn run_branch(self, lane: OpenLane) {
        let mut service = Service::default();
        poll_fn(|cx| self.poll_serve(&mut service, Site::Branch, cx)).await;
        drop(lane);
        self.end().await;
    }

    /// Ends the actors.
    async fn end(&self) {
        self.work.seat.leave_spot(&self.work.spot);
        self.work.crew.instances.iter().for_each(Instance::retire);
        poll_fn(|cx| {
            let mut is_over = true;
            for upkeep in &self.work.upkeep {
                is_over &= upkeep.poll(cx).is_ready();
            }
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether one more delivery may be taken into work. Those that rest leave their place to
    /// others, as many of them as may wait in the queue.
    fn has_room(&self, deliveries: usize) -> bool {
        let seat = &self.work.seat;
        let left_places = self.work.resting.get().min(seat.rules.queue_max);
        !seat.is_paused() && deliveries - left_places < self.concurrency
    }

    /// Handles events until the queue is closed and empty, an actor may not be rebuilt, or the
    /// runtime stops. Written by hand: it is polled for every wake of a handler.
    fn poll_serve(
        &self,
        service: &mut Service,
        site: Site,
        cx: &mut TaskContext<'_>,
    ) -> Poll<HandlerStatus> {
        let calls = self.bell.answer(cx);
        if calls.has(Call::Retire) {
            return Poll::Ready(HandlerStatus::Ended);
        }
        if calls.has(Call::Recall) {
            self.work.crew.instances.iter().for_each(Instance::recall);
        }
        if calls.has(Call::Quit) {
            self.give_up(service, self.work.seat.status());
        }
        self.work.left.attend(true);
        let outcome = self.poll_deliveries(service, site, cx);
        self.work.left.attend(false);
        outcome
    }

    fn poll_deliveries(
        &self,
        service: &mut Service,
        site: Site,
        cx: &mut TaskContext<'_>,
    ) -> Poll<HandlerStatus> {
        let mut taken = 0;
        loop {
            // An actor first: it may answer what waits.
            for upkeep in &self.work.upkeep {
                if let Poll::Ready(Some(status)) = upkeep.poll(cx) {
                    self.give_up(service, status);
                    if site == Site::Home {
                        self.work.seat.set_status(status);
                    }
                }
            }
            while self.work.left.len() > 0 {
                for mut delivery in self.work.left.take() {
                    if delivery.as_mut().poll(cx).is_pending() {
                        service.waiting.get_or_insert_default().push(delivery);
                    }
                }
            }
            let waiting = service.waiting.as_mut().map_or(0, |waiting| {
                while let Poll::Ready(Some(())) = waiting.poll_next_unpin(cx) {}
                waiting.len()
            });
            if self.work.left.len() > 0 {
                continue;
            }
            let is_over = service.is_closed || service.given_up.is_some();
            if is_over && waiting == 0 {
                return Poll::Ready(service.given_up.unwrap_or(HandlerStatus::Ended));
            }
            if taken >= BATCH_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if site == Site::Branch || is_over || !self.has_room(waiting) {
                return Poll::Pending;
            }
            match ready!(self.work.seat.queue.poll_pop(cx)) {
                Some(first) => taken += self.deliver_batch(first, waiting, cx),
                None => service.is_closed = true,
            }
        }
    }

    /// One of several actors that may not be rebuilt ends the handler: the others would hide that it
    /// is ill.
    fn give_up(&self, service: &mut Service, status: HandlerStatus) {
        self.work.crew.instances.iter().for_each(Instance::retire);
        service.given_up.get_or_insert(status);
    }

    /// Works off a batch without a look at anything else; says how many events it took.
    fn deliver_batch(&self, first: Parcel, waiting: usize, cx: &mut TaskContext<'_>) -> usize {
        let (work, queue) = (&self.work, &self.work.seat.queue);
        let (mut next, mut taken, table) = (Some(first), 0, work.router.table_now());
        let mut now = Instant::now();
        while let Some(parcel) = next.take() {
            now = work.deliver(parcel, &table, now, cx);
            taken += 1;
            if taken < BATCH_MAX && self.has_room(waiting + work.left.len()) {
                next = queue.try_pop();
            }
        }
        taken
    }
}

impl<A: Actor> Drop for Host<A> {
    /// The actors end with their thread, whoever still holds what they share.
    fn drop(&mut self) {
        self.work.upkeep.iter().for_each(Upkeep::abandon);
        drop(self.work.left.take());
    }
}

/// How many events are handled before other tasks of the thread have their turn.
const BATCH_MAX: usize = 64;
