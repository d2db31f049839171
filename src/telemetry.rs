//! What the application writes about itself: settings enter, a `tracing` subscriber is installed.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

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

/// Writes log lines to standard error, as text or as one JSON object a line.
///
/// A subscriber that the program installed before stays.
///
/// # Errors
/// When the level is not a filter directive.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|error| TelemetryError::BadLevel {
        level: settings.level.clone(),
        reason: error.to_string(),
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let installed = match settings.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    if installed.is_err() {
        tracing::debug!("the program has a tracing subscriber of its own");
    }
    Ok(())
}
