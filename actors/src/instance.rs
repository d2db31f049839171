//! One actor of a handler, kept alive: built by the factory, watched for its end, built again.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use actix::dev::ContextFut;
use actix::{Actor, Addr, AsyncContext, Context};
use actix_rt::ArbiterHandle;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::sleep;

use crate::error::panic_text;
use crate::metrics::HandlerStatus;
use crate::seat::Seat;
use crate::supervisor::{End, Ended, Supervisor, Verdict};

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
    ordered: Notify,
    end: OnceLock<End>,
}

impl Fate {
    /// Orders the end; the first order counts.
    fn decree(&self, end: End) {
        self.order.lock().get_or_insert(end);
        self.ordered.notify_one();
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

    fn is_ending(&self) -> bool {
        self.fate.order.lock().is_some() || self.fate.end.get().is_some()
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
    /// The thread on which the actor lives; `None` for that of its host.
    thread: Option<ArbiterHandle>,
}

impl<A: Actor<Context = Context<A>>> Instance<A> {
    pub(crate) fn new(thread: Option<ArbiterHandle>) -> Self {
        let (state, fate) = (watch::Sender::new(State::Starting), RefCell::default());
        Self { state, fate, is_retired: Cell::new(false), retired: Notify::new(), thread }
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

    /// Stops the actor for good.
    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
        self.retired.notify_one();
        self.fate.borrow().decree(End::Retired);
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
        seat: &Arc<Seat>,
        supervisor: &Addr<Supervisor>,
    ) -> HandlerStatus {
        let status = loop {
            let end = self.live(factory, seat).await;
            self.state.send_replace(State::Starting);
            if end == End::Retired {
                break HandlerStatus::Ended;
            }
            seat.set_status(HandlerStatus::Restarting);
            let report = Ended { seat: Arc::clone(seat), end };
            // A supervisor that is gone wants no restart.
            let verdict = supervisor.send(report).await;
            match verdict.unwrap_or(Verdict::GiveUp(HandlerStatus::Ended)) {
                Verdict::GiveUp(status) => break status,
                Verdict::RestartAfter(delay) => tokio::select! {
                    () = self.retired.notified() => break HandlerStatus::Ended,
                    () = sleep(delay) => {}
                },
            }
        };
        self.state.send_replace(State::Gone);
        status
    }

    /// One life, on the thread where it belongs.
    async fn live(&self, factory: &Factory<A>, seat: &Arc<Seat>) -> End {
        let fate = Arc::new(Fate::default());
        if self.is_retired.get() {
            fate.decree(End::Retired);
        }
        self.fate.replace(Arc::clone(&fate));
        let born = {
            let (state, fate, seat) = (self.state.clone(), Arc::clone(&fate), Arc::clone(seat));
            move |addr| {
                seat.set_status(HandlerStatus::Up);
                state.send_replace(State::Alive(Arc::new(Life { addr, fate })));
            }
        };
        let factory = Arc::clone(factory);
        let Some(thread) = &self.thread else {
            return live_here(factory, fate, born).await;
        };
        let (ended, has_ended) = oneshot::channel();
        thread.spawn_fn(move || {
            actix_rt::spawn(async move {
                let end = live_here(factory, fate, born).await;
                // The host is gone when the runtime has stopped.
                let _ = ended.send(end);
            });
        });
        has_ended.await.unwrap_or(End::Panicked("the handler's thread ended".into()))
    }
}

/// Builds the actor and polls it to its end, whatever ends it.
///
/// actix's own supervisor does not survive a panic: it unwinds through it. So the actor's future is
/// polled here, under `catch_unwind`.
async fn live_here<A: Actor<Context = Context<A>>>(
    factory: Factory<A>,
    fate: Arc<Fate>,
    born: impl FnOnce(Addr<A>),
) -> End {
    let build = AssertUnwindSafe(|| (factory.lock())());
    let actor = match catch_unwind(build) {
        Ok(actor) => actor,
        Err(panic) => return End::Panicked(panic_text(&*panic)),
    };
    let context = Context::new();
    let addr = context.address();
    let mut life = Box::pin(context.into_future(actor));
    born(addr);
    // A condemned actor first takes what is in its mailbox: those deliveries did nothing wrong.
    let end = tokio::select! {
        biased;
        end = poll_caught(life.as_mut()) => end,
        end = fate.decreed() => end,
    };
    // Before the mailbox goes, so that whoever loses a message finds the reason.
    let end = fate.end.get_or_init(|| end).clone();
    // Runs the actor's `stopping` and `stopped`, which may panic too.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(life))) {
        tracing::error!(panic = panic_text(&*panic), "an actor panicked while it stopped");
    }
    end
}

async fn poll_caught<A: Actor<Context = Context<A>>>(
    mut life: Pin<&mut ContextFut<A, Context<A>>>,
) -> End {
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(End::Stopped),
        Err(panic) => Poll::Ready(End::Panicked(panic_text(&*panic))),
    })
    .await
}
