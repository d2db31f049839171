//! An application that serves: the listener and its workers, and how they stop together with the
//! runtime.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use actix_web::dev::{ServerHandle, Service};
use actix_web::{App as WebApp, HttpServer};
use callboard_actors::{Bus, Runtime, StopReport};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::app_error::AppError;
use super::edges::Edges;
use super::in_flight::InFlight;
use super::listeners::{Kept, Listeners};
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::health::HealthChecks;
use crate::http;
use crate::otlp::Otlp;
use crate::ws;

/// A running application.
pub struct Running {
    runtime: Runtime,
    addresses: Vec<SocketAddr>,
    kept: Kept,
    at_stop: AtStop,
    server: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

/// What a stop tells, and what it waits for.
struct AtStop {
    health: HealthChecks,
    stop_delay: Duration,
    in_flight: InFlight,
    drain_timeout: Duration,
    otlp: Otlp,
}

/// How much longer than the runtime the connections have to finish: the last reply still has to be
/// written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The server's own clock goes in steps; a timeout that begins within one would end early by it.
const CLOCK_STEP: Duration = Duration::from_millis(500);

impl Running {
    pub(super) async fn serve(runtime: Runtime, edges: Edges) -> Result<Self, AppError> {
        let settings = &edges.settings;
        let server = &settings.server;
        let services = edges.services(&runtime.bus());
        let (joining, cors, tls) = (runtime.clone(), settings.cors.clone(), server.tls.clone());
        let in_flight = InFlight::default();
        let beginning = in_flight.clone();
        let is_compressing = server.compression;
        let app = move || {
            // A worker answers what its clients ask for itself, where it may.
            joining.join_thread();
            let beginning = beginning.clone();
            WebApp::new()
                .wrap(http::cross_origin(&cors))
                .wrap(http::safe_headers(&tls))
                .wrap_fn(move |request, next| http::compressed(is_compressing, next.call(request)))
                .configure(&services)
                .wrap_fn(move |request, next| beginning.answered(next.call(request)))
        };
        let drain_timeout = settings.bus.drain_timeout;
        let unserved = |source| AppError::System { what: "cannot serve a socket", source };
        let mut listening = HttpServer::new(app)
            .workers(server.workers)
            .max_connections(server.connections_max.div_ceil(server.workers))
            .keep_alive(server.keep_alive)
            .tcp_nodelay(true)
            .client_request_timeout(server.header_timeout + CLOCK_STEP)
            .on_connect(ws::on_connect(&settings.ws))
            // `stop` is done earlier.
            .shutdown_timeout((drain_timeout * 2 + LAST_WORDS).as_secs() + 1)
            .disable_signals();
        let kept = match Listeners::open(settings)? {
            Listeners::Tcp(sockets) => {
                let mut sockets = sockets.into_iter();
                listening = sockets.try_fold(listening, HttpServer::listen).map_err(unserved)?;
                Kept::Nothing
            }
            #[cfg(feature = "tls")]
            Listeners::Tls(sockets, tls) => {
                let Tls { config, watch } = *tls;
                listening = listening.tls_handshake_timeout(server.tls.handshake_timeout);
                let serve = |to: HttpServer<_, _, _, _>, socket| {
                    to.listen_rustls_0_23(socket, config.clone())
                };
                listening = sockets.into_iter().try_fold(listening, serve).map_err(unserved)?;
                Kept::Tls { _watch: watch }
            }
            #[cfg(unix)]
            Listeners::Unix(socket, file) => {
                listening = listening.listen_uds(socket).map_err(unserved)?;
                Kept::Unix(file)
            }
        };
        let addresses = if kept.path().is_some() { Vec::new() } else { listening.addrs() };
        announce(&runtime, &edges, &kept, &addresses).await;
        let serving = listening.run();
        let server = serving.handle();
        let task = actix_rt::spawn(serving);
        let (health, stop_delay) = (edges.health, edges.settings.server.stop_delay);
        let at_stop = AtStop { health, stop_delay, in_flight, drain_timeout, otlp: edges.otlp };
        Ok(Self { runtime, addresses, kept, at_stop, server, task })
    }

    /// The runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The bus.
    pub fn bus(&self) -> Bus {
        self.runtime.bus()
    }

    /// Where it listens; nothing with a Unix socket.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The path of the Unix socket on which it listens, if the settings name one.
    pub fn unix_socket(&self) -> Option<&Path> {
        self.kept.path()
    }

    /// Stops in these steps, so that each accepted request gets its answer:
    ///
    /// 1. It says that it is not ready any more, and waits for `SERVER_STOP_DELAY`.
    /// 2. It accepts no more connections, closes those that are idle, and lets the requests on the
    ///    others be answered within the drain timeout.
    /// 3. It accepts no more events, lets what runs finish within the drain timeout, and closes
    ///    the sessions.
    ///
    /// HTTP/2 has connections that are idle and stay open: they end with the drain timeout.
    ///
    /// # Errors
    /// [`AppError::Unfinished`] names what was left.
    pub async fn stop(self) -> Result<(), AppError> {
        let AtStop { health, stop_delay, in_flight, drain_timeout, otlp } = self.at_stop;
        health.drain();
        if !stop_delay.is_zero() {
            tracing::info!("not ready any more; stopping in {stop_delay:?}");
            sleep(stop_delay).await;
        }
        // The file of a socket goes while it is still this process that listens.
        drop(self.kept);
        let begin = Instant::now();
        let closed = self.server.stop(true);
        in_flight.none(drain_timeout).await;
        let report = self.runtime.stop().await;
        let at_least = Instant::now() + LAST_WORDS;
        let deadline = at_least.max(begin + drain_timeout + LAST_WORDS);
        if timeout_at(deadline, closed).await.is_err() {
            tracing::debug!("connections are closed that clients keep open");
        }
        // Ends what is left of the server; what it says is only an echo of that.
        self.task.abort();
        let _ = self.task.await;
        otlp.stop().await;
        tracing::info!("stopped");
        unfinished(&report)
    }

    /// Stops everything soon, without waiting for what runs.
    #[cfg(feature = "testing")]
    pub(crate) fn abandon(self) {
        drop(self.server.stop(false));
        // At the end of the actix system everything ends anyway.
        if tokio::runtime::Handle::try_current().is_ok() {
            actix_rt::spawn(async move { self.runtime.stop().await });
        }
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
async fn announce(runtime: &Runtime, edges: &Edges, kept: &Kept, addresses: &[SocketAddr]) {
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
    for (path, _) in &edges.sse {
        tracing::info!("route GET {path} (server-sent events)");
    }
    tracing::info!(
        "routes GET /health, /health/live, /health/ready, /metrics, /events, /openapi.json"
    );
    if cfg!(feature = "swagger-ui") && edges.settings.server.docs {
        tracing::info!("route GET /docs");
    }
    for place in kept.places(addresses) {
        tracing::info!("listening on {place}");
    }
    let is_reachable = addresses.iter().any(|address| !address.ip().is_loopback());
    if is_reachable && edges.operations.provider.is_none() {
        tracing::warn!(
            "anybody who reaches this server may use its routes: it has no provider of identities \
             (set AUTH_SECRET or AUTH_PUBLIC_KEY_FILE, or call App::auth)"
        );
    }
}
