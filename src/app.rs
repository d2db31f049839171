//! The whole application: settings, domains, routes and sessions enter; a served process, which
//! drains on a signal, comes out.

mod app_error;
pub use app_error::AppError;
mod signals;
mod door;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;
mod listeners;
mod in_flight;
mod edges;
mod running;
pub use running::Running;

use std::fmt;
use std::time::Duration;

use actix_web::web::ServiceConfig;
use callboard_actors::{
    Bus, Domain, Event, Policy, Runtime, RuntimeBuilder, Schedule, ScheduleError,
};
use serde_json::Value;

use crate::auth::{Provider, Requirement};
use crate::health::{HealthCheck, HealthChecks};
use crate::http::{IdempotencyStore, Info, Routes};
use crate::otlp::Otlp;
use crate::settings::Settings;
#[cfg(feature = "testing")]
use crate::settings::TlsSettings;
use crate::sse::Sse;
use crate::ws::Ws;

/// An application about to run: a [`Runtime`] and the edges through which clients reach it.
///
/// Beside the routes that it is given it serves [`Operations`](crate::http::Operations): `/health`,
/// `/metrics` and `/events`, and `/openapi.json`, the description of the routes; a route of its own
/// at that path goes before. Every answer has headers that keep browsers from guessing its type,
/// showing it in frames and telling other sites of it, unless it has its own: `nosniff`,
/// `frame-ancestors 'none'`, `no-referrer`.
///
/// # Who may come in
///
/// | a provider of identities | routes, sessions, streams, `/metrics`, `/events` | `/health`, `/openapi.json`, what is `public` |
/// |---|---|---|
/// | from [`auth`](Self::auth), else from the settings `AUTH_*` | whom it knows, with the permissions demanded | anybody |
/// | none | anybody; a demand for permissions is a fault | anybody |
///
/// Without a provider a warning in the log says so as soon as others than this machine reach it.
/// What [`configure`](Self::configure) adds is actix-web's own, and looks after itself.
#[must_use = "an application does nothing until it runs"]
pub struct App {
    settings: Settings,
    runtime: RuntimeBuilder,
    routes: Routes,
    info: Info,
    ws: Vec<(String, Ws)>,
    sse: Vec<(String, Sse)>,
    health: HealthChecks,
    services: Vec<Box<dyn Configure>>,
    door: door::Door,
    schedules: Vec<Scheduled>,
}

type Scheduled = Box<dyn FnOnce(&Bus) -> Result<Schedule, ScheduleError>>;

/// Services of actix-web, added to each worker.
trait Configure: Send {
    fn configure(&self, config: &mut ServiceConfig);
    fn boxed(&self) -> Box<dyn Configure>;
}

impl<F: Fn(&mut ServiceConfig) + Clone + Send + 'static> Configure for F {
    fn configure(&self, config: &mut ServiceConfig) {
        self(config);
    }

    fn boxed(&self) -> Box<dyn Configure> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Configure> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

impl App {
    /// An application without domains.
    pub fn new(settings: Settings) -> Self {
        let bus = &settings.bus;
        let runtime = Runtime::new()
            .policy(Policy::default().queue_max(bus.queue_max).timeout(bus.handler_timeout))
            .request_timeout(settings.server.request_timeout)
            .drain_timeout(bus.drain_timeout)
            .event_log_max(bus.event_log_max)
            .dead_letters_max(bus.dead_letters_max);
        let (ws, sse) = (Vec::new(), Vec::new());
        let (services, schedules) = (Vec::new(), Vec::new());
        let (routes, health) = (Routes::new(), HealthChecks::new());
        let (door, info) = (door::Door::default(), Info::default());
        Self { settings, runtime, routes, info, ws, sse, health, services, door, schedules }
    }

    /// Adds a domain.
    pub fn mount(mut self, domain: Domain) -> Self {
        self.runtime = self.runtime.mount(domain);
        self
    }

    /// Adds routes.
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// Sets where the outcomes of [idempotent](crate::http::Route::idempotent) routes are kept, but of
    /// tables with a store of their own. Default: in the memory of the process, so that a restart
    /// forgets them and other processes do not know them.
    ///
    /// ```no_run
    /// use callboard::{App, AppError, db::Db, http::{DbIdempotency, Routes}, settings::Settings};
    ///
    /// # async fn example(routes: Routes) -> Result<(), AppError> {
    /// let settings = Settings::load()?;
    /// let db = Db::connect(&settings.db).await?;
    /// let outcomes = DbIdempotency::open(&db, &settings.server.idempotency).await?;
    /// App::new(settings).routes(routes).idempotency_store(outcomes).run().await
    /// # }
    /// ```
    pub fn idempotency_store(mut self, store: impl IdempotencyStore) -> Self {
        self.routes = self.routes.idempotency_store(store);
        self
    }

    /// Sets what the description of the routes says of the API as a whole.
    pub fn info(mut self, info: Info) -> Self {
        self.info = info;
        self
    }

    /// The description of the routes, as it is served at `/openapi.json`.
    pub fn openapi(&self) -> Value {
        self.routes.openapi(&self.info)
    }

    /// Serves WebSocket sessions at `path`.
    pub fn ws(mut self, path: impl Into<String>, ws: Ws) -> Self {
        self.ws.push((path.into(), ws));
        self
    }

    /// Serves streams of server-sent events at `path`.
    ///
    /// ```no_run
    /// # use callboard::{App, AppError, Event, settings::Settings, sse::Sse};
    /// # async fn example<OrderPlaced: Event, OrderShipped: Event>() -> Result<(), AppError> {
    /// App::new(Settings::load()?)
    ///     .sse("/events/stream", Sse::new().listen::<OrderPlaced>().listen::<OrderShipped>())
    ///     .run()
    ///     .await
    /// # }
    /// ```
    pub fn sse(mut self, path: impl Into<String>, sse: Sse) -> Self {
        self.sse.push((path.into(), sse));
        self
    }

    /// Sets who tells who a client is; it comes before the settings `AUTH_*`. From then on routes,
    /// sessions, streams and operations are private; a table of routes or a list of permits with a
    /// provider of its own keeps that.
    ///
    /// ```no_run
    /// # use callboard::{App, AppError, auth::Provider, http::Routes, settings::Settings};
    /// # async fn example(routes: Routes, provider: impl Provider) -> Result<(), AppError> {
    /// App::new(Settings::load()?).routes(routes).auth(provider).run().await
    /// # }
    /// ```
    pub fn auth(mut self, provider: impl Provider) -> Self {
        self.door.install(provider);
        self
    }

    /// Demands permissions of whoever reads `/metrics` and `/events`. Default: none, so that anybody
    /// who is known may.
    pub fn operations_require(mut self, requirement: Requirement) -> Self {
        self.door.require(requirement);
        self
    }

    /// Lets anybody read `/metrics` and `/events`, with a provider too.
    pub fn public_operations(mut self) -> Self {
        self.door.open_operations();
        self
    }

    /// Checks something that the application depends on whenever somebody asks how it is; clients
    /// are told the name and what was found.
    pub fn health_check(mut self, name: impl Into<String>, check: HealthCheck) -> Self {
        self.health = self.health.check(name, check);
        self
    }

    /// Publishes an event each `interval` while the application runs.
    pub fn every<E: Event>(mut self, interval: Duration, event: E) -> Self {
        self.schedules.push(Box::new(move |bus| bus.schedule(event).every(interval)));
        self
    }

    /// Adds services of actix-web itself, beside the event routes.
    pub fn configure(
        mut self,
        services: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        self.services.push(Box::new(services));
        self
    }

    /// Runs until SIGINT or SIGTERM, then drains; a second signal ends the process at once.
    ///
    /// Returned from `main`, an error is one readable message and exit code 1.
    ///
    /// # Errors
    /// What keeps the application from starting, or what it could not finish when it stopped.
    pub async fn run(self) -> Result<(), AppError> {
        let signals = signals::Signals::listen()?;
        let running = self.start().await?;
        let signal = signals.next().await;
        tracing::info!(signal, "draining; another signal ends the process at once");
        signals.exit_on_next();
        running.stop().await
    }

    /// Has it listen where nothing else does, over plain HTTP.
    #[cfg(feature = "testing")]
    pub(crate) fn alone(mut self) -> Self {
        let server = &mut self.settings.server;
        "127.0.0.1".clone_into(&mut server.host);
        server.port = 0;
        server.tls = TlsSettings::default();
        server.unix_socket = None;
        self
    }

    /// Starts without waiting for a signal: for tests, and for programs with a lifecycle of their
    /// own. `SERVER_PORT` 0 takes a free port.
    ///
    /// # Errors
    /// What keeps the application from starting; nothing is left running then.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start(self) -> Result<Running, AppError> {
        let otlp = Otlp::start(&self.settings)?;
        Box::pin(self.start_with(otlp)).await
    }

    /// The same, and whoever called keeps the log and the panic hook.
    #[cfg(feature = "testing")]
    pub(crate) async fn start_silent(self) -> Result<Running, AppError> {
        Box::pin(self.start_with(Otlp::default())).await
    }

    async fn start_with(self, otlp: Otlp) -> Result<Running, AppError> {
        let door = self.door.settle(&self.settings.auth)?;
        let routes = self.routes.under(door.provider());
        routes.check()?;
        self.health.verify()?;
        let mut builder = routes.declare(self.runtime);
        let ws = self.ws.into_iter().map(|(path, ws)| (path, ws.under(door.provider())));
        let ws: Vec<_> = ws.collect();
        for (_, ws) in &ws {
            builder = ws.declare(builder)?;
        }
        let sse = self.sse.into_iter().map(|(path, sse)| (path, sse.under(door.provider())));
        let sse: Vec<_> = sse.collect();
        for (path, sse) in &sse {
            sse.check_at(path)?;
            builder = sse.declare(builder)?;
        }
        let runtime = builder.start().await?;
        let edges = edges::Edges {
            openapi: routes.openapi(&self.info),
            #[cfg(feature = "swagger-ui")]
            servers: self.info.servers,
            settings: self.settings,
            routes,
            ws,
            sse,
            health: self.health,
            services: self.services,
            operations: door.operations,
            otlp,
        };
        let running = match Running::serve(runtime.clone(), edges).await {
            Ok(running) => running,
            Err(error) => {
                runtime.stop().await;
                return Err(error);
            }
        };
        for schedule in self.schedules {
            if let Err(error) = schedule(&runtime) {
                // The reason to stop is the first error; what the stop says is of no use beside it.
                let _ = running.stop().await;
                return Err(error.into());
            }
        }
        Ok(running)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}
