//! The WebSocket edge: a permit list and clients' frames enter, events reach the bus, and replies
//! and events reach the clients.
//!
//! The files in the order in which they are best read; each uses only those above it.

mod fault;
pub use fault::{WsError, WsFault};
mod refusal;
mod frame;
mod link;
mod outlet;
mod permits;
mod permit;
pub use permit::Permit;
mod message;
mod session;
mod turnstile;
mod assembly;
mod pump;
mod origin;
mod ticket;
mod handshake;
mod socket;
pub use socket::on_connect;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::HttpRequest;
use actix_web::web::{self, ServiceConfig};
use callboard_actors::{Bus, Event, Replies, RuntimeBuilder};

use self::outlet::Sessions;
use self::permits::Permits;
use self::session::Edge;
use crate::auth::{Access, Provider, permission_setters};
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
    access: Access,
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
    pub fn publish<E: Event>(self) -> Self {
        self.permit(Permit::publish::<E>())
    }

    /// Clients may request this event; its reply is sent to the client that did.
    pub fn request<E: Replies>(self) -> Self {
        self.permit(Permit::request::<E>())
    }

    /// Clients may subscribe to this event.
    pub fn listen<E: Event>(self) -> Self {
        self.permit(Permit::listen::<E>())
    }

    /// Clients may subscribe to this event, and those that are also in the room that `room` reads
    /// out of it are sent it. Any client may join any room: the names of those that are not for
    /// everybody must be hard to guess.
    pub fn listen_in_room<E: Event>(
        self,
        room: impl Fn(&E) -> &str + Send + Sync + 'static,
    ) -> Self {
        self.permit(Permit::listen_in_room(room))
    }

    /// Adds a permit in its full form.
    ///
    /// ```
    /// # use callboard::{Event, auth::Provider, ws::{Permit, Ws}};
    /// # fn example<ChatSend: Event, ChatSent: Event>(provider: impl Provider) {
    /// let ws = Ws::new()
    ///     .listen::<ChatSent>()
    ///     .permit(Permit::publish::<ChatSend>().permissions_all(["chat.write"]))
    ///     .auth(provider);
    /// # }
    /// ```
    pub fn permit(mut self, permit: Permit) -> Self {
        permit.enter(&mut self.permits);
        self
    }

    /// Lets an event in only if it is valid, whether it is published or requested.
    ///
    /// What is wrong with it is told all at once: an error `invalid`, with a path to each field in
    /// `details.errors`. The rules are those of [`garde`], as for
    /// [`Routes::validate`](crate::http::Routes::validate).
    ///
    /// ```
    /// use callboard::{Event, ws::Ws};
    /// use garde::Validate;
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema, Validate)]
    /// struct ChatSend {
    ///     #[garde(length(chars, min = 1, max = 2000))]
    ///     text: String,
    /// }
    /// # impl Event for ChatSend { const NAME: &'static str = "chat.send"; }
    ///
    /// let ws = Ws::new().publish::<ChatSend>().validate::<ChatSend>();
    /// ```
    #[cfg(feature = "validate")]
    pub fn validate<E>(mut self) -> Self
    where
        E: Event + garde::Validate<Context: Default>,
    {
        self.permits.check(E::NAME, crate::http::check_of::<E>());
        self
    }

    /// Sets who tells who a client is; a handshake without valid credentials is refused then.
    /// [`App::auth`](crate::App::auth) sets it for all sessions that have none of their own.
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

    /// Looks for permits that contradict each other, and for permissions that nobody can have.
    ///
    /// # Errors
    /// All of them at once.
    pub fn check(&self) -> Result<(), WsError> {
        let faults = self.permits.faults(&self.access);
        if faults.is_empty() { Ok(()) } else { Err(WsError { faults }) }
    }

    /// Tells a runtime about to start what clients do, and mounts the domain `ws`, whose handler
    /// brings events to the clients.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn declare(&self, runtime: RuntimeBuilder) -> Result<RuntimeBuilder, WsError> {
        self.check()?;
        Ok(self.permits.declare(runtime, &self.sessions))
    }

    /// Serves WebSockets at a path; for `App::configure`, on each thread of a server.
    ///
    /// Without a [provider](Self::auth), a middleware that knows who the client is puts a
    /// [`callboard_actors::Identity`] into the request's extensions; the session acts on its behalf. A
    /// list whose permissions nobody can have answers every handshake with 500. The runtime must be the one to which
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
            door: self.access.fault().map_or_else(|| Ok(self.access.guard()), Err),
        });
        if let Err(reason) = edge.door {
            tracing::error!(path, reason, "faulty sessions were installed");
        }
        let path = path.to_owned();
        move |config| {
            let accept = move |request: HttpRequest, payload: web::Payload| {
                let edge = Arc::clone(&edge);
                async move { handshake::accept(&edge, &request, payload).await }
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
