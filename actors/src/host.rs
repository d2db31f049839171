//! The task behind each handler: takes events from its queue, gives them to its actors, and outlives
//! every one of them.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::{Actor, Addr, Context};
use actix_rt::Arbiter;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;

use crate::crew::Crew;
use crate::handler::Resident;
use crate::instance::{Factory, Instance};
use crate::metrics::HandlerStatus;
use crate::router::Router;
use crate::seat::Seat;
use crate::supervisor::{Child, Orders, Supervisor};
use crate::work::{Feed, Work, poll_once};

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
    let host = Host::new(plan, supervisor.clone(), Arc::clone(&orders));
    Child { seat, orders, task: actix_rt::spawn(host.run()) }
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
    fn new(plan: HostPlan<A>, supervisor: Addr<Supervisor>, orders: Arc<Orders>) -> Self {
        let HostPlan { router, seat, factory, feeds, resident } = plan;
        let threads: Vec<_> =
            (0..seat.rules.blocking.unwrap_or_default()).map(|_| Arbiter::new()).collect();
        let (instances, each) = if threads.is_empty() {
            (vec![Instance::new(None)], seat.rules.concurrency)
        } else {
            (threads.iter().map(|thread| Instance::new(Some(thread.handle()))).collect(), 1)
        };
        let concurrency = each * instances.len();
        let crew = Rc::new(Crew::new(instances, each));
        let work = Rc::new(Work { router, seat, feeds, crew, resting: Cell::new(0) });
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
        let status = self.serve(&mut lives).await;
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
        let queue = &self.work.seat.queue;
        let mut deliveries = FuturesUnordered::new();
        let mut closed = false;
        let mut given_up = None;
        let mut spare = None;
        loop {
            let mut parcel = None;
            tokio::select! {
                biased;
                () = self.orders.retire.notified() => return HandlerStatus::Ended,
                () = self.orders.recall.notified() => {
                    self.work.crew.instances.iter().for_each(Instance::recall);
                }
                Some(status) = lives.next() => {
                    // One of several actors that may not be rebuilt ends the handler: the others
                    // would hide that it is ill.
                    self.work.crew.instances.iter().for_each(Instance::retire);
                    let status = *given_up.get_or_insert(status);
                    self.work.seat.set_status(status);
                }
                Some(()) = deliveries.next() => {}
                () = self.work.seat.changed.notified() => {}
                popped = poll_fn(|cx| queue.poll_pop(cx)),
                    if !closed && given_up.is_none() && self.has_room(deliveries.len()) =>
                {
                    closed = popped.is_none();
                    parcel = popped;
                }
            }
            // A batch is worked off without a look at anything else.
            for _ in 0..BATCH_MAX {
                let Some(next) = parcel.take() else { break };
                // Most are done at once: they need no place among those that wait, and the next one
                // has their memory.
                let mut slot = Slot::holding(Rc::clone(&self.work).deliver(next), spare.take());
                if poll_once(Pin::new(&mut slot)).await.is_pending() {
                    deliveries.push(slot);
                } else {
                    spare = Some(slot);
                }
                if self.has_room(deliveries.len()) {
                    parcel = queue.try_pop();
                }
            }
            if let Some(next) = parcel {
                deliveries.push(Slot::holding(Rc::clone(&self.work).deliver(next), None));
                yield_now().await;
            }
            if deliveries.is_empty() && (closed || given_up.is_some()) {
                return given_up.unwrap_or(HandlerStatus::Ended);
            }
        }
    }
}

/// The memory of one delivery.
struct Slot<F>(Pin<Box<Option<F>>>);

impl<F> Slot<F> {
    /// In the memory of a finished one, if there is some.
    fn holding(delivery: F, spare: Option<Self>) -> Self {
        let mut slot = spare.unwrap_or_else(|| Self(Box::pin(None)));
        slot.0.set(Some(delivery));
        slot
    }
}

impl<F: Future<Output = ()>> Future for Slot<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let done = self.0.as_mut().as_pin_mut().is_none_or(|delivery| delivery.poll(cx).is_ready());
        if !done {
            return Poll::Pending;
        }
        self.0.set(None);
        Poll::Ready(())
    }
}

/// How many events are handled before other tasks of the thread have their turn.
const BATCH_MAX: usize = 64;
