//! One actor of a handler, kept alive: built by the factory, watched for its end, built again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, Waker};

use actix::dev::ContextFut;
use actix::{Actor, Addr, AsyncContext, Context};
use actix_rt::ArbiterHandle;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use crate::error::panic_text;
use crate::handler::Resident;
use crate::metrics::HandlerStatus;
use crate::seat::Seat;
use crate::supervisor::{Answer, End, Ended, Supervisor, Verdict};

/// Builds the actor; run again at each restart.
pub(crate) type Factory<A> = Arc<Mutex<dyn FnMut() -> A + Send>>;

/// An actor from its start to its end.
pub(crate) struct Life<A: Actor> {
    pub(crate) addr: Addr<A>,
    fate: Arc<Fate>,
}

impl<A: Actor> Clone for Life<A> {
    fn clone(&self) -> Self {
        Self { addr: self.addr.clone(), fate: Arc::clone(&self.fate) }
    }
}

/// How a life is to end, and how it ended.
#[derive(Default)]
struct Fate {
    order: Mutex<Order>,
    /// Whether there is an order or an end.
    is_ending: AtomicBool,
    /// Wakes the deliveries in work when the order is a recall.
    recalled: Notify,
    end: OnceLock<End>,
    /// Whether a delivery has logged the panic that ended it.
    is_logged: OnceLock<Arc<AtomicBool>>,
}

#[derive(Default)]
struct Order {
    end: Option<End>,
    /// Who carries it out.
    waker: Option<Waker>,
}

impl Fate {
    /// Orders the end; the first order counts.
    fn decree(&self, end: End) {
        let mut order = self.order.lock();
        order.end.get_or_insert(end);
        let waker = order.waker.take();
        drop(order);
        self.is_ending.store(true, Release);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.recalled.notify_waiters();
    }

    fn poll_decreed(&self, cx: &TaskContext<'_>) -> Poll<End> {
        let mut order = self.order.lock();
        if let Some(end) = &order.end {
            return Poll::Ready(end.clone());
        }
        order.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_logged(&self) -> &Arc<AtomicBool> {
        self.is_logged.get_or_init(Arc::default)
    }
}

impl<A: Actor> Life<A> {
    /// A delivery panicked: the actor's state cannot be trusted any more.
    pub(crate) fn condemn(&self, panic: String) {
        self.fate.decree(End::Panicked(panic));
    }

    /// Resolves when the supervisor wants the actor rebuilt with its siblings.
    pub(crate) async fn recalled(&self) {
        loop {
            let recalled = self.fate.recalled.notified();
            if matches!(self.fate.order.lock().end, Some(End::Recalled)) {
                return;
            }
            recalled.await;
        }
    }

    /// Whether the panic that ends this life is yet to be logged; it is then the caller's to log.
    pub(crate) fn claim_log(&self) -> bool {
        !self.fate.is_logged().swap(true, Relaxed)
    }

    fn is_ending(&self) -> bool {
        self.fate.is_ending.load(Acquire)
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<&End> {
        self.fate.end.get()
    }
}

/// What a delivery sees of an instance.
enum State<A: Actor> {
    /// Being built, or waiting for its restart.
    Starting,
    Alive(Life<A>),
    /// It will not come back.
    Gone,
}

/// Where deliveries look for the actor.
struct Stage<A: Actor> {
    state: Mutex<State<A>>,
    changed: Notify,
}

impl<A: Actor> Stage<A> {
    fn set(&self, state: State<A>) {
        // What was there is dropped when the lock is free again.
        let _before = std::mem::replace(&mut *self.state.lock(), state);
        self.changed.notify_waiters();
    }
}

/// One actor of a handler, through all its lives.
pub(crate) struct Instance<A: Actor> {
    stage: Arc<Stage<A>>,
    /// That of the current life, also while its actor is only being built.
    fate: RefCell<Arc<Fate>>,
    is_retired: Cell<bool>,
    /// Told when an actor that has ended is retired or recalled.
    called: Notify,
    /// The thread on which the actor lives; `None` for that of its host.
    thread: Option<ArbiterHandle>,
    /// That of the current life of a short-form handler on the host's thread.
    resident: RefCell<Option<Resident>>,
    /// The life that was current when somebody looked last. To look at it needs no lock, and to hold
    /// it on this thread no count that threads share.
    seen: RefCell<Option<Rc<Life<A>>>>,
}

impl<A: Actor<Context = Context<A>>> Instance<A> {
    pub(crate) fn new(thread: Option<ArbiterHandle>) -> Self {
        let (state, changed) = (Mutex::new(State::Starting), Notify::new());
        Self {
            stage: Arc::new(Stage { state, changed }),
            fate: RefCell::default(),
            is_retired: Cell::new(false),
            called: Notify::new(),
            thread,
            resident: RefCell::default(),
            seen: RefCell::new(None),
        }
    }

    /// The current life, if there is one that is not about to end.
    pub(crate) fn life_now(&self) -> Option<Rc<Life<A>>> {
        let seen = &mut *self.seen.borrow_mut();
        if seen.as_ref().is_none_or(|life| life.is_ending()) {
            *seen = match &*self.stage.state.lock() {
                State::Alive(life) if !life.is_ending() => Some(Rc::new(life.clone())),
                _ => None,
            };
        }
        seen.clone()
    }

    /// The current life; waits through restarts. `None` when the instance is gone.
    pub(crate) async fn life(&self) -> Option<Rc<Life<A>>> {
        loop {
            let changed = self.stage.changed.notified();
            if let Some(life) = self.life_now() {
                return Some(life);
            }
            if matches!(&*self.stage.state.lock(), State::Gone) {
                return None;
            }
            changed.await;
        }
    }

    /// What a short-form handler can be called by.
    pub(crate) fn resident(&self) -> Option<Resident> {
        self.resident.borrow().clone()
    }

    /// Stops the actor for good.
    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
        self.called.notify_waiters();
        self.fate.borrow().decree(End::Retired);
    }

    /// Ends the actor, or its pause before a restart; the supervisor then says when it is rebuilt.
    pub(crate) fn recall(&self) {
        self.called.notify_waiters();
        self.fate.borrow().decree(End::Recalled);
    }

    /// Whether the actor lives on the thread of its host.
    pub(crate) fn is_here(&self) -> bool {
        self.thread.is_none()
    }

    /// Resolves when the thread of the actor is free for other work.
    pub(crate) async fn thread_is_free(&self) {
        if let Some(thread) = &self.thread {
            let (free, is_free) = oneshot::channel::<()>();
            thread.spawn_fn(move || drop(free));
            // The sender is dropped, by the function or with the thread.
            let _ = is_free.await;
        }
    }

    /// Keeps the actor alive until it may not be rebuilt; says in which state that leaves it.
    pub(crate) async fn keep(
        &self,
        factory: &Factory<A>,
        resident: Option<fn(&A) -> Resident>,
        seat: &Arc<Seat>,
        supervisor: &Addr<Supervisor>,
    ) -> HandlerStatus {
        let mut started = None;
        let status = loop {
            let fate = self.begin();
            let birth = Birth { fate, started: started.take() };
            // What is seldom needed is boxed: most actors live long, and many of them idle.
            let end = if let Some(thread) = &self.thread {
                Box::pin(self.live_there(thread, factory, seat, birth)).await
            } else {
                self.live_here(factory, resident, seat, birth).await
            };
            self.resident.replace(None);
            self.seen.replace(None);
            self.stage.set(State::Starting);
            if end == End::Retired {
                break HandlerStatus::Ended;
            }
            match Box::pin(self.rest(end, seat, supervisor)).await {
                Ok(answered) => started = answered,
                Err(status) => break status,
            }
        };
        self.stage.set(State::Gone);
        status
    }

    /// Reports the end and waits until the actor may be built again; says whom to tell then, or in
    /// which state the handler is left.
    async fn rest(
        &self,
        end: End,
        seat: &Arc<Seat>,
        supervisor: &Addr<Supervisor>,
    ) -> Result<Option<oneshot::Sender<()>>, HandlerStatus> {
        seat.mark_restarting();
        let is_logged = Arc::clone(self.fate.borrow().is_logged());
        let mut report = Ended { seat: Arc::clone(seat), end, is_logged };
        loop {
            let answer = tokio::select! {
                biased;
                () = self.retired() => return Err(HandlerStatus::Ended),
                answer = supervisor.send(report.clone()) => answer,
            };
            let Answer { verdict, started } = answer.unwrap_or_else(|_| Answer::of_nobody());
            let delay = match verdict {
                Verdict::GiveUp(status) => return Err(status),
                Verdict::RestartAfter(delay) => delay,
            };
            if delay.is_zero() {
                return Ok(started);
            }
            tokio::select! {
                biased;
                () = self.called.notified() => report.end = End::Recalled,
                () = sleep(delay) => return Ok(started),
            }
        }
    }

    async fn retired(&self) {
        loop {
            let called = self.called.notified();
            if self.is_retired.get() {
                return;
            }
            called.await;
        }
    }

    /// A new life, of an actor that is yet to be built.
    fn begin(&self) -> Arc<Fate> {
        let fate = Arc::new(Fate::default());
        if self.is_retired.get() {
            fate.decree(End::Retired);
        }
        self.fate.replace(Arc::clone(&fate));
        fate
    }

    /// One life on the thread of the host.
    async fn live_here(
        &self,
        factory: &Factory<A>,
        resident: Option<fn(&A) -> Resident>,
        seat: &Arc<Seat>,
        mut birth: Birth,
    ) -> End {
        let settle = |actor: &A| {
            self.resident.replace(resident.map(|resident| resident(actor)));
        };
        let mut life = pin!(None);
        match build(factory, life.as_mut(), settle) {
            Ok(addr) => poll_life(life, addr, seat, &mut birth, &self.stage).await,
            Err(end) => end,
        }
    }

    /// One life on a thread of its own.
    async fn live_there(
        &self,
        thread: &ArbiterHandle,
        factory: &Factory<A>,
        seat: &Arc<Seat>,
        mut birth: Birth,
    ) -> End {
        let (ended, has_ended) = oneshot::channel();
        let (factory, seat) = (Arc::clone(factory), Arc::clone(seat));
        let stage = Arc::clone(&self.stage);
        thread.spawn_fn(move || {
            actix_rt::spawn(async move {
                let mut life = pin!(None);
                let end = match build(&factory, life.as_mut(), |_| {}) {
                    Ok(addr) => poll_life(life, addr, &seat, &mut birth, &stage).await,
                    Err(end) => end,
                };
                // The host is gone when the runtime has stopped.
                let _ = ended.send(end);
            });
        });
        has_ended.await.unwrap_or(End::Panicked("the handler's thread ended".into()))
    }
}

/// The beginning of a life.
struct Birth {
    fate: Arc<Fate>,
    /// Whom to tell when the actor has started.
    started: Option<oneshot::Sender<()>>,
}

/// An actor in its context; it stays in one place, which each life has once.
type Body<'l, A> = Pin<&'l mut Option<ContextFut<A, Context<A>>>>;

/// Builds the actor; `settle` sees it before it moves.
fn build<A: Actor<Context = Context<A>>>(
    factory: &Factory<A>,
    mut life: Body<'_, A>,
    settle: impl FnOnce(&A),
) -> Result<Addr<A>, End> {
    let build = AssertUnwindSafe(|| (factory.lock())());
    let actor = catch_unwind(build).map_err(|panic| End::Panicked(panic_text(&*panic)))?;
    settle(&actor);
    let context = Context::new();
    let addr = context.address();
    life.set(Some(context.into_future(actor)));
    Ok(addr)
}

/// Polls an actor to its end, whatever ends it.
///
/// actix's own supervisor does not survive a panic: it unwinds through it. So the actor's future is
/// polled here, under `catch_unwind`.
async fn poll_life<A: Actor<Context = Context<A>>>(
    mut life: Body<'_, A>,
    addr: Addr<A>,
    seat: &Arc<Seat>,
    birth: &mut Birth,
    stage: &Arc<Stage<A>>,
) -> End {
    let mut addr = Some(addr);
    let end = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            life.as_mut().as_pin_mut().map_or(Poll::Ready(()), |life| life.poll(cx))
        }));
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => return Poll::Ready(End::Stopped),
            Err(panic) => return Poll::Ready(End::Panicked(panic_text(&*panic))),
        }
        // The first poll ran the actor's `started`.
        if let Some(addr) = addr.take() {
            seat.mark_up();
            stage.set(State::Alive(Life { addr, fate: Arc::clone(&birth.fate) }));
            if let Some(started) = birth.started.take() {
                // A supervisor that is gone need not know.
                let _ = started.send(());
            }
        }
        // A condemned actor first takes what is in its mailbox: those deliveries did nothing wrong.
        birth.fate.poll_decreed(cx)
    })
    .await;
    // Before the mailbox goes, so that whoever loses a message finds the reason.
    let end = birth.fate.end.get_or_init(|| end).clone();
    birth.fate.is_ending.store(true, Release);
    // Runs the actor's `stopping` and `stopped`, which may panic too.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| life.set(None))) {
        let (handler, panic) = (&*seat.handler, panic_text(&*panic));
        tracing::error!(handler, panic, "an actor panicked while it stopped");
    }
    end
}
