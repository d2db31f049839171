//! The frames on the wire: text enters as an [`Order`], and what a client is told leaves as text.

use std::str::FromStr;

use bytestring::ByteString;
use callboard_actors::{EVENT_NAME_MAX, TraceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// The longest `id` and the longest name of a room, in bytes.
const LABEL_MAX: usize = 128;

/// What a client's `id` was, written back as it came.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Id(Box<RawValue>);

/// What a client wants.
#[derive(Debug)]
pub(super) enum Order<'t> {
    Event(EventOrder<'t>),
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    Join(String),
    Leave(String),
}

/// An event that a client publishes or requests.
#[derive(Debug)]
pub(super) struct EventOrder<'t> {
    pub(super) event_type: String,
    /// JSON; an empty object when the frame has none.
    pub(super) payload: &'t str,
    /// How the frame that answers a request is to be named.
    pub(super) reply_event: Option<String>,
    pub(super) trace_id: Option<TraceId>,
}

/// A frame that says nothing that could be done.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) event_type: Option<String>,
    pub(super) id: Option<Id>,
    pub(super) refusal: Refusal,
}

/// A frame as it comes; what else is in it, a `user_id` for one, is not even looked at.
#[derive(Deserialize)]
struct Raw<'t> {
    #[serde(borrow)]
    event_type: Option<&'t RawValue>,
    #[serde(borrow)]
    payload: Option<&'t RawValue>,
    #[serde(borrow)]
    id: Option<&'t RawValue>,
    #[serde(borrow)]
    reply_event: Option<&'t RawValue>,
    #[serde(borrow)]
    trace_id: Option<&'t RawValue>,
    #[serde(borrow)]
    subscribe: Option<&'t RawValue>,
    #[serde(borrow)]
    unsubscribe: Option<&'t RawValue>,
    #[serde(borrow)]
    join: Option<&'t RawValue>,
    #[serde(borrow)]
    leave: Option<&'t RawValue>,
}

/// Reads one frame.
///
/// # Errors
/// What is wrong with it, with its `id` and its `event_type` when those could be read.
pub(super) fn read(text: &str) -> Result<(Order<'_>, Option<Id>), Box<Malformed>> {
    let nothing =
        |reason| Malformed { event_type: None, id: None, refusal: Refusal::malformed(reason) };
    // A list would do for serde, its items in the order of the fields.
    if !text.trim_start().starts_with('{') {
        return Err(Box::new(nothing("a frame is a JSON object")));
    }
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| {
        Box::new(if error.is_data() {
            nothing("a frame has each field once")
        } else {
            nothing("a frame is a JSON object, this is not JSON")
        })
    })?;
    let id = raw.id.map(Id::read).transpose().map_err(|reason| Box::new(nothing(reason)))?;
    match raw.order() {
        Ok(order) => Ok((order, id)),
        Err(reason) => Err(Box::new(Malformed {
            event_type: raw.event_type.and_then(|name| event_name(name).ok()),
            id,
            refusal: Refusal::malformed(reason),
        })),
    }
}

impl Id {
    fn read(raw: &RawValue) -> Result<Self, &'static str> {
        let text = raw.get();
        let len = match text.as_bytes() {
            [b'"', inner @ .., b'"'] => inner.len(),
            [b'-' | b'0'..=b'9', ..] => text.len(),
            _ => return Err("`id` is a string or a number"),
        };
        if len > LABEL_MAX {
            return Err("`id` has at most 128 bytes");
        }
        Ok(Self(raw.to_owned()))
    }
}

impl<'t> Raw<'t> {
    fn order(&self) -> Result<Order<'t>, &'static str> {
        const NAMES: &str = "`subscribe` and `unsubscribe` are lists of event names";
        match (self.event_type, self.subscribe, self.unsubscribe, self.join, self.leave) {
            (Some(name), None, None, None, None) => Ok(Order::Event(EventOrder {
                event_type: event_name(name)?,
                payload: self.payload.map_or("{}", RawValue::get),
                reply_event: self
                    .reply_event
                    .map(|name| event_name(name).map_err(|_| "`reply_event` is a short string"))
                    .transpose()?,
                trace_id: self.trace_id.map(trace_id).transpose()?,
            })),
            (None, Some(names), None, None, None) => Ok(Order::Subscribe(typed(names, NAMES)?)),
            (None, None, Some(names), None, None) => Ok(Order::Unsubscribe(typed(names, NAMES)?)),
            (None, None, None, Some(name), None) => Ok(Order::Join(room(name)?)),
            (None, None, None, None, Some(name)) => Ok(Order::Leave(room(name)?)),
            _ => Err(
                "a frame has one of `event_type`, `subscribe`, `unsubscribe`, `join` and `leave`",
            ),
        }
    }
}

fn typed<T: DeserializeOwned>(raw: &RawValue, reason: &'static str) -> Result<T, &'static str> {
    serde_json::from_str(raw.get()).map_err(|_| reason)
}

fn event_name(raw: &RawValue) -> Result<String, &'static str> {
    const REASON: &str = "`event_type` is a string of at most 200 bytes";
    let name: String = typed(raw, REASON)?;
    if name.len() > EVENT_NAME_MAX {
        return Err(REASON);
    }
    Ok(name)
}

fn room(raw: &RawValue) -> Result<String, &'static str> {
    const REASON: &str = "a room is a string of 1 to 128 bytes";
    let name: String = typed(raw, REASON)?;
    if name.is_empty() || name.len() > LABEL_MAX {
        return Err(REASON);
    }
    Ok(name)
}

fn trace_id(raw: &RawValue) -> Result<TraceId, &'static str> {
    const REASON: &str = "`trace_id` is 32 hexadecimal digits, not all zero";
    TraceId::from_str(&typed::<String>(raw, REASON)?).map_err(|_| REASON)
}

/// What a client is told about one event: all that the frames in this direction have in common.
#[derive(Serialize)]
pub(super) struct Notice<'n, P> {
    pub(super) event_type: Option<&'n str>,
    pub(super) payload: Option<P>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'n Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<TraceId>,
    pub(super) error: Option<Refusal>,
}

impl<P: Serialize> Notice<'_, P> {
    /// Writes the frame.
    ///
    /// # Errors
    /// When the payload's own `Serialize` fails.
    pub(super) fn write(&self) -> Result<ByteString, serde_json::Error> {
        serde_json::to_string(self).map(ByteString::from)
    }
}

/// Says that an order was done: `{"subscribed":["a.b"]}`.
pub(super) fn acknowledgement(done: &str, what: impl Serialize, id: Option<&Id>) -> ByteString {
    let written = |value| {
        serde_json::to_string(&value).expect("strings, lists of them and ids can be written")
    };
    let what = serde_json::to_string(&what).expect("strings and lists of them can be written");
    let id = id.map_or_else(String::new, |id| format!(r#","id":{}"#, written(id)));
    format!(r#"{{"{done}":{what}{id}}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let malformed = read(text).expect_err("nothing can be done about this frame");
        serde_json::to_string(&malformed.refusal).unwrap()
    }

    #[test]
    fn a_frame_says_one_thing() {
        for text in [
            "",
            "{",
            "[]",
            "17",
            "null",
            r#"["a.b",null,null,null,null,null,null,null,null]"#,
            "{}",
            r#"{"event_type":5}"#,
            r#"{"event_type":"a.b","event_type":"a.b"}"#,
            r#"{"event_type":"a.b","subscribe":[]}"#,
            r#"{"subscribe":"a.b"}"#,
            r#"{"subscribe":[1]}"#,
            r#"{"join":""}"#,
            r#"{"join":["lobby"]}"#,
            r#"{"event_type":"a.b","id":true}"#,
            r#"{"event_type":"a.b","id":{}}"#,
            r#"{"event_type":"a.b","trace_id":"xyz"}"#,
            r#"{"event_type":"a.b","reply_event":5}"#,
        ] {
            assert!(refused(text).starts_with(r#"{"code":"malformed""#), "{text}");
        }
    }

    #[test]
    fn an_id_comes_back_as_it_was_written() {
        let long = format!("\"{}\"", "x".repeat(LABEL_MAX));
        for id in ["7", "-7.50", "123456789012345678901234567890", r#""\u0041""#, &long] {
            let text = format!(r#"{{"event_type":"a.b","id": {id} }}"#);
            let (_, read) = read(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), id);
        }
        let long = "x".repeat(LABEL_MAX + 1);
        refused(&format!(r#"{{"event_type":"a.b","id":"{long}"}}"#));
    }

    #[test]
    fn what_could_be_read_of_a_malformed_frame_is_told() {
        let malformed = read(r#"{"event_type":"a.b","id":7,"trace_id":"no"}"#).unwrap_err();
        assert_eq!(malformed.event_type.as_deref(), Some("a.b"));
        assert_eq!(serde_json::to_string(&malformed.id).unwrap(), "7");
    }

    #[test]
    fn an_absent_payload_is_an_empty_object() {
        for text in [r#"{"event_type":"a.b"}"#, r#"{"event_type":"a.b","payload":null}"#] {
            let Ok((Order::Event(order), None)) = read(text) else {
                panic!("an event");
            };
            assert_eq!(order.payload, "{}");
        }
    }
}
