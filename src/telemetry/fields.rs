//! The fields of spans as log lines show them: what a span is made with enters, its text leaves.
//! Each delivery has a span, whether or not anything is logged within it, so this has to cost little.

use std::cell::Cell;
use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::{RecordFields, VisitOutput};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};

/// What the names of fields begin with that are for a recorder of spans alone.
const HIDDEN: &str = "otel.";

thread_local! {
    /// Where texts grow, so that each leaves in one piece, of its own size.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// The longest text whose room is kept, in bytes.
const TEXT_KEPT_MAX: usize = 4096;

/// Writes `name=value` with spaces between, as the subscriber's own format does.
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        if writer.has_ansi_escapes() {
            let mut visitor = Colours(DefaultVisitor::new(writer, true));
            fields.record(&mut visitor);
            return visitor.0.finish();
        }
        in_one_piece(&mut writer, |text| {
            let mut visitor = Plain { text, is_empty: true, result: Ok(()) };
            fields.record(&mut visitor);
            visitor.result
        })
    }
}

/// Writes one JSON object, which the subscriber's own format for events reads.
pub(super) struct JsonFields;

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        in_one_piece(&mut writer, |text| {
            text.push('{');
            let mut visitor = Json { text, result: Ok(()) };
            fields.record(&mut visitor);
            visitor.result?;
            text.push('}');
            Ok(())
        })
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let mut added = FormattedFields::<Self>::new(String::new());
        self.format_fields(added.as_writer(), fields)?;
        let members = |text: &str| match text {
            "" => Ok(Map::new()),
            text => serde_json::from_str::<Map<String, Value>>(text).map_err(|_| fmt::Error),
        };
        let mut all = members(&current.fields)?;
        all.extend(members(&added.fields)?);
        current.fields = Value::Object(all).to_string();
        Ok(())
    }
}

fn in_one_piece(
    writer: &mut Writer<'_>,
    fill: impl FnOnce(&mut String) -> fmt::Result,
) -> fmt::Result {
    let mut text = TEXT.take();
    text.clear();
    let result = fill(&mut text).and_then(|()| writer.write_str(&text));
    if text.capacity() <= TEXT_KEPT_MAX {
        TEXT.set(text);
    }
    result
}

/// Whether a text is written in quotes as it is.
fn is_plain(value: &str) -> bool {
    // Without an early end, many bytes are looked at in one step.
    let odd = |byte: u8| u8::from(!matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~'));
    value.bytes().fold(0, |any, byte| any | odd(byte)) == 0
}

/// Forwards what is not hidden.
macro_rules! forward {
    ($($name:ident: $type:ty),*) => {$(
        fn $name(&mut self, field: &Field, value: $type) {
            self.show(field, |visitor| visitor.$name(field, value));
        }
    )*};
}

/// The subscriber's own format.
struct Colours<'w>(DefaultVisitor<'w>);

impl<'w> Colours<'w> {
    fn show(&mut self, field: &Field, show: impl FnOnce(&mut DefaultVisitor<'w>)) {
        if !field.name().starts_with(HIDDEN) {
            show(&mut self.0);
        }
    }
}

impl Visit for Colours<'_> {
    forward!(record_str: &str, record_debug: &dyn fmt::Debug, record_error: &(dyn std::error::Error + 'static));
}

/// The same without colours, and faster where a text is plain.
struct Plain<'t> {
    text: &'t mut String,
    is_empty: bool,
    result: fmt::Result,
}

impl Plain<'_> {
    fn show(&mut self, field: &Field, show: impl FnOnce(&mut DefaultVisitor<'_>)) {
        if self.result.is_err() || field.name().starts_with(HIDDEN) {
            return;
        }
        let before = self.text.len();
        let mut visitor = DefaultVisitor::new(Writer::new(self.text), self.is_empty);
        show(&mut visitor);
        self.result = visitor.finish();
        self.is_empty &= self.text.len() == before;
    }
}

impl Visit for Plain<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let name = field.name();
        if name == "message" || name.starts_with("r#") || !is_plain(value) {
            self.show(field, |visitor| visitor.record_str(field, value));
        } else if !name.starts_with(HIDDEN) {
            if !std::mem::take(&mut self.is_empty) {
                self.text.push(' ');
            }
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.text.push_str(value);
            self.text.push('"');
        }
    }

    forward!(record_debug: &dyn fmt::Debug, record_error: &(dyn std::error::Error + 'static));
}

struct Json<'t> {
    text: &'t mut String,
    result: fmt::Result,
}

impl Json<'_> {
    /// Begins a member; false for what is hidden.
    fn begin(&mut self, field: &Field) -> bool {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        if name.starts_with(HIDDEN) {
            return false;
        }
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.string(name);
        self.text.push(':');
        true
    }

    fn string(&mut self, value: &str) {
        if is_plain(value) {
            self.text.push('"');
            self.text.push_str(value);
            self.text.push('"');
        } else {
            self.result = self.result.and(write!(self.text, "{}", Value::from(value)));
        }
    }

    fn value(&mut self, field: &Field, value: impl Into<Value>) {
        if self.begin(field) {
            self.result = self.result.and(write!(self.text, "{}", value.into()));
        }
    }
}

impl Visit for Json<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.begin(field) {
            self.string(value);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.begin(field) {
            self.string(&format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::field::Empty;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        /// What is logged within a span, by a subscriber that is made for these lines.
        fn of<S>(subscriber: impl FnOnce(Self) -> S) -> String
        where
            S: tracing::Subscriber + Send + Sync + 'static,
        {
            let lines = Self::default();
            tracing::subscriber::with_default(subscriber(lines.clone()), || {
                let span = tracing::info_span!(
                    "handle", handler = "a.B", text = "two \"quotes\"", number = 7, odd = ?Some(1),
                    otel.span_id = 5, later = Empty, more = Empty,
                );
                span.record("later", "on");
                let _entered = span.enter();
                tracing::info!(key = "value", "said");
                span.record("more", true);
                tracing::info!("said again");
            });
            String::from_utf8(lines.0.lock().clone()).unwrap()
        }
    }

    fn subscriber(
        lines: Lines,
    ) -> tracing_subscriber::fmt::SubscriberBuilder<
        tracing_subscriber::fmt::format::DefaultFields,
        tracing_subscriber::fmt::format::Format,
        tracing_subscriber::filter::LevelFilter,
        impl Fn() -> Lines,
    > {
        tracing_subscriber::fmt().with_writer(move || lines.clone())
    }

    #[test]
    fn a_line_shows_the_fields_of_its_span_but_those_of_recorders() {
        let text =
            Lines::of(|lines| subscriber(lines).with_ansi(false).fmt_fields(TextFields).finish());
        let span = r#"handle{handler="a.B" text="two \"quotes\"" number=7 odd=Some(1) later="on"}"#;
        let first = text.lines().next().unwrap();
        assert!(first.contains(span) && first.ends_with(r#"said key="value""#), "{first}");
        assert!(text.contains(r#"later="on" more=true}"#) && !text.contains("otel"), "{text}");
        let colours =
            Lines::of(|lines| subscriber(lines).with_ansi(true).fmt_fields(TextFields).finish());
        assert!(colours.contains("\u{1b}[3mhandler\u{1b}[0m") && !colours.contains("otel"));
    }

    #[test]
    fn a_json_line_has_them_as_members() {
        let text = Lines::of(|lines| {
            subscriber(lines).json().flatten_event(true).fmt_fields(JsonFields).finish()
        });
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let span = &lines[0]["span"];
        assert_eq!(span["handler"], "a.B", "{text}");
        assert_eq!(span["text"], "two \"quotes\"");
        assert_eq!((&span["number"], &span["odd"]), (&Value::from(7), &Value::from("Some(1)")));
        assert_eq!((&span["later"], &span["name"]), (&Value::from("on"), &Value::from("handle")));
        assert_eq!(lines[1]["span"]["more"], true);
        assert!(!text.contains("otel"), "{text}");
    }
}
