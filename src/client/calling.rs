//! The span of one outgoing call: the handler on whose behalf it is made enters, the `traceparent` of
//! the call leaves, and a span where somebody records spans.

use std::mem;

use awc::http::{Method, Uri};
use callboard_actors::{EventContext, SPAN_TARGET, SpanId, TraceParent};
use tracing::Span;
use tracing::field::Empty;

use super::error::ClientError;
use super::response::ClientResponse;
use crate::telemetry::is_sampled;

/// Where in a trace a call belongs.
pub(super) struct Place {
    handling: TraceParent,
    /// Whether the trace is recorded, as its caller outside decided.
    decided: Option<bool>,
    span_id: SpanId,
}

/// A call on its way, which is recorded. Dropped before its end, it was broken off.
pub(super) struct Calling(Span);

impl Place {
    pub(super) fn of(ctx: &EventContext) -> Self {
        let (handling, decided) = (ctx.trace_parent(), ctx.is_sampled());
        Self { handling, decided, span_id: ctx.new_span_id() }
    }

    /// What the other side is told, and the span of the call. Neither path nor query nor user name is
    /// recorded: they may hold secrets.
    pub(super) fn call(self, method: &Method, uri: &Uri) -> (TraceParent, Option<Calling>) {
        let Self { handling, decided, span_id } = self;
        let TraceParent { trace_id, span_id: parent_id, is_sampled: is_wanted } = handling;
        let is_sampled = is_sampled(decided, trace_id).unwrap_or(is_wanted);
        let span = tracing::trace_span!(
            target: SPAN_TARGET,
            parent: None,
            "call",
            trace_id = %trace_id,
            "otel.name" = method.as_str(),
            "otel.span_id" = span_id.to_bits(),
            "otel.parent_id" = parent_id.to_bits(),
            "otel.is_sampled" = decided,
            "otel.http.request.method" = method.as_str(),
            "otel.http.response.status_code" = Empty,
            "otel.server.address" = uri.host(),
            "otel.server.port" = port(uri),
            "otel.url.scheme" = uri.scheme_str(),
            "otel.error.type" = Empty,
        );
        if span.is_disabled() {
            return (TraceParent { is_sampled, ..handling }, None);
        }
        (TraceParent { trace_id, span_id, is_sampled }, Some(Calling(span)))
    }
}

impl Calling {
    /// The answer is there, or there will be none.
    pub(super) fn end(mut self, outcome: &Result<ClientResponse, ClientError>) {
        let span = mem::replace(&mut self.0, Span::none());
        match outcome {
            Ok(answer) => {
                let status = answer.status();
                span.record("otel.http.response.status_code", status);
                if status >= 400 {
                    span.record("otel.error.type", status.to_string());
                }
            }
            Err(error) => {
                span.record("otel.error.type", kind(error));
            }
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.record("otel.error.type", "cancelled");
    }
}

/// The port that is meant where the URL names none.
pub(super) fn port(uri: &Uri) -> u16 {
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    uri.port_u16().unwrap_or(usual)
}

/// One word for each way in which there is no answer.
fn kind(error: &ClientError) -> &'static str {
    match error {
        ClientError::Timeout { .. } => "timeout",
        ClientError::Connect { .. } => "connect",
        ClientError::CircuitOpen { .. } => "circuit_open",
        ClientError::Busy { .. } => "busy",
        ClientError::BodyTooLarge { .. } => "body_too_large",
        ClientError::Broken { .. } => "broken",
        _ => "_OTHER",
    }
}
