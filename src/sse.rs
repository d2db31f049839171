//! Streams of server-sent events: a list of events and clients' requests enter; each event of the
//! list leaves, as text, to all clients that want it.
//!
//! The files in the order in which they are best read; each uses only those above it.

mod fault;
pub use fault::{SseError, SseFault};
mod wire;
mod replay;
mod broadcast;
mod permits;
mod permit;
pub use permit::Permit;
mod stream;
mod body;
mod opening;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::web::ServiceConfig;
use callboard_actors::{Bus, Event, RuntimeBuilder};

use self::broadcast::Broadcast;
use self::opening::Edge;
use self::permits::Permits;
use crate::auth::{Access, Provider, permission_setters};
use crate::http::{Traffic, Visit, fault_of_path, visits};
use crate::settings::SseSettings;

/// The events that clients may listen to over HTTP: a list, and nothing else can be heard.
///
#[doc = include_str!("docs/sse.md")]
///
/// # Limits
///
/// Each stream is an actor with a queue of its own, so that a client that does not read neither holds
/// others up nor costs more than its queue. It can come back, and has missed nothing. In a server of
/// one's own [`ws::on_connect`](crate::ws::on_connect) sees to it that the system, too, gives up a
/// client that takes nothing; an [`App`](crate::App) does that itself.
///
/// Streams are not in the description of the API: `OpenAPI` 3.1 has no words for answers that do not
/// end.
///
/// ```no_run
/// # use callboard::{Event, Runtime, settings::Settings, sse::Sse};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
/// # struct OrderPlaced { order_id: i64 }
/// # impl Event for OrderPlaced { const NAME: &'static str = "order.placed"; }
/// # #[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
/// # struct ChatSent { room: String }
/// # impl Event for ChatSent { const NAME: &'static str = "chat.sent"; }
/// # async fn example(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
/// let sse = Sse::new().listen::<OrderPlaced>().listen_in_room::<ChatSent>(|event| &event.room);
/// let runtime = sse.declare(Runtime::new())?.start().await?;
/// let route = sse.install("/events/stream", &runtime.bus(), &settings.sse);
/// actix_web::HttpServer::new(move || actix_web::App::new().configure(route.clone()))
///     .on_connect(callboard::ws::on_connect(&settings.ws))
///     .bind(("127.0.0.1", 8000))?
///     .run()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use = "clients hear nothing until it is declared and installed"]
pub struct Sse {
    permits: Permits,
    access: Access,
    all: Arc<Broadcast>,
}

/// How the streams of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SseStats {
    /// The streams that are open now.
    pub streams: usize,
    /// The streams that were ended so far because their clients took too little.
    pub slow_consumers: u64,
}

impl Sse {
    /// A list without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Clients may listen to this event.
    pub fn listen<E: Event>(self) -> Self {
        self.permit(Permit::listen::<E>())
    }

    /// Clients may listen to this event, and those that are also in the room that `room` reads out
    /// of it are sent it. Any client may name any room: the names of those that are not for
    /// everybody must be hard to guess.
    pub fn listen_in_room<E: Event>(
        self,
        room: impl Fn(&E) -> &str + Send + Sync + 'static,
    ) -> Self {
        self.permit(Permit::listen_in_room(room))
    }

    /// Adds an event in its full form.
    ///
    /// ```
    /// # use callboard::{Event, auth::Provider, sse::{Permit, Sse}};
    /// # fn example<OrderPlaced: Event, StockLow: Event>(provider: impl Provider) {
    /// let sse = Sse::new()
    ///     .listen::<OrderPlaced>()
    ///     .permit(Permit::listen::<StockLow>().permissions_all(["stock.read"]))
    ///     .auth(provider);
    /// # }
    /// ```
    pub fn permit(mut self, permit: Permit) -> Self {
        permit.enter(&mut self.permits);
        self
    }

    /// Sets who tells who a client is; a request without valid credentials is refused then.
    /// [`App::auth`](crate::App::auth) sets it for all streams that have none of their own.
    pub fn auth(mut self, provider: impl Provider) -> Self {
        self.access.provider = Some(Arc::new(provider));
        self
    }

    /// Lets anybody in, with a provider too. Credentials are not looked at.
    pub fn public(mut self) -> Self {
        self.access.is_public = true;
        self
    }

    permission_setters!(access.requirement);

    /// The same with a provider, where it has none of its own.
    pub(crate) fn under(mut self, provider: Option<&Arc<dyn Provider>>) -> Self {
        self.access = self.access.under(provider);
        self
    }

    /// Looks for events that are permitted in two ways, and for permissions that nobody can have.
    ///
    /// # Errors
    /// All of them at once.
    pub fn check(&self) -> Result<(), SseError> {
        self.no_faults(None)
    }

    /// The same, with the path where it is to stand.
    pub(crate) fn check_at(&self, path: &str) -> Result<(), SseError> {
        let fault = fault_of_path(path);
        let path = path.to_owned();
        self.no_faults(fault.map(|reason| SseFault::BadPath { path, reason }))
    }

    fn no_faults(&self, more: Option<SseFault>) -> Result<(), SseError> {
        let mut faults = self.permits.faults(&self.access);
        faults.extend(more);
        if faults.is_empty() { Ok(()) } else { Err(SseError { faults }) }
    }

    /// Tells a runtime about to start what clients hear, and mounts the domain `sse`, whose handler
    /// brings it to them.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn declare(&self, runtime: RuntimeBuilder) -> Result<RuntimeBuilder, SseError> {
        self.check()?;
        Ok(self.permits.mount(runtime, &self.all))
    }

    /// Serves streams at a path; for `App::configure`, on each thread of a server.
    ///
    /// Without a [provider](Self::auth), a middleware that knows who the client is puts a
    /// [`callboard_actors::Identity`] into the request's extensions. A list whose permissions nobody
    /// can have answers every request with 500, and one at a path that no route can have is nowhere;
    /// the log says so. The runtime must be the one to which the list was
    /// [declared](Self::declare), or clients hear no events.
    pub fn install(
        &self,
        path: &str,
        bus: &Bus,
        settings: &SseSettings,
    ) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static + use<> {
        self.install_counted(path, bus, settings, &Traffic::default())
    }

    /// The same, where requests are counted.
    pub(crate) fn install_counted(
        &self,
        path: &str,
        bus: &Bus,
        settings: &SseSettings,
        traffic: &Traffic,
    ) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static + use<> {
        if let Err(error) = self.check_at(path) {
            tracing::error!(path, %error, "faulty streams were installed");
        }
        self.all.streams.on_bus(bus);
        let edge = Arc::new(Edge {
            permits: self.permits.clone(),
            all: Arc::clone(&self.all),
            bus: bus.clone(),
            settings: settings.clone(),
            door: self.access.fault().map_or_else(|| Ok(self.access.guard()), Err),
        });
        visits(path, bus.clone(), traffic, move |visit: Visit| {
            Box::pin(opening::open(Arc::clone(&edge), visit))
        })
    }

    /// How its streams are now.
    pub fn stats(&self) -> SseStats {
        SseStats {
            streams: self.all.streams.count(),
            slow_consumers: self.all.streams.slow_consumers().load(Ordering::Relaxed),
        }
    }
}
