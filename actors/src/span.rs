//! Spans: the steps of a trace. Their identifiers, the W3C `traceparent`, and what those who record
//! spans have to know about them.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use uuid::Uuid;

use crate::event::TraceId;

/// The `tracing` target of the spans that callboard makes for a recorder, at the level `TRACE`: they
/// cost nothing where nobody wants them. Their fields named `otel.…` are for it alone: log lines leave
/// them out.
#[doc(hidden)]
pub const SPAN_TARGET: &str = "callboard_actors::span";

/// Identifies one span of a trace, such as the handling of one event: a W3C parent id, written as 16
/// lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

impl SpanId {
    /// Takes any bits; none at all become 1, because an identifier is never zero.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// The identifier as a number, whose bytes in big-endian order are those on the wire.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in a trace, as W3C Trace Context says it between services: its text is the header
/// `traceparent`.
///
/// ```
/// use callboard_actors::TraceParent;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let parent: TraceParent = text.parse()?;
/// assert!(parent.is_sampled);
/// assert_eq!(parent.to_string(), text);
/// # Ok::<(), callboard_actors::BadTraceParent>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The whole.
    pub trace_id: TraceId,
    /// The step of it to which what follows belongs.
    pub span_id: SpanId,
    /// Whether the caller may have recorded the trace.
    pub is_sampled: bool,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is 00-<32 digits>-<16 digits>-<2 digits>, hexadecimal and in lower case")]
#[non_exhaustive]
pub struct BadTraceParent;

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.is_sampled))
    }
}

impl FromStr for TraceParent {
    type Err = BadTraceParent;

    fn from_str(text: &str) -> Result<Self, BadTraceParent> {
        read(text.as_bytes()).ok_or(BadTraceParent)
    }
}

fn read(text: &[u8]) -> Option<TraceParent> {
    let (version, rest) = number::<2>(text)?;
    let (high, rest) = number::<16>(rest.strip_prefix(b"-")?)?;
    let (low, rest) = number::<16>(rest)?;
    let (span_id, rest) = number::<16>(rest.strip_prefix(b"-")?)?;
    let (flags, rest) = number::<2>(rest.strip_prefix(b"-")?)?;
    // Later versions may append something.
    let is_whole = rest.is_empty() || (version != 0 && rest.starts_with(b"-"));
    let trace_id = Uuid::from_u64_pair(high, low);
    if version == 0xff || !is_whole || trace_id.is_nil() {
        return None;
    }
    let span_id = SpanId(NonZeroU64::new(span_id)?);
    Some(TraceParent { trace_id: TraceId(trace_id), span_id, is_sampled: flags & 1 == 1 })
}

/// The number that so many hexadecimal digits in lower case write, and what follows them.
fn number<const LEN: usize>(text: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<LEN>()?;
    let values = digits.map(|digit| DIGITS[usize::from(digit)]);
    let number = values.iter().fold(0, |number, value| number << 4 | u64::from(value & 0xf));
    // Without an early end, many digits are looked at in one step.
    let is_sound = values.iter().fold(0, |any, value| any | value) <= 0xf;
    is_sound.then_some((number, rest))
}

/// What each byte is worth as a hexadecimal digit in lower case; more than 15 where it is none.
const DIGITS: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_sound_traceparent_is_read_and_written() {
        let plain = format!("00-{TRACE}-00ad6b7169203331-01");
        let parent: TraceParent = plain.parse().unwrap();
        assert_eq!(parent.trace_id.to_string(), TRACE);
        assert_eq!(parent.span_id.to_string(), "00ad6b7169203331");
        assert_eq!(parent.to_string(), plain);
        for (flags, is_sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let later = format!("cc-{TRACE}-b7ad6b7169203331-{flags}-what-comes");
            assert_eq!(later.parse::<TraceParent>().unwrap().is_sampled, is_sampled, "{flags}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_no_traceparent() {
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
            assert_eq!(value.parse::<TraceParent>(), Err(BadTraceParent), "{value}");
        }
    }
}
