//! The whole application: settings, domains, routes and sessions enter; a served process, which
//! drains on a signal, comes out.

mod app_error;
pub use app_error::AppError;
mod signals;
mod running;
pub use running::Running;

use std::fmt;
use std::time::Duration;

use actix_web::web::ServiceConfig;
use callboard_actors::{
    Bus, Domain, Event, Policy, Runtime, RuntimeBuilder, Schedule, ScheduleError,
};

use crate::http::Routes;
use crate::settings::Settings;
use crate::telemetry;
use crate::ws::Ws;

/// An application about to run: a [`Runtime`] and the edges through which clients reach it.
///
/// Beside the routes that it is given it serves `/health`, `/metrics` and `/events`.
#[must_use = "an application does nothing until it runs"]
pub struct App {
    settings: Settings,
    runtime: RuntimeBuilder,
    routes: Routes,
    ws: Vec<(String, Ws)>,
    services: Vec<Box<dyn Configure>>,
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
        let (ws, services, schedules) = (Vec::new(), Vec::new(), Vec::new());
        Self { settings, runtime, routes: Routes::new(), ws, services, schedules }
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

    /// Serves WebSocket sessions at `path`.
    pub fn ws(mut self, path: impl Into<String>, ws: Ws) -> Self {
        self.ws.push((path.into(), ws));
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

    /// Starts without waiting for a signal: for tests, and for programs with a lifecycle of their
    /// own. `SERVER_PORT` 0 takes a free port.
    ///
    /// # Errors
    /// What keeps the application from starting; nothing is left running then.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start(self) -> Result<Running, AppError> {
        telemetry::init(&self.settings.log)?;
        self.routes.check()?;
        let mut builder = self.routes.declare(self.runtime);
        for (_, ws) in &self.ws {
            builder = ws.declare(builder)?;
        }
        let runtime = builder.start().await?;
        let edges = running::Edges {
            settings: self.settings,
            routes: self.routes,
            ws: self.ws,
            services: self.services,
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
