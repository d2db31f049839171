//! Where a request comes from, as its headers say: the trace that it continues and the id by which
//! its sender knows it.

use std::borrow::Cow;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use callboard_actors::{Bus, TraceId, TraceParent};

/// The header with the sender's own id of what it is doing.
pub(super) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// The longest id of a sender, in bytes.
const CORRELATION_ID_MAX: usize = 128;

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header with what the systems that a trace has passed say about it.
pub(super) const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate`, in bytes: what W3C Trace Context asks everybody to hand on.
const TRACE_STATE_MAX: usize = 512;

/// Where a request belongs.
#[derive(Clone, Copy)]
pub(crate) struct Lineage {
    pub(crate) trace_id: TraceId,
    /// The span that it is a step of, where there is one.
    pub(crate) parent: Option<TraceParent>,
}

impl Lineage {
    /// The place that the request's headers name, or the beginning of a trace.
    pub(crate) fn of(headers: &HeaderMap, bus: &Bus) -> Self {
        let parent = continued(headers);
        let trace_id = parent.map_or_else(|| bus.new_trace_id(), |parent| parent.trace_id);
        Self { trace_id, parent }
    }
}

/// The place in a trace that a W3C `traceparent` names, if there is exactly one and it follows its
/// rules.
fn continued(headers: &HeaderMap) -> Option<TraceParent> {
    let mut all = headers.get_all(TRACE_PARENT);
    match (all.next()?, all.next()) {
        (only, None) => only.to_str().ok()?.parse().ok(),
        _ => None,
    }
}

/// What came along with a trace that is continued, to be handed on unchanged.
pub(super) fn trace_state(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut all = headers.get_all(TRACE_STATE).map(|value| value.to_str().unwrap_or_default());
    let first = Cow::Borrowed(all.next()?);
    let whole = all.fold(first, |whole, more| Cow::Owned(format!("{whole},{more}")));
    (1..=TRACE_STATE_MAX).contains(&whole.len()).then_some(whole)
}

/// The id that the sender gave, if it is short and plain enough to be handed on and logged.
pub(super) fn correlation_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let value = headers.get(CORRELATION_ID)?;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b);
    let bytes = value.as_bytes();
    let is_sound = (1..=CORRELATION_ID_MAX).contains(&bytes.len()) && bytes.iter().all(plain);
    is_sound.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn trace(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACE_PARENT, HeaderValue::from_str(value).unwrap());
        }
        continued(&headers).map(|id| id.to_string())
    }

    #[test]
    fn only_a_single_sound_traceparent_is_continued() {
        let plain = format!("00-{TRACE}-b7ad6b7169203331-01");
        assert_eq!(trace(&[&plain]).as_deref(), Some(&*plain));
        assert_eq!(trace(&[&plain, &plain]), None, "two");
        assert_eq!(trace(&[&plain[1..]]), None);
        assert_eq!(trace(&[]), None);
    }

    #[test]
    fn a_tracestate_is_handed_on_unless_it_is_too_long() {
        let longest = "x".repeat(TRACE_STATE_MAX);
        let too_long = format!("{longest}x");
        for (values, expected) in [
            (&["a=1,b=2"][..], Some("a=1,b=2")),
            (&["a=1", "b=2"], Some("a=1,b=2")),
            (&[&longest], Some(&*longest)),
            (&[&too_long], None),
            (&[&longest, "a=1"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACE_STATE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(trace_state(&headers).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn a_correlation_id_is_short_and_plain() {
        let longest = "x".repeat(CORRELATION_ID_MAX);
        let too_long = format!("{longest}x");
        for (value, is_sound) in [
            ("7b5-a_b.c:d/e+f=@", true),
            (longest.as_str(), true),
            (&too_long, false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("<a>", false),
            ("é", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CORRELATION_ID, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            assert_eq!(correlation_id(&headers).is_some(), is_sound, "{value}");
        }
    }
}
