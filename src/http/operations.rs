//! Ready-made routes for the people and the machines that watch an application: health, metrics,
//! recent events, and the answer to a path that nobody knows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderValue, VARY};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use callboard_actors::{Bus, EventQuery, TraceId};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::accept::preferred;
use super::bind::Binder;
use super::call::Call;
use super::exposition::Dialect;
use super::fields::Fields;
use super::lineage::{CORRELATION_ID, Lineage, correlation_id};
use super::meter::{count, tell};
use super::mount::{Answer, Endpoint, Mount};
use super::path::Pattern;
use super::patience::Patience;
use super::private::private;
use super::problem::{FieldError, Problem};
use super::readings::{self, ListenerCounts, Listeners, Sources};
use super::serving::Serving;
use super::traffic::Traffic;
use crate::auth::{Access, Provider, Requirement};
use crate::health::{HealthChecks, HealthReport, HealthStatus};

/// What watches a runtime, as routes:
///
/// | route | answer |
/// |---|---|
/// | `GET /health`, `GET /health/ready` | a [`HealthReport`] of the runtime and all checks: 200, and 503 when it is unhealthy |
/// | `GET /health/live` | the same, only of checks that say whether the process should go on |
/// | `GET /metrics` | the counters of [`Bus::metrics`], in the form that `Accept` names |
/// | `GET /events?n=&type=&trace=` | the `n` newest deliveries (50), of one event name, of one trace |
///
/// They say what goes on inside; keep them where only such as may know it reach them, or make all but
/// health [private](Self::private).
///
/// ```
/// # use callboard::Bus;
/// # use callboard::http::Routes;
/// use callboard::http::{Operations, Traffic};
///
/// # fn example(bus: Bus, routes: Routes) {
/// let traffic = Traffic::default();
/// let api = routes.counted_in(&traffic).install(bus.clone());
/// let watch = Operations::new(bus).traffic(&traffic).install();
/// let app = move || actix_web::App::new().configure(api.clone()).configure(watch.clone());
/// # }
/// ```
///
/// # Health
///
/// Three checks are built in. `runtime` is unhealthy once the application is `draining` or the
/// runtime has `stopped`. `handlers` is unhealthy when one is `down`, and degraded when one is
/// `stuck`. `queues` is degraded when nine tenths of one are full, with the code `saturated`.
/// Degraded is ready. The application adds its own with [`HealthChecks`].
///
/// # Metrics
///
/// What `Accept` names decides the form of `/metrics`: JSON with the counters and quantiles of
/// [`Bus::metrics`] for whoever has no wish, else `OpenMetrics` 1.0 (`application/openmetrics-text`)
/// or the text format of Prometheus (`text/plain`). The text has also histograms of how long
/// deliveries took by handler and requests by route, schedules, WebSocket sessions and streams of
/// events. All names start with `callboard_`, and all durations are in seconds.
///
/// A request is counted by the method and path of its route as declared, never by what the client
/// wrote; HEAD is counted as GET, a method without an endpoint as `other`, and a path that nobody
/// declared as the route `unknown`. Services of actix-web itself are not counted, nor requests
/// whose client has gone before the answer.
#[must_use = "nothing watches before it is installed"]
pub struct Operations {
    bus: Bus,
    health: HealthChecks,
    sources: Sources,
    access: Access,
}

impl Operations {
    /// Watches the runtime of this bus.
    pub fn new(bus: Bus) -> Self {
        let (health, sources, access) =
            (HealthChecks::new(), Sources::default(), Access::default());
        Self { bus, health, sources, access }
    }

    /// Makes these checks beside the built-in ones.
    pub fn health(mut self, checks: &HealthChecks) -> Self {
        self.health = checks.clone();
        self
    }

    /// Shows `/metrics` and `/events` only to whom the provider knows and the requirement permits.
    /// Such as ask for health have no credentials.
    pub fn private(self, provider: impl Provider, requirement: Requirement) -> Self {
        let provider: Option<Arc<dyn Provider>> = Some(Arc::new(provider));
        self.under(Access { provider, requirement, is_public: false })
    }

    pub(crate) fn under(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Shows the requests that are counted there, and counts its own.
    pub fn traffic(mut self, traffic: &Traffic) -> Self {
        self.sources.traffic = traffic.clone();
        self
    }

    /// Shows WebSocket sessions at a path.
    pub(crate) fn socket(
        mut self,
        path: &str,
        count: impl Fn() -> ListenerCounts + Send + Sync + 'static,
    ) -> Self {
        self.sources.sockets.push(Listeners::new(path, count));
        self
    }

    /// Shows streams of events at a path.
    pub(crate) fn stream(
        mut self,
        path: &str,
        count: impl Fn() -> ListenerCounts + Send + Sync + 'static,
    ) -> Self {
        self.sources.streams.push(Listeners::new(path, count));
        self
    }

    /// Gives what `configure` takes, of an actix-web `App` or of a scope.
    #[allow(clippy::missing_panics_doc)] // it does not: the paths are constants
    pub fn install(self) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
        let Self { bus, health, sources, access } = self;
        let guard = access.guard();
        let mut mount = Mount::new(bus.clone(), false).counted_in(&sources.traffic);
        let binder =
            Binder { params: Vec::new(), fields: Fields::of::<EventsWanted>(), body_max: None };
        let probe = |wants: Wants| Health { bus: bus.clone(), checks: health.clone(), wants };
        let endpoints: [(&str, Box<dyn Endpoint>); 5] = [
            ("/health", Box::new(probe(Wants::Ready))),
            ("/health/live", Box::new(probe(Wants::Live))),
            ("/health/ready", Box::new(probe(Wants::Ready))),
            ("/metrics", private(guard.clone(), Box::new(Metrics { bus: bus.clone(), sources }))),
            ("/events", private(guard, Box::new(Events { bus, binder }))),
        ];
        for (path, endpoint) in endpoints {
            let pattern = Pattern::parse(path).expect("the paths written above are sound");
            mount.add(Method::GET, path, pattern, endpoint);
        }
        mount.into_config()
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}

/// Installs [`Operations`] as they are.
pub fn operations(bus: Bus) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    Operations::new(bus).install()
}

/// The default service of an application: 404 in the shape of all errors.
///
/// ```
/// # use callboard::Bus;
/// # fn example(bus: Bus) {
/// let app = actix_web::App::new().default_service(callboard::http::not_found(bus));
/// # }
/// ```
pub fn not_found(bus: Bus) -> actix_web::Route {
    unknown_path(bus, &Traffic::default())
}

/// The same, and counts what it answers.
pub(crate) fn unknown_path(bus: Bus, traffic: &Traffic) -> actix_web::Route {
    let series = traffic.unknown_path();
    web::to(move |request: HttpRequest| {
        let begun = Instant::now();
        let lineage = Lineage::of(request.headers(), &bus);
        let (trace_id, serving) =
            (lineage.trace_id, Serving::begin(&bus, &lineage, &request, None));
        let problem = count(&request).err().unwrap_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "unknown_path").detail("nothing is at this path")
        });
        let mut response = problem.clone().trace_id(trace_id).error_response();
        tell(&request, response.headers_mut());
        if let Ok(trace_id) = HeaderValue::try_from(trace_id.to_string()) {
            let known_as = correlation_id(request.headers()).unwrap_or(&trace_id);
            response.headers_mut().insert(CORRELATION_ID, known_as.clone());
        }
        series.record(problem.status_code(), begun.elapsed());
        if let Some(serving) = serving {
            serving.end(problem.status_code());
        }
        async move { response }
    })
}

struct Health {
    bus: Bus,
    checks: HealthChecks,
    wants: Wants,
}

/// What a probe wants to know.
enum Wants {
    Live,
    Ready,
}

impl Endpoint for Health {
    fn answer(&self, _: Call) -> Answer<'_> {
        Box::pin(async move {
            let report: HealthReport = match self.wants {
                Wants::Live => self.checks.live(&self.bus).await,
                Wants::Ready => self.checks.ready(&self.bus).await,
            };
            let mut response = match report.status {
                HealthStatus::Unhealthy => HttpResponse::ServiceUnavailable(),
                _ => HttpResponse::Ok(),
            };
            response.insert_header((CACHE_CONTROL, "no-store"));
            Ok(response.json(report))
        })
    }
}

struct Metrics {
    bus: Bus,
    sources: Sources,
}

impl Endpoint for Metrics {
    fn answer(&self, call: Call) -> Answer<'_> {
        let offered = ["application/json", "text/plain", "application/openmetrics-text"];
        let dialect = match preferred(call.request.headers(), &offered) {
            0 => None,
            1 => Some(Dialect::Prometheus),
            _ => Some(Dialect::OpenMetrics),
        };
        let mut response = HttpResponse::Ok();
        response.insert_header((VARY, ACCEPT.as_str()));
        let response = match dialect {
            None => response.json(self.bus.metrics()),
            Some(dialect) => {
                let text = readings::text(&self.bus, &self.sources, dialect);
                response.content_type(dialect.content_type()).body(text)
            }
        };
        Box::pin(async { Ok(response) })
    }
}

struct Events {
    bus: Bus,
    binder: Binder,
}

/// The query string of `/events`.
#[derive(Deserialize, JsonSchema)]
struct EventsWanted {
    n: Option<usize>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    trace: Option<String>,
}

impl Endpoint for Events {
    fn answer(&self, mut call: Call) -> Answer<'_> {
        Box::pin(async move {
            // There is no body to wait for.
            let mut patience = Patience::new(Duration::ZERO);
            let wanted: EventsWanted = self.binder.bind(&mut call, &mut patience).await?;
            let mut query = EventQuery::default();
            if let Some(n) = wanted.n {
                query = query.limit(n);
            }
            if let Some(event_type) = wanted.event_type {
                query = query.event_type(event_type);
            }
            if let Some(trace) = wanted.trace {
                let bad_trace = |error: callboard_actors::BadTraceId| {
                    Problem::invalid(vec![FieldError::new("trace", error.to_string())])
                };
                query = query.trace_id(trace.parse::<TraceId>().map_err(bad_trace)?);
            }
            Ok(HttpResponse::Ok().json(self.bus.events(&query)))
        })
    }
}
