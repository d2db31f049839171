//! One actor of a handler, kept alive: built by the factory, watched for its end, built again.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use actix::dev::ContextFut;
use actix::{Actor, Addr, AsyncContext, Context};
use actix_rt::ArbiterHandle;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
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

/// How a life is to end, and how it ended.
#[derive(Default)]
struct Fate {
    order: Mutex<Option<End>>,
    /// Whether there is an order or an end.
    is_ending: AtomicBool,
    ordered: Notify,
    /// Wakes the deliveries in work when the order is a recall.
    recalled: Notify,
    end: OnceLock<End>,
    /// Whether a delivery has logged the panic that ended it.
    is_logged: Arc<AtomicBool>,
}

impl Fate {
    /// Orders the end; the first order counts.
    fn decree(&self, end: End) {
        self.order.lock().get_or_insert(end);
        self.is_ending.store(true, Release);
        self.ordered.notify_one();
        self.recalled.notify_waiters();
    }

    async fn decreed(&self) -> End {
        loop {
            if let Some(end) = self.order.lock().clone() {
                return end;
            }
            self.ordered.notified().await;
        }
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
            if matches!(*self.fate.order.lock(), Some(End::Recalled)) {
                return;
            }
            recalled.await;
        }
    }

    /// Whether the panic that ends this life is yet to be logged; it is then the caller's to log.
    pub(crate) fn claim_log(&self) -> bool {
        !self.fate.is_logged.swap(true, Relaxed)
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
pub(crate) enum State<A: Actor> {
    /// Being built, or waiting for its restart.
    Starting,
    Alive(Arc<Life<A>>),
    /// It will not come back.
    Gone,
}

impl<A: Actor> Clone for State<A> {
    fn clone(&self) -> Self {
        match self {
            Self::Starting => Self::Starting,
            Self::Alive(life) => Self::Alive(Arc::clone(life)),
            Self::Gone => Self::Gone,
        }
    }
}

/// One actor of a handler, through all its lives.
pub(crate) struct Instance<A: Actor> {
    state: watch::Sender<State<A>>,
    /// That of the current life, also while its actor is only being built.
    fate: RefCell<Arc<Fate>>,
    is_retired: Cell<bool>,
    retired: Notify,
    /// Ends the pause before a restart.
    recalled: Notify,
    /// The thread on which the actor lives; `None` for that of its host.
    thread: Option<ArbiterHandle>,
    /// That of the current life of a short-form handler on the host's thread.
    resident: RefCell<Option<Resident>>,
}

impl<A: Actor<Context = Context<A>>> Instance<A> {
    pub(crate) fn new(thread: Option<ArbiterHandle>) -> Self {
        let (state, fate) = (watch::Sender::new(State::Starting), RefCell::default());
        let (retired, recalled) = (Notify::new(), Notify::new());
        let (is_retired, resident) = (Cell::new(false), RefCell::default());
        Self { state, fate, is_retired, retired, recalled, thread, resident }
    }

    /// The current life, if there is one that is not about to end.
    pub(crate) fn life_now(&self) -> Option<Arc<Life<A>>> {
        match &*self.state.borrow() {
            State::Alive(life) if !life.is_ending() => Some(Arc::clone(life)),
            _ => None,
        }
    }

    /// The current life; waits through restarts. `None` when the instance is gone.
    pub(crate) async fn life(&self) -> Option<Arc<Life<A>>> {
        let mut state = self.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                State::Alive(life) if !life.is_ending() => return Some(Arc::clone(life)),
                State::Gone => return None,
                State::Alive(_) | State::Starting => {}
            }
            // The sender lives in `self`.
            state.changed().await.ok()?;
        }
    }

    /// What a short-form handler can be called by.
    pub(crate) fn resident(&self) -> Option<Resident> {
        self.resident.borrow().clone()
    }

    /// Stops the actor for good.
    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
        self.retired.notify_one();
        self.fate.borrow().decree(End::Retired);
    }

    /// Ends the actor, or its pause before a restart; the supervisor then says when it is rebuilt.
    pub(crate) fn recall(&self) {
        self.recalled.notify_waiters();
        self.fate.borrow().decree(End::Recalled);
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
            let end = self.live(factory, resident, seat, started.take()).await;
            self.resident.replace(None);
            self.state.send_replace(State::Starting);
            if end == End::Retired {
                break HandlerStatus::Ended;
            }
            seat.mark_restarting();
            let is_logged = Arc::clone(&self.fate.borrow().is_logged);
            let report = Ended { seat: Arc::clone(seat), end, is_logged };
            tokio::select! {
                () = self.retired.notified() => break HandlerStatus::Ended,
                answer = self.rest(report, supervisor) => match answer {
                    Answer { verdict: Verdict::GiveUp(status), .. } => break status,
                    answer => started = answer.started,
                }
            }
        };
        self.state.send_replace(State::Gone);
        status
    }

    /// Reports the end and waits until the actor may be built again.
    async fn rest(&self, mut report: Ended, supervisor: &Addr<Supervisor>) -> Answer {
        loop {
            let answer = supervisor.send(report.clone()).await;
            let answer = answer.unwrap_or_else(|_| Answer::of_nobody());
            match answer.verdict {
                Verdict::RestartAfter(delay) if !delay.is_zero() => tokio::select! {
                    () = self.recalled.notified() => report.end = End::Recalled,
                    () = sleep(delay) => return answer,
                },
                _ => return answer,
            }
        }
    }

    /// One life, on the thread where it belongs.
    async fn live(
        &self,
        factory: &Factory<A>,
        resident: Option<fn(&A) -> Resident>,
        seat: &Arc<Seat>,
        started: Option<oneshot::Sender<()>>,
    ) -> End {
        let fate = Arc::new(Fate::default());
        if self.is_retired.get() {
            fate.decree(End::Retired);
        }
        self.fate.replace(Arc::clone(&fate));
        let born = {
            let (state, fate, seat) = (self.state.clone(), Arc::clone(&fate), Arc::clone(seat));
            move |addr| {
                seat.mark_up();
                state.send_replace(State::Alive(Arc::new(Life { addr, fate })));
                if let Some(started) = started {
                    // A supervisor that is gone need not know.
                    let _ = started.send(());
                }
            }
        };
        let (factory, handler) = (Arc::clone(factory), Arc::clone(&seat.handler));
        let Some(thread) = &self.thread else {
            let settle = |actor: &A| {
                self.resident.replace(resident.map(|resident| resident(actor)));
            };
            return live_here(factory, &handler, fate, settle, born).await;
        };
        let (ended, has_ended) = oneshot::channel();
        thread.spawn_fn(move || {
            actix_rt::spawn(async move {
                let end = live_here(factory, &handler, fate, |_| {}, born).await;
                // The host is gone when the runtime has stopped.
                let _ = ended.send(end);
            });
        });
        has_ended.await.unwrap_or(End::Panicked("the handler's thread ended".into()))
    }
}

/// Builds the actor and polls it to its end, whatever ends it. It is `born` when it has started.
///
/// actix's own supervisor does not survive a panic: it unwinds through it. So the actor's future is
/// polled here, under `catch_unwind`.
async fn live_here<A: Actor<Context = Context<A>>>(
    factory: Factory<A>,
    handler: &str,
    fate: Arc<Fate>,
    settle: impl FnOnce(&A),
    born: impl FnOnce(Addr<A>),
) -> End {
    let build = AssertUnwindSafe(|| (factory.lock())());
    let actor = match catch_unwind(build) {
        Ok(actor) => actor,
        Err(panic) => return End::Panicked(panic_text(&*panic)),
    };
    settle(&actor);
    let context = Context::new();
    let addr = context.address();
    let mut life = Box::pin(context.into_future(actor));
    // A condemned actor first takes what is in its mailbox: those deliveries did nothing wrong.
    let end = tokio::select! {
        biased;
        end = poll_caught(life.as_mut(), || born(addr)) => end,
        end = fate.decreed() => end,
    };
    // Before the mailbox goes, so that whoever loses a message finds the reason.
    let end = fate.end.get_or_init(|| end).clone();
    fate.is_ending.store(true, Release);
    // Runs the actor's `stopping` and `stopped`, which may panic too.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(life))) {
        let panic = panic_text(&*panic);
        tracing::error!(handler, panic, "an actor panicked while it stopped");
    }
    end
}

async fn poll_caught<A: Actor<Context = Context<A>>>(
    mut life: Pin<&mut ContextFut<A, Context<A>>>,
    born: impl FnOnce(),
) -> End {
    let mut born = Some(born);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(cx))) {
        Ok(Poll::Pending) => {
            // The first poll ran the actor's `started`.
            if let Some(born) = born.take() {
                born();
            }
            Poll::Pending
        }
        Ok(Poll::Ready(())) => Poll::Ready(End::Stopped),
        Err(panic) => Poll::Ready(End::Panicked(panic_text(&*panic))),
    })
    .await
}
