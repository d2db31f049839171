//! Where a request comes from, as its headers say: the trace that it continues and the id by which
//! its sender knows it.

use std::str::FromStr;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use callboard_actors::TraceId;

/// The header with the sender's own id of what it is doing.
pub(super) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// The longest id of a sender, in bytes.
const CORRELATION_ID_MAX: usize = 128;

/// The trace that a W3C `traceparent` names, if there is exactly one and it follows its rules.
pub(super) fn continued(headers: &HeaderMap) -> Option<TraceId> {
    let mut all = headers.get_all("traceparent");
    let (first, None) = (all.next()?, all.next()) else {
        return None;
    };
    let mut parts = first.to_str().ok()?.split('-');
    let [version, trace_id, parent_id, flags] = std::array::from_fn(|_| parts.next());
    let (version, parent_id) = (version?, parent_id?);
    let is_sound = is_hex(version, 2)
        && version != "ff"
        // Later versions may append something.
        && (version != "00" || parts.next().is_none())
        && is_hex(parent_id, 16)
        && parent_id.bytes().any(|b| b != b'0')
        && is_hex(flags?, 2);
    let trace_id = trace_id.filter(|id| is_sound && is_hex(id, 32))?;
    TraceId::from_str(trace_id).ok()
}

/// The id that the sender gave, if it is short and plain enough to be handed on and logged.
pub(super) fn correlation_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let value = headers.get(CORRELATION_ID)?;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b);
    let bytes = value.as_bytes();
    let is_sound = (1..=CORRELATION_ID_MAX).contains(&bytes.len()) && bytes.iter().all(plain);
    is_sound.then_some(value)
}

fn is_hex(text: &str, len: usize) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == len && text.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn trace(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            let name = HeaderName::from_static("traceparent");
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        continued(&headers).map(|id| id.to_string())
    }

    #[test]
    fn a_sound_traceparent_is_continued() {
        let plain = format!("00-{TRACE}-b7ad6b7169203331-01");
        assert_eq!(trace(&[&plain]).as_deref(), Some(TRACE));
        let later = format!("cc-{TRACE}-b7ad6b7169203331-00-what-comes");
        assert_eq!(trace(&[&later]).as_deref(), Some(TRACE));
        assert_eq!(trace(&[&plain, &plain]), None, "two");
        assert_eq!(trace(&[]), None);
    }

    #[test]
    fn what_breaks_the_rules_of_traceparent_is_ignored() {
        for value in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}-b7ad6b7169203331"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("0-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-b7ad6b716920333-01"),
            format!("00-{TRACE}-b7ad6b7169203331-0g"),
        ] {
            assert_eq!(trace(&[&value]), None, "{value}");
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
