//! The task behind each handler: takes events from its queue, gives them to its actors, and outlives
//! every one of them.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use actix::{Actor, Addr, Context};
use actix_rt::Arbiter;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;

use crate::chain::Parcel;
use crate::crew::Crew;
use crate::handler::Resident;
use crate::instance::{Factory, Instance};
use crate::lane::OpenLane;
use crate::metrics::HandlerStatus;
use crate::publish::Publisher;
use crate::router::Router;
use crate::seat::{Seat, Spot};
use crate::supervisor::{Child, Orders, Supervisor};
use crate::work::{Feed, Left, Waiting, Work};

mod branch;
use branch::branching;

/// What a host is made from.
pub(crate) struct HostPlan<A: Actor> {
    pub(crate) router: Arc<Router>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) factory: Factory<A>,
    pub(crate) feeds: Vec<Feed<A>>,
    pub(crate) resident: Option<fn(&A) -> Resident>,
}

/// Starts the host on the current thread.
pub(crate) fn start<A>(plan: HostPlan<A>, supervisor: &Addr<Supervisor>) -> Child
where
    A: Actor<Context = Context<A>>,
{
    let orders = Arc::new(Orders::default());
    let seat = Arc::clone(&plan.seat);
    *seat.branching.lock() = branching(&plan, supervisor);
    let host = Host::new(plan, supervisor.clone(), Arc::clone(&orders), Site::Home);
    Child { seat, orders, task: actix_rt::spawn(host.run()) }
}

/// Whether a host empties the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    Home,
    Branch,
}

struct Host<A: Actor> {
    work: Rc<Work<A>>,
    factory: Factory<A>,
    resident: Option<fn(&A) -> Resident>,
    supervisor: Addr<Supervisor>,
    orders: Arc<Orders>,
    concurrency: usize,
    /// The handler's own threads.
    threads: Vec<Arbiter>,
}

type Lives<'h> = FuturesUnordered<Pin<Box<dyn Future<Output = HandlerStatus> + 'h>>>;

impl<A: Actor<Context = Context<A>>> Host<A> {
    fn new(
        plan: HostPlan<A>,
        supervisor: Addr<Supervisor>,
        orders: Arc<Orders>,
        site: Site,
    ) -> Self {
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
        let (resting, left, spot) = (Cell::new(0), Left::default(), Spot::new(&seat));
        let work = Work { router, seat, publisher, feeds, crew, resting, spot, is_home, left };
        let work = Rc::new(work);
        Self { work, factory, resident, supervisor, orders, concurrency, threads }
    }

    async fn run(self) {
        let (seat, crew) = (&self.work.seat, &self.work.crew);
        let mut lives: Lives<'_> = crew
            .instances
            .iter()
            .map(|instance| -> Pin<Box<dyn Future<Output = HandlerStatus>>> {
                Box::pin(instance.keep(&self.factory, self.resident, seat, &self.supervisor))
            })
            .collect();
        let lane = (self.resident.is_some() && seat.has_lanes)
            .then(|| OpenLane::new(seat, Rc::<Work<A>>::clone(&self.work)));
        let status = self.serve(&mut lives).await;
        drop(lane);
        *seat.branching.lock() = None;
        seat.leave_spot(&self.work.spot);
        seat.set_status(status);
        for parcel in seat.queue.close_and_drain() {
            self.work.router.live.end();
            // Refused only at shutdown, where each chain tells its requester when it is dropped.
            let _ = self.work.router.bury_unavailable(&parcel, seat);
        }
        crew.instances.iter().for_each(Instance::retire);
        while lives.next().await.is_some() {}
        for thread in &self.threads {
            // A thread that has ended already needs no stop.
            let _ = thread.stop();
        }
    }

    /// Whether one more delivery may be taken into work. Those that rest leave their place to
    /// others, as many of them as may wait in the queue.
    fn has_room(&self, deliveries: usize) -> bool {
        let seat = &self.work.seat;
        let left_places = self.work.resting.get().min(seat.rules.queue_max);
        !seat.is_paused() && deliveries - left_places < self.concurrency
    }

    /// Handles events until the queue is closed and empty, an actor may not be rebuilt, or the
    /// runtime stops.
    async fn serve(&self, lives: &mut Lives<'_>) -> HandlerStatus {
        let (queue, left) = (&self.work.seat.queue, &self.work.left);
        let mut waiting = FuturesUnordered::<Waiting>::new();
        let (mut closed, mut given_up, mut taken) = (false, None, 0);
        loop {
            waiting.extend(left.take());
            if waiting.is_empty() && (closed || given_up.is_some()) {
                return given_up.unwrap_or(HandlerStatus::Ended);
            }
            tokio::select! {
                biased;
                () = self.orders.retire.notified() => return HandlerStatus::Ended,
                () = self.orders.recall.notified() => {
                    self.work.crew.instances.iter().for_each(Instance::recall);
                }
                () = self.orders.quit.notified() => {
                    self.work.crew.instances.iter().for_each(Instance::retire);
                    given_up.get_or_insert(self.work.seat.status());
                }
                Some(status) = lives.next() => {
                    // One of several actors that may not be rebuilt ends the handler: the others
                    // would hide that it is ill.
                    self.work.crew.instances.iter().for_each(Instance::retire);
                    let status = *given_up.get_or_insert(status);
                    self.work.seat.set_status(status);
                }
                Some(()) = waiting.next() => {}
                () = self.work.seat.changed.notified() => {}
                () = left.added.notified() => {}
                popped = poll_fn(|cx| queue.poll_pop(cx)),
                    if !closed && given_up.is_none() && self.has_room(waiting.len()) =>
                {
                    match popped {
                        Some(first) => taken += self.deliver_batch(first, waiting.len()).await,
                        None => closed = true,
                    }
                }
            }
            if taken >= BATCH_MAX {
                taken = 0;
                yield_now().await;
            }
        }
    }

    /// Works off a batch without a look at anything else; says how many events it took.
    async fn deliver_batch(&self, first: Parcel, waiting: usize) -> usize {
        let (work, queue) = (&self.work, &self.work.seat.queue);
        let mut next = Some(first);
        poll_fn(|cx| {
            let (mut taken, table) = (0, work.router.table_now());
            while let Some(parcel) = next.take() {
                work.deliver(parcel, &table, cx);
                taken += 1;
                if taken < BATCH_MAX && self.has_room(waiting + work.left.len()) {
                    next = queue.try_pop();
                }
            }
            Poll::Ready(taken)
        })
        .await
    }
}

/// How many events are handled before other tasks of the thread have their turn.
const BATCH_MAX: usize = 64;
