//! Who a client of a session is, and the span of one of its messages, where somebody records spans.

use std::time::SystemTime;

use callboard_actors::{Bus, Identity, SPAN_TARGET, TraceId, TraceParent};
use tracing::Span;
use tracing::field::Empty;

use crate::telemetry::is_sampled;

/// Who a client is, as the server established it.
#[derive(Default)]
pub(super) struct Visitor {
    pub(super) identity: Option<Identity>,
    /// Until when that holds.
    pub(super) expires_at: Option<SystemTime>,
    /// The place in a trace from which the session was opened.
    pub(super) opened_in: Option<TraceParent>,
}

/// A message that is being answered, and is recorded.
#[derive(Debug)]
pub(super) struct Message {
    span: Span,
    pub(super) place: TraceParent,
}

impl Message {
    /// `None` where nobody records. A session outlives any trace, so a message is in one of its own,
    /// with a link to the one in which the session was opened.
    pub(super) fn begin(
        bus: &Bus,
        trace_id: TraceId,
        event: &str,
        visitor: &Visitor,
    ) -> Option<Self> {
        let (span_id, link) = (bus.new_span_id(), visitor.opened_in);
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
