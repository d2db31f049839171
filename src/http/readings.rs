//! What there is to measure, as families of metrics: a runtime, its edges and their counters enter,
//! a text in one of the formats of Prometheus leaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use callboard_actors::{Bus, CircuitState, HandlerMetrics, HandlerStatus, MetricsSnapshot};

use super::exposition::{Dialect, Exposition, Kind};
use super::traffic::{LIMITS_MS, Traffic};

/// The limits of the buckets of delivery durations, as powers of two of microseconds, from 128 µs to
/// 34 s: there the handlers' own histograms are exact.
const DELIVERY_POWERS: std::ops::RangeInclusive<u32> = 7..=25;

/// What is asked each time somebody looks at the metrics.
#[derive(Clone, Default)]
pub(super) struct Sources {
    pub(super) traffic: Traffic,
    pub(super) sockets: Vec<Listeners>,
    pub(super) streams: Vec<Listeners>,
}

/// Clients that listen at one path, over WebSockets or streams of events.
#[derive(Clone)]
pub(super) struct Listeners {
    path: String,
    count: Arc<dyn Fn() -> ListenerCounts + Send + Sync>,
}

/// How the clients that listen at one path are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerCounts {
    /// Sessions or streams that are open.
    pub(crate) open: usize,
    /// Those that were ended because their client did not read.
    pub(crate) slow_consumers: u64,
}

impl Listeners {
    pub(super) fn new(
        path: &str,
        count: impl Fn() -> ListenerCounts + Send + Sync + 'static,
    ) -> Self {
        Self { path: path.to_owned(), count: Arc::new(count) }
    }
}

/// A counter or a gauge of each handler.
struct Column(Kind, &'static str, &'static str, fn(&HandlerMetrics) -> u64);

#[rustfmt::skip] // A table.
const COLUMNS: [Column; 15] = {
    use Kind::{Counter, Gauge};
    [
        Column(Counter, "callboard_deliveries", "Finished deliveries, failed ones included.", |h| h.processed),
        Column(Counter, "callboard_delivery_failures", "Deliveries that failed after their last attempt.", |h| h.errors),
        Column(Counter, "callboard_delivery_retries", "Attempts after the first.", |h| h.retries),
        Column(Counter, "callboard_events_dropped", "Events that the overflow policy dropped.", |h| h.dropped),
        Column(Counter, "callboard_events_expired", "Events that were too old when their turn came.", |h| h.expired),
        Column(Counter, "callboard_events_duplicate", "Events that had been handled before.", |h| h.duplicates),
        Column(Counter, "callboard_deliveries_rate_limited", "Deliveries that the rate limit delayed or refused.", |h| h.rate_limited),
        Column(Counter, "callboard_deliveries_circuit_broken", "Deliveries that the breaker refused.", |h| h.circuit_broken),
        Column(Counter, "callboard_deliveries_fallback", "Deliveries that the fallback answered.", |h| h.fallbacks),
        Column(Counter, "callboard_handler_restarts", "How often the handler's actor was rebuilt.", |h| h.restarts),
        Column(Gauge, "callboard_queue_depth", "Events that wait for the handler.", |h| h.queue_depth as u64),
        Column(Gauge, "callboard_queue_max", "The limit of the handler's queue.", |h| h.queue_max as u64),
        Column(Gauge, "callboard_deliveries_in_flight", "Deliveries in work, those that wait for another attempt included.", |h| h.in_flight),
        Column(Gauge, "callboard_deliveries_stuck", "Attempts in work for longer than the policy expects.", |h| h.stuck as u64),
        Column(Gauge, "callboard_handler_paused", "Whether the handler's queue is paused.", |h| u64::from(h.is_paused)),
    ]
};

/// What is open and what was ended, as metrics and what they mean.
#[rustfmt::skip] // A table.
const SOCKETS: [(&str, &str); 2] = [
    ("callboard_ws_sessions", "WebSocket sessions that are open."),
    ("callboard_ws_slow_consumers", "WebSocket sessions that were ended because their client did not read."),
];

#[rustfmt::skip] // A table.
const STREAMS: [(&str, &str); 2] = [
    ("callboard_sse_streams", "Streams of server-sent events that are open."),
    ("callboard_sse_slow_consumers", "Streams of server-sent events that were ended because their client did not read."),
];

const STATUSES: [(&str, HandlerStatus); 4] = [
    ("up", HandlerStatus::Up),
    ("restarting", HandlerStatus::Restarting),
    ("down", HandlerStatus::Down),
    ("ended", HandlerStatus::Ended),
];

const CIRCUITS: [(&str, CircuitState); 3] = [
    ("closed", CircuitState::Closed),
    ("open", CircuitState::Open),
    ("half_open", CircuitState::HalfOpen),
];

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Everything that there is to know now.
pub(super) fn text(bus: &Bus, sources: &Sources, dialect: Dialect) -> String {
    let mut exposition = Exposition::new(dialect);
    let metrics = bus.metrics();
    write_totals(&mut exposition, bus, &metrics);
    write_handlers(&mut exposition, &metrics);
    write_traffic(&mut exposition, &sources.traffic);
    write_listeners(&mut exposition, &sources.sockets, SOCKETS);
    write_listeners(&mut exposition, &sources.streams, STREAMS);
    exposition.finish()
}

#[rustfmt::skip] // A table.
fn write_totals(exposition: &mut Exposition, bus: &Bus, metrics: &MetricsSnapshot) {
    use Kind::{Counter, Gauge};
    let health = bus.health();
    for (kind, name, help, value) in [
        (Counter, "callboard_events_published", "Events that were published.", metrics.published),
        (Counter, "callboard_events_unheard", "Published events that nobody subscribes to.", metrics.unheard),
        (Counter, "callboard_events_requested", "Requests that were made.", metrics.requested),
        (Counter, "callboard_dead_letters_added", "Deliveries that ended as dead letters.", metrics.dead_lettered),
        (Counter, "callboard_dead_letters_lost", "Dead letters that had to make room for newer ones.", metrics.dead_letters_lost),
        (Gauge, "callboard_dead_letters", "Dead letters that there are now.", metrics.dead_letters as u64),
        (Gauge, "callboard_schedules", "Schedules that have not ended.", bus.schedules().len() as u64),
        (Gauge, "callboard_handlers", "Handlers that are mounted.", metrics.handlers.len() as u64),
        (Gauge, "callboard_running", "Whether events are taken from outside.", u64::from(health.is_running)),
    ] {
        exposition.family(kind, name, help).sample(&[], value);
    }
    let help = "How long the runtime has been running.";
    let mut uptime = exposition.family(Gauge, "callboard_uptime_seconds", help);
    uptime.sample(&[], health.uptime.as_secs_f64());
}

fn write_handlers(exposition: &mut Exposition, metrics: &MetricsSnapshot) {
    for Column(kind, name, help, read) in COLUMNS {
        let mut family = exposition.family(kind, name, help);
        for (handler, counters) in &metrics.handlers {
            family.sample(&[("handler", handler)], read(counters));
        }
    }
    let help = "How long ago the event that waits longest was published; 0 when none waits.";
    let mut family = exposition.family(Kind::Gauge, "callboard_queue_age_seconds", help);
    for (handler, counters) in &metrics.handlers {
        family.sample(&[("handler", handler)], counters.queue_age_ms / 1e3);
    }
    let help = "The state of the handler: 1 for the one it is in.";
    let mut family = exposition.family(Kind::Gauge, "callboard_handler_status", help);
    for (handler, counters) in &metrics.handlers {
        for (state, status) in STATUSES {
            let labels = [("handler", handler.as_str()), ("state", state)];
            family.sample(&labels, u8::from(counters.status == status));
        }
    }
    let help = "The state of the handler's breaker, if it has one: 1 for the one it is in.";
    let mut family = exposition.family(Kind::Gauge, "callboard_breaker_state", help);
    for (handler, counters) in &metrics.handlers {
        for (state, circuit) in counters.breaker.iter().flat_map(|_| CIRCUITS) {
            let labels = [("handler", handler.as_str()), ("state", state)];
            family.sample(&labels, u8::from(counters.breaker == Some(circuit)));
        }
    }
    let (name, help) = ("callboard_delivery_duration_seconds", "How long deliveries took.");
    let mut family = exposition.family(Kind::Histogram, name, help);
    for (handler, counters) in &metrics.handlers {
        let durations = &counters.durations;
        let limits = DELIVERY_POWERS.map(|power| Duration::from_micros(1 << power));
        let at_most = limits.map(|limit| (limit.as_secs_f64(), durations.at_most(limit)));
        let labels = [("handler", handler.as_str())];
        family.histogram(&labels, at_most, durations.count(), durations.sum());
    }
}

fn write_traffic(exposition: &mut Exposition, traffic: &Traffic) {
    let name = "callboard_http_request_duration_seconds";
    let help = "How long HTTP requests took until their answer was ready, by class of status.";
    let mut family = exposition.family(Kind::Histogram, name, help);
    for counted in traffic.snapshot() {
        let labels = [
            ("method", counted.method.as_str()),
            ("route", counted.route.as_str()),
            ("status", counted.class),
        ];
        let mut within = 0;
        let at_most = LIMITS_MS.iter().zip(counted.counts).map(|(limit, count)| {
            within += count;
            (Duration::from_millis(*limit).as_secs_f64(), within)
        });
        family.histogram(&labels, at_most, counted.counts.iter().sum(), counted.sum);
    }
}

fn write_listeners(
    exposition: &mut Exposition,
    listeners: &[Listeners],
    [open, slow]: [(&'static str, &'static str); 2],
) {
    let counts: Vec<_> = listeners.iter().map(|at| (&*at.path, (at.count)())).collect();
    let mut family = exposition.family(Kind::Gauge, open.0, open.1);
    for (path, counts) in &counts {
        family.sample(&[("path", path)], counts.open);
    }
    let mut family = exposition.family(Kind::Counter, slow.0, slow.1);
    for (path, counts) in &counts {
        family.sample(&[("path", path)], counts.slow_consumers);
    }
}
