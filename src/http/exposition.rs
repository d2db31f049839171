//! The two text formats in which Prometheus reads metrics: families with their samples enter, one
//! text leaves.
//!
//! An own writer, because the formats name counters differently and the well-kept crates write only
//! one of them each.

use std::fmt::{Display, Write as _};
use std::time::Duration;

/// One of the text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Dialect {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number that only grows; its samples are named with `_total` at the end.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The names of labels and their values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A text that grows.
pub(super) struct Exposition {
    dialect: Dialect,
    text: String,
}

/// A family of which samples are being written. Without a sample it leaves nothing.
pub(super) struct Family<'e> {
    exposition: &'e mut Exposition,
    kind: Kind,
    name: &'static str,
    help: &'static str,
    is_begun: bool,
}

impl Exposition {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, text: String::new() }
    }

    /// Begins a family; each name once. A name that ends with `_seconds` tells the unit.
    pub(super) fn family(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
    ) -> Family<'_> {
        Family { exposition: self, kind, name, help, is_begun: false }
    }

    pub(super) fn finish(mut self) -> String {
        if self.dialect == Dialect::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Family<'_> {
    /// Writes one sample of a counter or a gauge.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        self.write(suffix, labels, None, &value);
    }

    /// Writes one histogram: how many took at most how many seconds, all of them, and how long they
    /// took together.
    pub(super) fn histogram(
        &mut self,
        labels: Labels<'_>,
        at_most: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: Duration,
    ) {
        for (limit, within) in at_most {
            self.write("_bucket", labels, Some(&format!("{limit:?}")), &within);
        }
        self.write("_bucket", labels, Some("+Inf"), &count);
        self.write("_sum", labels, None, &sum.as_secs_f64());
        self.write("_count", labels, None, &count);
    }

    fn write(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        limit: Option<&str>,
        value: &dyn Display,
    ) {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.begin();
        }
        let (name, text) = (self.name, &mut self.exposition.text);
        text.push_str(name);
        text.push_str(suffix);
        let limit = limit.map(|limit| ("le", limit));
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(limit) {
            text.push(before);
            text.push_str(name);
            text.push_str("=\"");
            escape(text, value, true);
            text.push('"');
            before = ',';
        }
        if before == ',' {
            text.push('}');
        }
        // A string takes everything.
        let _ = writeln!(text, " {value}");
    }

    fn begin(&mut self) {
        let Self { name, kind, help, .. } = *self;
        let Exposition { dialect, text } = &mut *self.exposition;
        let is_open = *dialect == Dialect::OpenMetrics;
        // The older format calls the family as it calls its samples.
        let suffix = if kind == Kind::Counter && !is_open { "_total" } else { "" };
        // A string takes everything.
        let _ = writeln!(text, "# TYPE {name}{suffix} {}", kind.word());
        if is_open && name.ends_with("_seconds") {
            let _ = writeln!(text, "# UNIT {name} seconds");
        }
        let _ = write!(text, "# HELP {name}{suffix} ");
        escape(text, help, is_open);
        text.push('\n');
    }
}

fn escape(text: &mut String, value: &str, quotes: bool) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            _ => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dialect: Dialect) -> String {
        let mut exposition = Exposition::new(dialect);
        exposition.family(Kind::Counter, "a", "A \"b\" \\ \n c.").sample(&[], 7);
        exposition.family(Kind::Gauge, "empty", "Nothing.");
        let mut gauge = exposition.family(Kind::Gauge, "b_seconds", "B.");
        gauge.sample(&[("x", "a\"b"), ("y", "\\n\n é")], 0.5);
        gauge.sample(&[("x", "")], u64::MAX);
        let mut histogram = exposition.family(Kind::Histogram, "c_seconds", "C.");
        let sum = Duration::from_nanos(1_500_000_001);
        histogram.histogram(&[("h", "i")], [(0.001, 1), (1.0, 2)], 3, sum);
        histogram.histogram(&[], [(0.000_128, 0)], 0, Duration::ZERO);
        exposition.finish()
    }

    #[test]
    fn prometheus_text_is_written_as_its_rules_say() {
        let expected = r#"# TYPE a_total counter
# HELP a_total A "b" \\ \n c.
a_total 7
# TYPE b_seconds gauge
# HELP b_seconds B.
b_seconds{x="a\"b",y="\\n\n é"} 0.5
b_seconds{x=""} 18446744073709551615
# TYPE c_seconds histogram
# HELP c_seconds C.
c_seconds_bucket{h="i",le="0.001"} 1
c_seconds_bucket{h="i",le="1.0"} 2
c_seconds_bucket{h="i",le="+Inf"} 3
c_seconds_sum{h="i"} 1.500000001
c_seconds_count{h="i"} 3
c_seconds_bucket{le="0.000128"} 0
c_seconds_bucket{le="+Inf"} 0
c_seconds_sum 0
c_seconds_count 0
"#;
        assert_eq!(written(Dialect::Prometheus), expected);
    }

    #[test]
    fn openmetrics_names_counters_without_their_suffix_and_ends() {
        let text = written(Dialect::OpenMetrics);
        let counter = "# TYPE a counter\n# HELP a A \\\"b\\\" \\\\ \\n c.\na_total 7\n";
        assert!(text.starts_with(counter), "{text}");
        assert!(text.contains("# TYPE c_seconds histogram\n# UNIT c_seconds seconds\n# HELP"));
        assert!(text.ends_with("\nc_seconds_count 0\n# EOF\n"), "{text}");
        assert!(!text.contains("empty"), "{text}");
    }
}
