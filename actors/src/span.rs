//! Spans: the steps of a trace. Their identifiers, the W3C `traceparent`, and what those who record
//! spans have to know about them.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

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
        let mut parts = text.split('-');
        let [version, trace_id, span_id, flags] = std::array::from_fn(|_| parts.next());
        let version = digits(version, 2)?;
        // Later versions may append something.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(BadTraceParent);
        }
        let (trace_id, span_id) = (digits(trace_id, 32)?, digits(span_id, 16)?);
        let flags = u8::from_str_radix(digits(flags, 2)?, 16).map_err(|_| BadTraceParent)?;
        let span_id = u64::from_str_radix(span_id, 16).ok().and_then(NonZeroU64::new);
        Ok(Self {
            trace_id: trace_id.parse().map_err(|_| BadTraceParent)?,
            span_id: SpanId(span_id.ok_or(BadTraceParent)?),
            is_sampled: flags & 1 == 1,
        })
    }
}

/// The part, if it is so many hexadecimal digits in lower case.
fn digits(part: Option<&str>, len: usize) -> Result<&str, BadTraceParent> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let sound = |part: &&str| part.len() == len && part.bytes().all(digit);
    part.filter(sound).ok_or(BadTraceParent)
}

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
