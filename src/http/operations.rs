//! Ready-made routes for the people and the machines that watch an application: health, metrics,
//! recent events, and the answer to a path that nobody knows.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, ResponseError};
use callboard_actors::{Bus, EventQuery, TraceId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::bind::Binder;
use super::call::Call;
use super::fields::Fields;
use super::mount::{Answer, Endpoint, Mount};
use super::path::Pattern;
use super::patience::Patience;
use super::private::private;
use super::problem::{FieldError, Problem};
use crate::auth::{Access, Guard, Provider, Requirement};

/// Adds what watches a runtime, for the `configure` of an actix-web `App` or of a scope:
///
/// | route | answer |
/// |---|---|
/// | `GET /health` | 200, `{"status": "up", "uptime_s", "version"}`; 503 with `"status": "down"` and `"down"`, the handlers that are, and `"runtime"` when it takes no events |
/// | `GET /metrics` | the counters of [`Bus::metrics`] |
/// | `GET /events?n=&type=&trace=` | the `n` newest deliveries (50), of one event name, of one trace |
///
/// They say what goes on inside; keep them where only such as may know it reach them, or take
/// [`private_operations`].
pub fn operations(bus: Bus) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    operations_behind(None, bus)
}

/// The same as [`operations`], where all but `/health` is only for whom the provider knows and the
/// requirement permits. Such as ask for health have no credentials.
pub fn private_operations(
    bus: Bus,
    provider: impl Provider,
    requirement: Requirement,
) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    let provider: Option<Arc<dyn Provider>> = Some(Arc::new(provider));
    operations_behind(Access { provider, requirement, is_public: false }.guard(), bus)
}

/// The same, behind a guard if there is one.
pub(crate) fn operations_behind(
    guard: Option<Guard>,
    bus: Bus,
) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    let mut mount = Mount::new(bus.clone(), false);
    let binder =
        Binder { params: Vec::new(), fields: Fields::of::<EventsWanted>(), body_max: None };
    let endpoints: [(&str, Box<dyn Endpoint>); 3] = [
        ("/health", Box::new(Health(bus.clone()))),
        ("/metrics", private(guard.clone(), Box::new(Metrics(bus.clone())))),
        ("/events", private(guard, Box::new(Events { bus, binder }))),
    ];
    for (path, endpoint) in endpoints {
        let pattern = Pattern::parse(path).expect("the paths written above are sound");
        mount.add(Method::GET, path, pattern, endpoint);
    }
    mount.into_config()
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
    web::to(move || {
        let problem = Problem::new(StatusCode::NOT_FOUND, "unknown_path")
            .detail("nothing is at this path")
            .trace_id(bus.new_trace_id());
        async move { problem.error_response() }
    })
}

struct Health(Bus);

impl Endpoint for Health {
    fn answer(&self, _: Call) -> Answer<'_> {
        let health = self.0.health();
        let mut down = health.down;
        if !health.is_running {
            down.push("runtime".to_owned());
        }
        let (uptime_s, version) = (health.uptime.as_secs(), env!("CARGO_PKG_VERSION"));
        let response = if down.is_empty() {
            let report = json!({ "status": "up", "uptime_s": uptime_s, "version": version });
            HttpResponse::Ok().json(report)
        } else {
            HttpResponse::ServiceUnavailable().json(json!({
                "status": "down", "down": down, "uptime_s": uptime_s, "version": version,
            }))
        };
        Box::pin(async { Ok(response) })
    }
}

struct Metrics(Bus);

impl Endpoint for Metrics {
    fn answer(&self, _: Call) -> Answer<'_> {
        let response = HttpResponse::Ok().json(self.0.metrics());
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
