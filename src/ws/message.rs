//! The span of one message of a session, where somebody records spans.

use callboard_actors::{Bus, SPAN_TARGET, TraceId, TraceParent};
use tracing::Span;
use tracing::field::Empty;

use crate::telemetry::is_sampled;

/// A message that is being answered, and is recorded.
#[derive(Debug)]
pub(super) struct Message {
    span: Span,
    pub(super) place: TraceParent,
}

impl Message {
    /// `None` where nobody records. A session outlives any trace, so a message is in one of its own,
    /// with a `link` to the one in which the session was opened.
    pub(super) fn begin(
        bus: &Bus,
        trace_id: TraceId,
        event: &str,
        link: Option<TraceParent>,
    ) -> Option<Self> {
        let span_id = bus.new_span_id();
        let span = tracing::trace_span!(
            target: SPAN_TARGET,
            parent: None,
            "message",
            trace_id = %trace_id,
            "otel.name" = format!("ws {event}"),
            "otel.span_id" = span_id.to_bits(),
            "otel.link_trace_id" = link.map(|link| link.trace_id.to_string()),
            "otel.link_span_id" = link.map(|link| link.span_id.to_bits()),
            "otel.network.protocol.name" = "websocket",
            "otel.messaging.destination.name" = event,
            "otel.error.type" = Empty,
        );
        if span.is_disabled() {
            return None;
        }
        let is_sampled = is_sampled(None, trace_id).unwrap_or(true);
        Some(Self { span, place: TraceParent { trace_id, span_id, is_sampled } })
    }

    pub(super) fn fail(&self, code: &str) {
        self.span.record("otel.error.type", code);
    }
}
