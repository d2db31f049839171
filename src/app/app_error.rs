//! Why an application did not start, or did not stop cleanly.

use std::fmt;
use std::io;

use callboard_actors::{ScheduleError, StartError};

#[cfg(feature = "auth")]
use crate::auth::JwtError;
use crate::db::DbError;
use crate::health::HealthError;
use crate::http::RoutesError;
use crate::settings::SettingsError;
use crate::telemetry::TelemetryError;
use crate::ws::WsError;

/// What an application's `main` returns.
///
/// Its `Debug` is its `Display`, because that is what Rust prints when `main` returns an error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The log.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The domains.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The routes.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// The permits of the WebSocket sessions.
    #[error(transparent)]
    Ws(#[from] WsError),
    /// The key that verifies the tokens of clients.
    #[cfg(feature = "auth")]
    #[error(transparent)]
    Auth(#[from] JwtError),
    /// Keys for tokens in an application that cannot verify any.
    #[error(
        "a key for tokens is set (AUTH_SECRET or AUTH_PUBLIC_KEY_FILE), which needs the feature \
         `auth` of callboard: build with it, give a provider to `App::auth`, or unset the key"
    )]
    NoTokens,
    /// The permissions of those who watch the application.
    #[error("the operations: {reason}")]
    Operations {
        /// What is wrong, and what to do about it.
        reason: &'static str,
    },
    /// The health checks.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// A schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The address to listen on.
    #[error(
        "cannot listen on {address}: {source}; set SERVER_HOST and SERVER_PORT to a free address"
    )]
    Listen {
        /// What was to be listened on.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// The drain timeout was too short.
    #[error("stopped with unfinished work: {left}")]
    Unfinished {
        /// By handler: what waited and what was in work.
        left: String,
    },
}

impl fmt::Debug for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
