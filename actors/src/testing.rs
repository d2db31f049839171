//! A bus for tests: real queues and real actors in virtual time, a record of all that happens, and
//! faults and orders that seldom come by themselves.

use std::fmt::Write;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use crate::bus::Bus;
use crate::clock::{Wall, secs};
use crate::dead_letter::DeadLetter;
use crate::domain::Domain;
use crate::error::{PublishError, RequestError};
use crate::event::{Event, Replies, TraceId};
use crate::layer::Layer;
use crate::observed::Observer;
use crate::pattern::Pattern;
use crate::runtime::{Runtime, RuntimeBuilder};
use crate::start_error::StartError;

mod dead_letter_store;
pub use dead_letter_store::dead_letter_store_conformance;
mod record;
use record::{Record, Step, write_timeline};
mod tracked;
pub use tracked::{DropReason, Dropped, FailedDelivery, Found, Handled, Scheduled, Tracked};
mod track;
pub use track::Track;
mod faults;
pub use faults::Fault;
use faults::Faults;
mod shuffle;
use shuffle::Shuffle;
mod explore;
pub use explore::explore;
mod context;
pub use context::TestContext;

/// A running bus in virtual time: whenever nothing can go on, the clock jumps to the next timer.
///
/// It dereferences to its [`Bus`].
#[derive(Clone, Debug)]
pub struct TestBus {
    runtime: Runtime,
    record: Arc<Record>,
    faults: Arc<Faults>,
    session_max: Duration,
}

/// How many steps are shown of a bus that does not come to rest.
const SHOWN_MAX: usize = 50;

impl TestBus {
    /// Starts the domains, seeded, in virtual time.
    ///
    /// ```
    /// # use callboard_actors::prelude::*;
    /// use callboard_actors::testing::TestBus;
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    /// # struct Register { name: String }
    /// # impl Event for Register { const NAME: &'static str = "user.register"; }
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    /// # struct Registered { name: String }
    /// # impl Event for Registered { const NAME: &'static str = "user.registered"; }
    /// # #[derive(Clone)]
    /// # struct Registrar;
    /// # impl EventHandler for Registrar {
    /// #     type Input = Register;
    /// #     type Output = Registered;
    /// #     async fn handle(&self, event: &Register, _: &EventContext) -> HandlerResult<Registered> {
    /// #         Ok(Registered { name: event.name.clone() })
    /// #     }
    /// # }
    /// # #[actix::main]
    /// # async fn main() {
    /// let bus = TestBus::start([Domain::new("user").handler(Registrar)]).await.unwrap();
    /// let tracked = bus.publish_tracked(Register { name: "Ada".into() }).await.unwrap();
    /// assert_eq!(tracked.published::<Registered>().one().name, "Ada");
    /// # }
    /// ```
    ///
    /// # Errors
    /// All faults of the graph.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start(domains: impl IntoIterator<Item = Domain>) -> Result<Self, StartError> {
        Self::start_with(mount(domains)).await
    }

    /// Starts the domains, seeded, in virtual time; the wall clock begins at `time`.
    ///
    /// # Errors
    /// All faults of the graph.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start_at(
        time: SystemTime,
        domains: impl IntoIterator<Item = Domain>,
    ) -> Result<Self, StartError> {
        Self::run(mount(domains), time, 0, Vec::new()).await
    }

    /// Starts a runtime with settings of its own, seeded, in virtual time.
    ///
    /// # Errors
    /// All faults of the graph.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start_with(builder: RuntimeBuilder) -> Result<Self, StartError> {
        Self::run(builder, SystemTime::now(), 0, Vec::new()).await
    }

    /// Starts the domains as [`start`](Self::start) does, and shuffles the order in which handlers
    /// that are ready at the same time run: by the seed, so that an order repeats under its seed.
    /// The deliveries of one handler stay in order where its policy says so.
    /// [`explore`] runs a test under many seeds, and has an example.
    ///
    /// # Errors
    /// All faults of the graph.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn shuffled(
        seed: u64,
        domains: impl IntoIterator<Item = Domain>,
    ) -> Result<Self, StartError> {
        Self::shuffled_with(seed, mount(domains)).await
    }

    /// As [`shuffled`](Self::shuffled), for a runtime with settings of its own.
    ///
    /// # Errors
    /// All faults of the graph.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn shuffled_with(seed: u64, builder: RuntimeBuilder) -> Result<Self, StartError> {
        Self::run(builder, SystemTime::now(), seed, vec![Arc::new(Shuffle::new(seed))]).await
    }

    async fn run(
        builder: RuntimeBuilder,
        time: SystemTime,
        seed: u64,
        mut around_deliveries: Vec<Arc<dyn Layer>>,
    ) -> Result<Self, StartError> {
        pause_time();
        let (record, faults) = (Arc::<Record>::default(), Faults::new(seed));
        let write = Arc::clone(&record);
        let observer = Observer::new(move |observed| write.add(observed));
        around_deliveries.push(faults.around_deliveries());
        let builder = builder.outermost(around_deliveries, vec![faults.around_attempts()]);
        let builder = builder.seed(seed).wall(Wall::virtual_from(time)).observed_by(observer);
        let runtime = builder.start().await?;
        faults.connect(runtime.router());
        Ok(Self { runtime, record, faults, session_max: secs(300) })
    }

    /// Sets the wall clock, as an administrator or a time server would. Timers take no notice; what
    /// follows the wall clock, such as a cron schedule, does.
    pub fn set_clock(&self, time: SystemTime) {
        self.runtime.set_clock(time);
    }

    /// Sets how long, in virtual time, a tracked session and [`quiet`](Self::quiet) wait for the
    /// bus to come to rest. Default 5 min.
    pub fn session_max(mut self, limit: Duration) -> Self {
        self.session_max = limit;
        self
    }

    /// The runtime, for its graph and for stopping it.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Publishes, and returns when nothing is queued or in work any more, timers of retries
    /// included. [`start`](Self::start) has an example.
    ///
    /// # Errors
    /// As for publishing; then it waits for nothing.
    ///
    /// # Panics
    /// When the bus does not come to rest within [`session_max`](Self::session_max): with the
    /// timeline, and what each handler has left.
    pub async fn publish_tracked<E: Event>(&self, event: E) -> Result<Tracked, PublishError> {
        let mut publish = self.publish(event);
        let trace_id = publish.address_mut().fix_trace_id();
        let work = async {
            publish.await?;
            self.runtime.quiet().await;
            Ok(())
        };
        let (published, tracked) = self.session(trace_id, work).await;
        published.map(|()| tracked)
    }

    /// Requests, and returns when nothing is queued or in work any more: what the requester was
    /// told, and all that happened, also after it was told.
    ///
    /// ```
    /// # use callboard_actors::prelude::*;
    /// # use callboard_actors::testing::TestBus;
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    /// # struct Register {}
    /// # impl Event for Register { const NAME: &'static str = "user.register"; }
    /// # impl Replies for Register { type Reply = Registered; }
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    /// # struct Registered {}
    /// # impl Event for Registered { const NAME: &'static str = "user.registered"; }
    /// # #[derive(Clone)]
    /// # struct Registrar;
    /// # impl EventHandler for Registrar {
    /// #     type Input = Register;
    /// #     type Output = Registered;
    /// #     async fn handle(&self, _: &Register, _: &EventContext) -> HandlerResult<Registered> {
    /// #         Ok(Registered {})
    /// #     }
    /// # }
    /// # #[actix::main]
    /// # async fn main() {
    /// # let bus = TestBus::start([Domain::new("user").handler(Registrar)]).await.unwrap();
    /// let (reply, tracked) = bus.request_tracked(Register {}).await;
    /// assert!(reply.is_ok());
    /// assert_eq!(tracked.unheard(), ["user.registered"]);
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`publish_tracked`](Self::publish_tracked).
    pub async fn request_tracked<E: Replies>(
        &self,
        event: E,
    ) -> (Result<E::Reply, RequestError>, Tracked) {
        self.track(self.request(event)).await
    }

    /// Awaits a publication or a request as it was built, and returns when nothing is queued or in
    /// work any more.
    ///
    /// ```
    /// # use callboard_actors::Identity;
    /// # use callboard_actors::prelude::*;
    /// # use callboard_actors::testing::TestBus;
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    /// # struct Register {}
    /// # impl Event for Register { const NAME: &'static str = "user.register"; }
    /// # #[actix::main]
    /// # async fn main() {
    /// # let bus = TestBus::start([]).await.unwrap();
    /// let register = bus.publish(Register {}).identity(Identity::new("ada")).tenant("acme");
    /// let (published, tracked) = bus.track(register).await;
    /// assert!(published.is_ok());
    /// assert_eq!(tracked.names(), ["user.register"]);
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`publish_tracked`](Self::publish_tracked).
    pub async fn track<T: Track>(&self, mut what: T) -> (T::Output, Tracked) {
        let trace_id = what.fix_trace_id();
        let work = async {
            let output = what.await;
            self.runtime.quiet().await;
            output
        };
        self.session(trace_id, work).await
    }

    /// The dead letters that there are now, the oldest first, at most 1 000.
    pub async fn letters(&self) -> Vec<DeadLetter> {
        // The store of a test is in memory and does not fail.
        self.runtime.dead_letters().all().await.unwrap_or_default()
    }

    /// Waits until nothing is queued or in work.
    ///
    /// # Panics
    /// As [`publish_tracked`](Self::publish_tracked), with the latest steps.
    pub async fn quiet(&self) {
        if timeout(self.session_max, self.runtime.quiet()).await.is_err() {
            let latest = self.record.latest(SHOWN_MAX);
            let begun = latest.first().map_or_else(Instant::now, |first| first.at);
            panic!("{}", self.unrest(&latest, begun));
        }
    }

    /// All events of one type that were published so far.
    pub fn published<E: Event>(&self) -> Found<E> {
        Found::among(self.record.published().iter())
    }

    /// Lets something go wrong in a handler, `domain.Handler`, or in all whose names match a
    /// pattern: `*` stands for one part of a name, `**` for one or more.
    ///
    /// ```
    /// # use callboard_actors::prelude::*;
    /// use callboard_actors::testing::{Fault, TestBus};
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    /// # struct Placed {}
    /// # impl Event for Placed { const NAME: &'static str = "order.placed"; }
    /// # #[derive(Clone)]
    /// # struct Packer;
    /// # impl EventHandler for Packer {
    /// #     type Input = Placed;
    /// #     type Output = ();
    /// #     async fn handle(&self, _: &Placed, _: &EventContext) -> HandlerResult<()> { Ok(()) }
    /// #     fn policy(&self) -> Policy { Policy::default().attempts_max(3) }
    /// # }
    /// # #[actix::main]
    /// # async fn main() {
    /// let bus = TestBus::start([Domain::new("stock").handler(Packer)]).await.unwrap();
    /// bus.inject("stock.Packer", Fault::fail(2));
    /// let tracked = bus.publish_tracked(Placed {}).await.unwrap();
    /// assert_eq!(tracked.handled::<Placed>()[0].attempts, 3);
    /// # }
    /// ```
    ///
    /// # Panics
    /// When no handler has this name.
    #[track_caller]
    pub fn inject(&self, handlers: &str, fault: Fault) {
        let pattern = Pattern::new(handlers);
        let table = self.runtime.router().table();
        let known: Vec<_> = table.seats().iter().map(|seat| &*seat.handler).collect();
        assert!(
            known.iter().any(|handler| pattern.matches(handler)),
            "no handler is named `{handlers}`; there are: {}",
            known.join(", ")
        );
        self.faults.add(&pattern, fault);
    }

    /// Takes back all faults.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// Does the work and collects what happens meanwhile in one trace.
    async fn session<T>(&self, trace_id: TraceId, work: impl Future<Output = T>) -> (T, Tracked) {
        let (mark, begun) = (self.record.len(), Instant::now());
        let done = timeout(self.session_max, work).await;
        let steps = self.record.since(mark, trace_id);
        let Ok(done) = done else { panic!("{}", self.unrest(&steps, begun)) };
        (done, Tracked::new(begun, steps))
    }

    /// What keeps the bus from coming to rest.
    fn unrest(&self, steps: &[Step], begun: Instant) -> String {
        let mut text = format!("not quiet after {:?} of virtual time\n", self.session_max);
        let handlers = self.metrics().handlers;
        for left in self.runtime.left().left {
            let state = handlers.get(&left.handler).map(|metrics| {
                let paused = if metrics.is_paused { ", paused" } else { "" };
                let breaker = metrics.breaker.map(|state| format!(", breaker {state:?}"));
                format!("{:?}{paused}{}", metrics.status, breaker.unwrap_or_default())
            });
            let (handler, state) = (left.handler, state.unwrap_or_default());
            let (queued, in_flight) = (left.queued, left.in_flight);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{handler}: {queued} queued, {in_flight} in work ({state})");
        }
        let _ = write_timeline(&mut text, steps, begun);
        text
    }
}

impl Deref for TestBus {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.runtime
    }
}

fn mount(domains: impl IntoIterator<Item = Domain>) -> RuntimeBuilder {
    domains.into_iter().fold(Runtime::new(), RuntimeBuilder::mount)
}

/// Pauses tokio's clock, unless it stands still already: then tokio would panic.
fn pause_time() {
    let (virtually, really) = (Instant::now(), std::time::Instant::now());
    while really.elapsed() < Duration::from_micros(50) {
        std::hint::spin_loop();
    }
    if virtually.elapsed() > Duration::ZERO {
        tokio::time::pause();
    }
}
