//! What the application writes about itself: settings enter, a `tracing` subscriber is installed.

use std::fmt;
use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::settings::{LogFormat, LogSettings};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The level is not a filter directive.
    #[error(
        "LOG_LEVEL is \"{level}\": {reason}; write a level like `info`, or `info,my_app=debug`"
    )]
    BadLevel {
        /// What was given.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Writes log lines to standard error, as text or as one JSON object a line. A panic is such a line
/// too, with its place, its thread, and the handler and the trace in whose span it happened.
///
/// A subscriber that the program installed before stays, and so does its panic hook.
///
/// # Errors
/// When the level is not a filter directive.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|error| TelemetryError::BadLevel {
        level: settings.level.clone(),
        reason: error.to_string(),
    })?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr);
    let installed = match settings.format {
        LogFormat::Text if is_terminal => install(lines.finish(), &settings.level, filter),
        LogFormat::Text => {
            let lines = lines.fmt_fields(AtOnce(DefaultFields::new()));
            install(lines.finish(), &settings.level, filter)
        }
        LogFormat::Json => {
            install(lines.json().flatten_event(true).finish(), &settings.level, filter)
        }
    };
    if installed.is_ok() {
        panic::set_hook(Box::new(log_panic));
    } else {
        tracing::debug!("the program has a tracing subscriber of its own");
    }
    Ok(())
}

/// Installs the lines that the level lets through. A level that names no span needs no look at each
/// span, of which every delivery has one.
fn install<S>(lines: S, level: &str, filter: EnvFilter) -> Result<(), TryInitError>
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    match level.parse::<Targets>() {
        Ok(targets) if !level.contains('[') => lines.with(targets).try_init(),
        _ => lines.with(filter).try_init(),
    }
}

/// Writes the fields of a span or of an event as the other one does, without colours, but in one
/// piece: the text of a span, of which each delivery has one, would otherwise grow five times.
struct AtOnce(DefaultFields);

/// What the fields of most spans need, in bytes.
const FIELDS_USUAL: usize = 160;

impl<'w> FormatFields<'w> for AtOnce {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::with_capacity(FIELDS_USUAL);
        self.0.format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&text)
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("a panic without a text");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(panic = text, location, thread = thread.name(), "panicked");
}
