//! What the application writes about itself: settings enter, a `tracing` subscriber is installed.

use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};

#[cfg(feature = "otel")]
use callboard_actors::SPAN_TARGET;
use callboard_actors::TraceId;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
#[cfg(feature = "otel")]
use tracing_subscriber::{Layer, Registry, filter::FilterExt, filter::filter_fn};

mod fields;
use fields::{JsonFields, TextFields};
#[cfg(feature = "otel")]
mod sampler;
#[cfg(feature = "otel")]
pub(crate) use sampler::Sampler;
#[cfg(feature = "otel")]
mod recorder;
#[cfg(feature = "otel")]
pub(crate) use recorder::{Recorder, pair, text};

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

/// Every request that is none would be an error of the server's in the log, and anybody could fill it.
/// A level that names this target has its way.
const CLIENTS_FAULTS: &str = "actix_http::h1::dispatcher=off";

/// Writes log lines to standard error, as text or as one JSON object a line. A panic is such a line
/// too, with its place, its thread, and the handler and the trace in whose span it happened.
///
/// A subscriber that the program installed before stays, and so does its panic hook.
///
/// # Errors
/// When the level is not a filter directive.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = filter(settings)?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr);
    let installed = match settings.format {
        LogFormat::Text => install(lines.fmt_fields(TextFields).finish(), settings, filter),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).fmt_fields(JsonFields);
            install(lines.finish(), settings, filter)
        }
    };
    conclude(&installed);
    Ok(())
}

/// The same, with a recorder of spans beside it, whatever the level of the lines. Says whether they
/// were installed.
///
/// # Errors
/// When the level is not a filter directive.
#[cfg(feature = "otel")]
pub(crate) fn init_with(
    settings: &LogSettings,
    recorder: Recorder,
) -> Result<bool, TelemetryError> {
    let filter = filter(settings)?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(is_terminal).with_writer(std::io::stderr);
    let lines = match settings.format {
        LogFormat::Text => lines.fmt_fields(TextFields).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).fmt_fields(JsonFields).boxed(),
    };
    let lines = match targets(settings) {
        Some(targets) => lines.with_filter(targets.or(filter_fn(is_handling))).boxed(),
        None => lines.with_filter(filter.or(filter_fn(is_handling))).boxed(),
    };
    let recorder = recorder.with_filter(filter_fn(Recorder::wants));
    let installed = Registry::default().with(lines).with(recorder).try_init();
    conclude(&installed);
    Ok(installed.is_ok())
}

/// Whether it is the span of a handler, which its log lines show, recorded or not.
#[cfg(feature = "otel")]
fn is_handling(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.target() == SPAN_TARGET && metadata.name() == "handle"
}

/// Whether a trace is recorded, where somebody records; `parent` is what the caller decided.
pub(crate) fn is_sampled(parent: Option<bool>, trace_id: TraceId) -> Option<bool> {
    #[cfg(feature = "otel")]
    return tracing::dispatcher::get_default(|subscriber| {
        let recorder: Option<&Recorder> = subscriber.downcast_ref();
        recorder.map(|recorder| recorder.takes(parent, trace_id))
    });
    #[cfg(not(feature = "otel"))]
    {
        let _ = (parent, trace_id);
        None
    }
}

fn filter(settings: &LogSettings) -> Result<EnvFilter, TelemetryError> {
    let filter = EnvFilter::try_new(&settings.level);
    let filter = filter.and_then(|_| EnvFilter::try_new(level(settings)));
    filter.map_err(|error| TelemetryError::BadLevel {
        level: settings.level.clone(),
        reason: error.to_string(),
    })
}

/// The level, behind what is left out where it does not say otherwise.
fn level(settings: &LogSettings) -> String {
    format!("{CLIENTS_FAULTS},{}", settings.level)
}

/// The filter of a level that names no span, which needs no look at each span, of which every
/// delivery has one.
fn targets(settings: &LogSettings) -> Option<Targets> {
    level(settings).parse().ok().filter(|_| !settings.level.contains('['))
}

/// Installs the lines that the level lets through.
fn install<S>(lines: S, settings: &LogSettings, filter: EnvFilter) -> Result<(), TryInitError>
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    match targets(settings) {
        Some(targets) => lines.with(targets).try_init(),
        None => lines.with(filter).try_init(),
    }
}

fn conclude(installed: &Result<(), TryInitError>) {
    if installed.is_ok() {
        panic::set_hook(Box::new(log_panic));
    } else {
        tracing::debug!("the program has a tracing subscriber of its own");
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("a panic without a text");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(panic = text, location, thread = thread.name(), "panicked");
}
