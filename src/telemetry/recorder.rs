//! Records spans as OTLP says them: the spans of deliveries, requests and calls, and what programs
//! do within them, enter through `tracing`; those that ended leave over a bounded queue.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use callboard_actors::{SPAN_TARGET, TraceId};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::sampler::Sampler;

/// The attributes of one span or event; more are counted.
const ATTRIBUTES_MAX: usize = 128;
/// The events of one span; more are counted.
const EVENTS_MAX: usize = 128;
/// The links of one span; more are counted.
const LINKS_MAX: usize = 128;
/// The longest text of an attribute, in bytes; the rest is cut off.
const TEXT_MAX: usize = 4096;

/// A layer that records spans.
pub(crate) struct Recorder {
    sampler: Sampler,
    ended: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
}

/// A span that has not ended.
struct Draft(Span);

impl Recorder {
    /// `dropped` counts the spans for which `ended` had no room.
    pub(crate) fn new(
        sampler: Sampler,
        ended: mpsc::Sender<Span>,
        dropped: &Arc<AtomicU64>,
    ) -> Self {
        Self { sampler, ended, dropped: Arc::clone(dropped) }
    }

    /// Whether a trace is recorded; `parent` is what the caller decided.
    pub(super) fn takes(&self, parent: Option<bool>, trace_id: TraceId) -> bool {
        let trace_id = u128::from_str_radix(&trace_id.to_string(), 16);
        trace_id.is_ok_and(|trace_id| self.sampler.takes(parent, trace_id))
    }

    /// Which spans and events it wants to see.
    pub(crate) fn wants(metadata: &Metadata<'_>) -> bool {
        metadata.target() == SPAN_TARGET || *metadata.level() <= tracing::Level::INFO
    }

    /// Begins a span that says itself where it belongs.
    fn begin(&self, attributes: &Attributes<'_>) -> Option<Span> {
        let mut place = Place::default();
        attributes.record(&mut place);
        let trace_id = place.trace_id?;
        if !self.sampler.takes(place.is_sampled, trace_id) {
            return None;
        }
        let (kind, constants): (_, &[(&str, &str)]) = match attributes.metadata().name() {
            "handle" => (SpanKind::Consumer, &MESSAGING),
            "request" => (SpanKind::Server, &[]),
            "call" => (SpanKind::Client, &[]),
            _ => (SpanKind::Internal, &[]),
        };
        let constants = constants.iter();
        let mut span = Span {
            trace_id: trace_id.to_be_bytes().into(),
            span_id: place.span_id?.to_be_bytes().into(),
            parent_span_id: bytes(place.parent_id),
            trace_state: place.trace_state.unwrap_or_default(),
            // Sampled.
            flags: 1,
            name: place.name.unwrap_or_else(|| attributes.metadata().name().to_owned()),
            kind: kind.into(),
            start_time_unix_nano: now(),
            attributes: constants.map(|(key, value)| pair(key, text(value))).collect(),
            ..Span::default()
        };
        if let (Some(trace_id), Some(span_id)) = (place.link_trace_id, place.link_span_id) {
            let (trace_id, span_id) = (trace_id.to_be_bytes().into(), span_id.to_be_bytes().into());
            span.links.push(Link { trace_id, span_id, ..Link::default() });
        }
        attributes.record(&mut Own(&mut span));
        Some(span)
    }
}

/// What all deliveries have in common.
const MESSAGING: [(&str, &str); 3] = [
    ("messaging.system", "callboard"),
    ("messaging.operation.name", "process"),
    ("messaging.operation.type", "process"),
];

impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(place) = ctx.span(id) else { return };
        let span = if attributes.metadata().target() == SPAN_TARGET {
            self.begin(attributes)
        } else {
            // What belongs to no span of ours belongs to no trace.
            place.parent().and_then(|parent| {
                let extensions = parent.extensions();
                Some(within(&extensions.get::<Draft>()?.0, attributes))
            })
        };
        if let Some(span) = span {
            place.extensions_mut().insert(Draft(span));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(place) = ctx.span(id) else { return };
        let mut extensions = place.extensions_mut();
        let Some(Draft(span)) = extensions.get_mut() else { return };
        if place.metadata().target() == SPAN_TARGET {
            values.record(&mut Own(span));
        } else {
            values.record(&mut Others(&mut span.attributes, &mut span.dropped_attributes_count));
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, ctx: Context<'_, S>) {
        let (Some(place), Some(cause)) = (ctx.span(id), ctx.span(follows)) else { return };
        let link = cause.extensions().get::<Draft>().map(|Draft(cause)| Link {
            trace_id: cause.trace_id.clone(),
            span_id: cause.span_id.clone(),
            ..Link::default()
        });
        if let (Some(link), Some(Draft(span))) = (link, place.extensions_mut().get_mut()) {
            match span.links.len() {
                0..LINKS_MAX => span.links.push(link),
                _ => span.dropped_links_count += 1,
            }
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, ctx: Context<'_, S>) {
        let Some(place) = ctx.event_span(event) else { return };
        let mut extensions = place.extensions_mut();
        let Some(Draft(span)) = extensions.get_mut() else { return };
        if span.events.len() >= EVENTS_MAX {
            span.dropped_events_count += 1;
            return;
        }
        let metadata = event.metadata();
        let attributes = vec![
            pair("level", text(metadata.level().as_str())),
            pair("target", text(metadata.target())),
        ];
        let mut said = Event { time_unix_nano: now(), attributes, ..Event::default() };
        let Event { name, attributes, dropped_attributes_count, .. } = &mut said;
        event.record(&mut Said(name, Others(attributes, dropped_attributes_count)));
        span.events.push(said);
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let Some(Draft(mut span)) = ctx.span(&id).and_then(|span| span.extensions_mut().remove())
        else {
            return;
        };
        span.end_time_unix_nano = now();
        if let Err(mpsc::error::TrySendError::Full(_)) = self.ended.try_send(span) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// A program's own span within another one.
fn within(parent: &Span, attributes: &Attributes<'_>) -> Span {
    let mut span = Span {
        trace_id: parent.trace_id.clone(),
        span_id: fastrand::u64(1..).to_be_bytes().into(),
        parent_span_id: parent.span_id.clone(),
        trace_state: parent.trace_state.clone(),
        flags: parent.flags,
        name: attributes.metadata().name().to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: now(),
        attributes: vec![pair("target", text(attributes.metadata().target()))],
        ..Span::default()
    };
    attributes.record(&mut Others(&mut span.attributes, &mut span.dropped_attributes_count));
    span
}

/// Where a span of callboard belongs, as its fields say.
#[derive(Default)]
struct Place {
    trace_id: Option<u128>,
    span_id: Option<u64>,
    parent_id: Option<u64>,
    is_sampled: Option<bool>,
    trace_state: Option<String>,
    link_trace_id: Option<u128>,
    link_span_id: Option<u64>,
    name: Option<String>,
}

impl Visit for Place {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "trace_id" => self.trace_id = u128::from_str_radix(value, 16).ok(),
            "event" => self.name = Some(format!("process {value}")),
            "otel.name" => self.name = Some(value.to_owned()),
            "otel.trace_state" => self.trace_state = Some(value.to_owned()),
            "otel.link_trace_id" => self.link_trace_id = u128::from_str_radix(value, 16).ok(),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "otel.span_id" => self.span_id = Some(value),
            "otel.parent_id" => self.parent_id = Some(value),
            "otel.link_span_id" => self.link_span_id = Some(value),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "otel.is_sampled" {
            self.is_sampled = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "trace_id" {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}

/// Takes a value of a visitor under the name that `named` gives to its field.
macro_rules! take_each {
    ($named:ident) => {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.$named(field, || text(value));
        }

        fn record_f64(&mut self, field: &Field, value: f64) {
            self.$named(field, || Value::DoubleValue(value));
        }

        fn record_i64(&mut self, field: &Field, value: i64) {
            self.$named(field, || Value::IntValue(value));
        }

        fn record_u64(&mut self, field: &Field, value: u64) {
            self.$named(field, || match i64::try_from(value) {
                Ok(value) => Value::IntValue(value),
                Err(_) => text(&value.to_string()),
            });
        }

        fn record_bool(&mut self, field: &Field, value: bool) {
            self.$named(field, || Value::BoolValue(value));
        }

        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.$named(field, || text(&format!("{value:?}")));
        }
    };
}

/// The attributes of a span of callboard, whose fields have names of their own.
struct Own<'s>(&'s mut Span);

impl Own<'_> {
    fn take(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        let key = match field.name() {
            "handler" => "callboard.handler",
            "event" => "messaging.destination.name",
            name => match name.strip_prefix("otel.") {
                Some(key) if key.contains('.') => key,
                // Where the span belongs.
                _ => return,
            },
        };
        if key == "error.type" {
            self.0.status = Some(Status { message: String::new(), code: StatusCode::Error.into() });
        }
        add(&mut self.0.attributes, &mut self.0.dropped_attributes_count, key, value);
    }
}

impl Visit for Own<'_> {
    take_each!(take);
}

/// The attributes of a program's own span or event, and how many there was no room for.
struct Others<'s>(&'s mut Vec<KeyValue>, &'s mut u32);

impl Others<'_> {
    fn take(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        add(self.0, self.1, field.name(), value);
    }
}

impl Visit for Others<'_> {
    take_each!(take);
}

/// The name and the attributes of an event.
struct Said<'s>(&'s mut String, Others<'s>);

impl Said<'_> {
    fn take(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        if field.name() != "message" {
            self.1.take(field, value);
        } else if let Value::StringValue(message) = value() {
            *self.0 = message;
        }
    }
}

impl Visit for Said<'_> {
    take_each!(take);
}

fn add(
    attributes: &mut Vec<KeyValue>,
    dropped: &mut u32,
    key: &str,
    value: impl FnOnce() -> Value,
) {
    if let Some(known) = attributes.iter_mut().find(|known| known.key == key) {
        known.value = Some(AnyValue { value: Some(value()) });
    } else if attributes.len() < ATTRIBUTES_MAX {
        attributes.push(pair(key, value()));
    } else {
        *dropped += 1;
    }
}

/// One attribute.
pub(crate) fn pair(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A text, cut off where it is too long.
pub(crate) fn text(text: &str) -> Value {
    Value::StringValue(text[..text.floor_char_boundary(TEXT_MAX)].to_owned())
}

fn bytes(id: Option<u64>) -> Vec<u8> {
    id.map(|id| id.to_be_bytes().into()).unwrap_or_default()
}

/// Nanoseconds since 1970, enough until 2554.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
