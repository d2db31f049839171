//! The text of a stream, as "Server-sent events" of the HTML standard has it: ids, names and data
//! enter, blocks of lines leave.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use bytes::Bytes;
use callboard_actors::TraceId;

use crate::listening::Frame;

/// The type of a stream.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// The name of the event that says that some are missing. No event of the bus is called so: their
/// names have a dot.
const GAP: &str = "gap";

/// What goes out to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Out {
    More(Bytes),
    /// The last block.
    Last(Bytes),
}

impl Out {
    /// A sign of life, which clients skip.
    pub(super) fn heartbeat() -> Self {
        Self::More(Bytes::from_static(b":\n\n"))
    }

    /// Tells whoever reads the stream itself why it ends; clients skip it and come back.
    pub(super) fn last(why: &str) -> Self {
        Self::Last(Bytes::from(format!(": {why}\n\n")))
    }
}

impl Frame for Out {
    fn too_slow() -> Self {
        Self::last("too slow")
    }
}

/// Which event of which life of the server a client has had last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventId {
    pub(super) life: TraceId,
    pub(super) number: u64,
}

impl EventId {
    /// Reads an id as it was written here.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (life, number) = text.split_once('-')?;
        let is_plain = number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_plain)?;
        Some(Self { life: life.parse().ok()?, number })
    }
}

impl Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.life, self.number)
    }
}

/// Why a client cannot have all that came after its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Its id is not one of this server since its start.
    UnknownId,
    /// Some of it is kept no more.
    TooOld,
}

impl Gap {
    fn reason(self) -> &'static str {
        match self {
            Self::UnknownId => "unknown_id",
            Self::TooOld => "too_old",
        }
    }
}

/// An event, whose data is JSON.
pub(super) fn event(id: EventId, name: &str, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + name.len() + 80);
    block(&mut text, id, name, data);
    text.into()
}

/// The beginning of a stream: how long to wait after its end, and where it begins.
pub(super) fn beginning(retry: Duration, id: Option<EventId>) -> Bytes {
    let mut text = format!("retry: {}\n", retry.as_millis());
    if let Some(id) = id {
        // Without data it is no event, but a client that comes back without one says so.
        let _ = writeln!(text, "id: {id}");
    }
    text.push('\n');
    text.into()
}

/// The beginning of a stream for a client that has missed something.
pub(super) fn beginning_with_gap(retry: Duration, id: EventId, gap: Gap) -> Bytes {
    let mut text = format!("retry: {}\n", retry.as_millis());
    block(&mut text, id, GAP, &format!(r#"{{"reason":"{}"}}"#, gap.reason()));
    text.into()
}

fn block(text: &mut String, id: EventId, name: &str, data: &str) {
    // A string takes everything.
    let _ = write!(text, "id: {id}\nevent: {name}\n");
    // What serde writes is one line, but a part of it that was JSON before may have more.
    for line in data.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn id(number: u64) -> EventId {
        EventId { life: LIFE.parse().unwrap(), number }
    }

    #[test]
    fn an_event_is_a_block_of_lines() {
        let text = event(id(7), "order.placed", r#"{"a":"b\nc"}"#);
        let expected = format!("id: {LIFE}-7\nevent: order.placed\ndata: {{\"a\":\"b\\nc\"}}\n\n");
        assert_eq!(text, expected);
        let text = event(id(7), "a.b", "{\r\n1\r2\n3}");
        let expected =
            format!("id: {LIFE}-7\nevent: a.b\ndata: {{\ndata: 1\ndata: 2\ndata: 3}}\n\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn a_stream_begins_with_the_time_to_wait() {
        let retry = Duration::from_millis(1500);
        assert_eq!(beginning(retry, None), "retry: 1500\n\n");
        assert_eq!(beginning(retry, Some(id(0))), format!("retry: 1500\nid: {LIFE}-0\n\n"));
        let expected =
            format!("retry: 1500\nid: {LIFE}-9\nevent: gap\ndata: {{\"reason\":\"too_old\"}}\n\n");
        assert_eq!(beginning_with_gap(retry, id(9), Gap::TooOld), expected);
    }

    #[test]
    fn an_id_is_read_as_it_was_written_and_in_no_other_form() {
        for number in [0, 1, u64::MAX] {
            assert_eq!(EventId::parse(&id(number).to_string()), Some(id(number)));
        }
        for text in [
            String::new(),
            "7".to_owned(),
            "-7".to_owned(),
            LIFE.to_owned(),
            format!("{LIFE}-"),
            format!("{LIFE}-+7"),
            format!("{LIFE}--7"),
            format!("{LIFE}-7 "),
            format!("{LIFE}-18446744073709551616"),
            format!("x{LIFE}-7"),
        ] {
            assert_eq!(EventId::parse(&text), None, "{text}");
        }
    }
}
