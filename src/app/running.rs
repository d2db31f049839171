//! An application that serves: the listener and its workers, and how they stop together with the
//! runtime.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App as WebApp, HttpServer};
use callboard_actors::{Bus, Runtime, StopReport};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Configure;
use super::app_error::AppError;
use crate::auth::Access;
use crate::health::HealthChecks;
use crate::http::{self, Operations, Routes, SocketCounts, Traffic};
use crate::settings::Settings;
use crate::ws::{self, Ws, WsStats};

/// A running application.
pub struct Running {
    runtime: Runtime,
    addresses: Vec<SocketAddr>,
    health: HealthChecks,
    stop_delay: Duration,
    server: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

/// Everything through which clients come in.
pub(super) struct Edges {
    pub(super) settings: Settings,
    pub(super) routes: Routes,
    pub(super) openapi: Value,
    pub(super) ws: Vec<(String, Ws)>,
    pub(super) health: HealthChecks,
    pub(super) services: Vec<Box<dyn Configure>>,
    /// Who may watch; it has the provider of the whole application.
    pub(super) operations: Access,
}

impl Edges {
    /// What watches the application.
    fn operations(&self, bus: &Bus, traffic: &Traffic) -> Operations {
        let operations = Operations::new(bus.clone()).traffic(traffic).health(&self.health);
        let operations = operations.under(self.operations.clone());
        self.ws.iter().fold(operations, |operations, (path, ws)| {
            let ws = ws.clone();
            operations.socket(path, move || {
                let WsStats { sessions, slow_consumers } = ws.stats();
                SocketCounts { sessions, slow_consumers }
            })
        })
    }
}

/// How much longer than the runtime the connections have to finish: the last reply still has to be
/// written.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Running {
    pub(super) async fn serve(runtime: Runtime, edges: Edges) -> Result<Self, AppError> {
        let bus = runtime.bus();
        let settings = &edges.settings;
        let server = &settings.server;
        let traffic = Traffic::default();
        let routes = edges.routes.clone().counted_in(&traffic).install_with(bus.clone(), server);
        let operations = edges.operations(&bus, &traffic).install();
        let openapi = http::openapi_json(bus.clone(), &edges.openapi);
        let sessions = edges.ws.iter().map(|(path, ws)| ws.install(path, &bus, &settings.ws));
        let (sessions, services) = (sessions.collect::<Vec<_>>(), edges.services.clone());
        let (joining, cors) = (runtime.clone(), settings.cors.clone());
        let app = move || {
            // A worker answers what its clients ask for itself, where it may.
            joining.join_thread();
            let app = WebApp::new()
                .wrap(http::cross_origin(&cors))
                .wrap(http::safe_headers())
                .configure(operations.clone());
            let app = sessions.iter().fold(app, |app, session| app.configure(session.clone()));
            let app = app.configure(|config| services.iter().for_each(|s| s.configure(config)));
            let app = app.configure(routes.clone()).configure(openapi.clone());
            app.default_service(http::unknown_path(bus.clone(), &traffic))
        };
        let address = format!("{}:{}", server.host, server.port);
        let drain = settings.bus.drain_timeout + LAST_WORDS;
        let listening = HttpServer::new(app)
            .workers(server.workers)
            .on_connect(ws::on_connect(&settings.ws))
            .shutdown_timeout(drain.as_secs())
            .disable_signals()
            .bind((server.host.as_str(), server.port))
            .map_err(|source| AppError::Listen { address, source })?;
        let addresses = listening.addrs();
        announce(&runtime, &edges, &addresses).await;
        let serving = listening.run();
        let server = serving.handle();
        let task = actix_rt::spawn(serving);
        let (health, stop_delay) = (edges.health, edges.settings.server.stop_delay);
        Ok(Self { runtime, addresses, health, stop_delay, server, task })
    }

    /// The runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The bus.
    pub fn bus(&self) -> Bus {
        self.runtime.bus()
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Says that it is not ready any more, and after `SERVER_STOP_DELAY` stops accepting connections
    /// and events, lets what runs finish within the drain timeout, and stops everything.
    ///
    /// # Errors
    /// [`AppError::Unfinished`] names what was left.
    pub async fn stop(self) -> Result<(), AppError> {
        self.health.drain();
        if !self.stop_delay.is_zero() {
            tracing::info!("not ready any more; stopping in {:?}", self.stop_delay);
            sleep(self.stop_delay).await;
        }
        let (report, ()) = tokio::join!(self.runtime.stop(), self.server.stop(true));
        // The server has been told to stop, so what it says is only an echo of that.
        let _ = self.task.await;
        tracing::info!("stopped");
        unfinished(&report)
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

fn unfinished(report: &StopReport) -> Result<(), AppError> {
    if report.is_clean() {
        return Ok(());
    }
    let left = report.left.iter();
    let left =
        left.map(|l| format!("{} ({} queued, {} in work)", l.handler, l.queued, l.in_flight));
    Err(AppError::Unfinished { left: left.collect::<Vec<_>>().join(", ") })
}

/// Says what runs, so that a look at the first lines of the log answers most questions.
async fn announce(runtime: &Runtime, edges: &Edges, addresses: &[SocketAddr]) {
    let graph = runtime.graph().await.to_json();
    for handler in graph["handlers"].as_array().into_iter().flatten() {
        let names = |key: &str| {
            let names = handler[key].as_array().into_iter().flatten();
            names.filter_map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (takes, puts) = (names("subscribes_to"), names("publishes"));
        let name = handler["name"].as_str().unwrap_or_default();
        tracing::info!("handler {name}: {takes} -> {}", if puts.is_empty() { "()" } else { &puts });
    }
    for route in edges.routes.iter() {
        tracing::info!("route {route}");
    }
    for (path, _) in &edges.ws {
        tracing::info!("route GET {path} (WebSocket)");
    }
    tracing::info!(
        "routes GET /health, /health/live, /health/ready, /metrics, /events, /openapi.json"
    );
    for address in addresses {
        tracing::info!("listening on http://{address}");
    }
    let is_reachable = addresses.iter().any(|address| !address.ip().is_loopback());
    if is_reachable && edges.operations.provider.is_none() {
        tracing::warn!(
            "anybody who reaches this server may use its routes: it has no provider of identities \
             (set AUTH_SECRET or AUTH_PUBLIC_KEY_FILE, or call App::auth)"
        );
    }
}
