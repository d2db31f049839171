//! The span in which a handler works: what log lines show, and more of it where spans are recorded.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tracing::Span;
use tracing::field::Empty;

use super::{EventContext, Scope};
use crate::envelope::Envelope;
use crate::error::{HandlerError, HandlerResult};
use crate::span::{SPAN_TARGET, SpanId};

/// The header of a chain with what the systems that a trace has passed say about it (W3C).
const TRACE_STATE: &str = "tracestate";

impl EventContext {
    /// A span for what the handler does.
    pub(crate) fn span(&self) -> Span {
        span(&self.envelope, &self.scope)
    }
}

/// A span for what a handler does with the event.
pub(crate) fn span(envelope: &Envelope, scope: &Scope) -> Span {
    let recorded = recorded_span(envelope, scope);
    if !recorded.is_disabled() {
        return recorded;
    }
    // Wherever it is handled, it is not part of what its publisher does.
    tracing::info_span!(
        parent: None,
        "handle",
        handler = &*scope.publisher.name,
        event = envelope.name(),
        // Texts are the cheapest fields, and each delivery has a span.
        trace_id = envelope.trace_id().encode(&mut [0; 32]),
    )
}

/// A span with all that a recorder wants to know; disabled where nobody records.
pub(crate) fn recorded_span(envelope: &Envelope, scope: &Scope) -> Span {
    let metadata = envelope.metadata();
    tracing::trace_span!(
        target: SPAN_TARGET,
        parent: None,
        "handle",
        handler = &*scope.publisher.name,
        event = envelope.name(),
        trace_id = metadata.trace_id.encode(&mut [0; 32]),
        "otel.span_id" = scope.span_id.to_bits(),
        "otel.parent_id" = envelope.parent_span_id().map(SpanId::to_bits),
        "otel.is_sampled" = metadata.is_sampled(),
        "otel.trace_state" = metadata.header(TRACE_STATE),
        "otel.messaging.message.id" = %envelope.id(),
        "otel.messaging.message.conversation_id" = %metadata.correlation_id,
        "otel.callboard.attempt" = u64::from(scope.attempt),
        "otel.error.type" = Empty,
    )
}

/// How the work within a span ended.
pub(crate) trait Ended {
    /// The code of its error, if it failed.
    fn failure(&self) -> Option<&str>;
}

impl<T> Ended for HandlerResult<T> {
    fn failure(&self) -> Option<&str> {
        self.as_ref().err().map(HandlerError::error_code)
    }
}

/// Of work that is caught when it panics.
impl<T> Ended for std::thread::Result<HandlerResult<T>> {
    fn failure(&self) -> Option<&str> {
        self.as_ref().map_or(Some(PANIC), Ended::failure)
    }
}

/// The field of a recorded span that says how its work failed. Others do not have it.
const ERROR_TYPE: &str = "otel.error.type";

const PANIC: &str = "panic";

pin_project! {
    /// Work within a span: when it is polled and, unless it has come to its end, when it is dropped.
    /// The span learns how it failed. `tracing`'s own `Instrumented` enters the span once more for
    /// work that has ended.
    pub(crate) struct Within<F> {
        #[pin]
        work: Option<F>,
        span: Span,
    }

    impl<F> PinnedDrop for Within<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.work.is_some() {
                let how = if std::thread::panicking() { PANIC } else { "cancelled" };
                this.span.record(ERROR_TYPE, how);
                let _entered = this.span.enter();
                this.work.set(None);
            }
        }
    }
}

impl<F> Within<F> {
    pub(crate) fn new(span: Span, work: F) -> Self {
        Self { work: Some(work), span }
    }
}

impl<F: Future<Output: Ended>> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _entered = this.span.enter();
        let work = this.work.as_mut().as_pin_mut().expect("work is not polled after its end");
        let output = ready!(work.poll(cx));
        this.work.set(None);
        if let Some(code) = output.failure() {
            this.span.record(ERROR_TYPE, code);
        }
        Poll::Ready(output)
    }
}
