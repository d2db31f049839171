//! The span of one HTTP request: who asks for what enters, and how it was answered; a span leaves,
//! where somebody records spans.

use actix_web::HttpRequest;
use actix_web::http::header::USER_AGENT;
use actix_web::http::{StatusCode, Version};
use callboard_actors::{Bus, SPAN_TARGET, SpanId, TraceParent};
use tracing::Span;
use tracing::field::Empty;

use super::lineage::{Lineage, trace_state};
use crate::telemetry::is_sampled;

/// A request that is being answered, and is recorded.
pub(crate) struct Serving {
    span: Span,
    span_id: SpanId,
}

impl Serving {
    /// `None` where nobody records. `route` is the path as it was declared.
    pub(crate) fn begin(
        bus: &Bus,
        lineage: &Lineage,
        request: &HttpRequest,
        route: Option<&str>,
    ) -> Option<Self> {
        let (parent, span_id) = (lineage.parent, bus.new_span_id());
        let method = request.method().as_str();
        let span = tracing::trace_span!(
            target: SPAN_TARGET,
            parent: None,
            "request",
            trace_id = %lineage.trace_id,
            "otel.name" = route.map_or(method.to_owned(), |route| format!("{method} {route}")),
            "otel.span_id" = span_id.to_bits(),
            "otel.parent_id" = parent.map(|parent| parent.span_id.to_bits()),
            "otel.is_sampled" = parent.map(|parent| parent.is_sampled),
            "otel.trace_state" =
                parent.and_then(|_| trace_state(request.headers())).as_deref(),
            "otel.http.request.method" = method,
            "otel.http.route" = route,
            "otel.http.response.status_code" = Empty,
            "otel.url.path" = request.path(),
            "otel.url.scheme" = request.connection_info().scheme(),
            "otel.server.address" = without_port(request.connection_info().host()),
            "otel.client.address" = request.connection_info().peer_addr(),
            "otel.user_agent.original" =
                request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()),
            "otel.network.protocol.version" = version(request.version()),
            "otel.error.type" = Empty,
        );
        (!span.is_disabled()).then_some(Self { span, span_id })
    }

    /// What follows from the request is a step of this span.
    pub(crate) fn lineage(&self, lineage: &Lineage) -> Lineage {
        let (trace_id, span_id) = (lineage.trace_id, self.span_id);
        let decided = lineage.parent.map(|parent| parent.is_sampled);
        let is_sampled = is_sampled(decided, trace_id).or(decided).unwrap_or(true);
        Lineage { trace_id, parent: Some(TraceParent { trace_id, span_id, is_sampled }) }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The request is answered.
    pub(crate) fn end(self, status: StatusCode) {
        self.span.record("otel.http.response.status_code", status.as_u16());
        if status.is_server_error() {
            self.span.record("otel.error.type", status.as_str());
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}
