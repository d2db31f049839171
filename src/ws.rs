//! The WebSocket edge: a permit list and clients' frames enter, events reach the bus, and replies
//! and events reach the clients.
//!
//! The files in the order in which they are best read; each uses only those above it.

mod fault;
pub use fault::{WsError, WsFault};
mod refusal;
mod frame;
mod link;
mod sessions;
mod hub;
mod permits;
mod session;
mod turnstile;
mod assembly;
mod pump;
mod lifeline;
mod origin;
mod handshake;
mod socket;
pub use socket::on_connect;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use callboard_actors::{Bus, Domain, Event, Replies, RuntimeBuilder, Subscriber};

use self::hub::{Audience, Hub};
use self::permits::Permits;
use self::session::Edge;
use self::sessions::Sessions;
use crate::settings::WsSettings;

/// What clients may do over WebSockets: a permit list. Nothing else can be reached.
///
#[doc = include_str!("docs/ws.md")]
///
/// ```no_run
/// # use callboard::{Event, Replies, Runtime, settings::Settings, ws::Ws};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
/// # struct ChatSend { room: String }
/// # impl Event for ChatSend { const NAME: &'static str = "chat.send"; }
/// # #[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
/// # struct ChatSent { room: String }
/// # impl Event for ChatSent { const NAME: &'static str = "chat.sent"; }
/// # #[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
/// # struct FindUser {}
/// # impl Event for FindUser { const NAME: &'static str = "user.find"; }
/// # impl Replies for FindUser { type Reply = ChatSent; }
/// # async fn example(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
/// let ws = Ws::new()
///     .publish::<ChatSend>()
///     .request::<FindUser>()
///     .listen_in_room::<ChatSent>(|event| &event.room);
/// let runtime = ws.declare(Runtime::new())?.start().await?;
/// let route = ws.install("/ws", &runtime.bus(), &settings.ws);
/// actix_web::HttpServer::new(move || actix_web::App::new().configure(route.clone()))
///     .on_connect(callboard::ws::on_connect(&settings.ws))
///     .bind(("127.0.0.1", 8000))?
///     .run()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use = "clients may do nothing until it is declared and installed"]
pub struct Ws {
    permits: Permits,
    sessions: Arc<Sessions>,
}

/// How the sessions of a permit list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WsStats {
    /// The sessions that are open now.
    pub sessions: usize,
    /// The sessions that were closed so far because their clients took too little.
    pub slow_consumers: u64,
}

impl Ws {
    /// A list without permits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Clients may publish this event.
    pub fn publish<E: Event>(mut self) -> Self {
        self.permits.publish::<E>();
        self
    }

    /// Clients may request this event; its reply is sent to the client that did.
    pub fn request<E: Replies>(mut self) -> Self {
        self.permits.request::<E>();
        self
    }

    /// Clients may subscribe to this event.
    pub fn listen<E: Event>(mut self) -> Self {
        self.permits.listen::<E>(Audience::Everybody);
        self
    }

    /// Clients may subscribe to this event, and those that are also in the room that `room` reads
    /// out of it are sent it. Any client may join any room: the names of those that are not for
    /// everybody must be hard to guess.
    pub fn listen_in_room<E: Event>(
        mut self,
        room: impl Fn(&E) -> &str + Send + Sync + 'static,
    ) -> Self {
        self.permits.listen::<E>(Audience::room(room));
        self
    }

    /// Looks for permits that contradict each other.
    ///
    /// # Errors
    /// All of them at once.
    pub fn check(&self) -> Result<(), WsError> {
        match self.permits.faults() {
            [] => Ok(()),
            faults => Err(WsError { faults: faults.to_vec() }),
        }
    }

    /// Tells a runtime about to start what clients do, and mounts the domain `ws`, whose handler
    /// brings events to the clients.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn declare(&self, runtime: RuntimeBuilder) -> Result<RuntimeBuilder, WsError> {
        self.check()?;
        let (sessions, audiences) = (Arc::clone(&self.sessions), self.permits.audiences().clone());
        let audiences = Arc::new(audiences);
        let hub = Subscriber::new(move || Hub {
            sessions: Arc::clone(&sessions),
            audiences: Arc::clone(&audiences),
        });
        let domain = Domain::new("ws").actor(self.permits.feed(hub));
        Ok(self.permits.declare(runtime).mount(domain))
    }

    /// Serves WebSockets at a path; for `App::configure`, on each thread of a server.
    ///
    /// A middleware that knows who the client is puts a [`callboard_actors::Identity`] into the
    /// request's extensions; the session acts on its behalf. The runtime must be the one to which
    /// the list was [declared](Self::declare), or clients hear no events.
    pub fn install(
        &self,
        path: &str,
        bus: &Bus,
        settings: &WsSettings,
    ) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static + use<> {
        self.sessions.on_bus(bus);
        let edge = Arc::new(Edge {
            permits: Arc::new(self.permits.clone()),
            sessions: Arc::clone(&self.sessions),
            bus: bus.clone(),
            settings: settings.clone(),
        });
        let path = path.to_owned();
        move |config| {
            let accept = move |request: HttpRequest, payload: web::Payload| {
                let response = handshake::accept(&edge, &request, payload);
                std::future::ready::<HttpResponse>(response)
            };
            config.service(web::resource(path).route(web::route().to(accept)));
        }
    }

    /// How its sessions are now.
    pub fn stats(&self) -> WsStats {
        WsStats {
            sessions: self.sessions.count(),
            slow_consumers: self.sessions.slow_consumers().load(Ordering::Relaxed),
        }
    }
}
