//! Why an application did not start, or did not stop cleanly.

use std::fmt;
use std::io;
use std::path::PathBuf;

use callboard_actors::{ScheduleError, StartError};

#[cfg(feature = "auth")]
use crate::auth::JwtError;
use crate::db::DbError;
use crate::health::HealthError;
use crate::http::RoutesError;
use crate::settings::SettingsError;
use crate::sse::SseError;
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
    /// The events of the streams.
    #[error(transparent)]
    Sse(#[from] SseError),
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
    /// A file of the certificate.
    #[error("{variable} {}: {reason}", path.display())]
    Tls {
        /// The setting that names the file.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it; nothing of what it holds.
        reason: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("TLS needs both SERVER_TLS_CERT_FILE and SERVER_TLS_KEY_FILE: set both or none")]
    HalfTls,
    /// A certificate in an application without TLS.
    #[error(
        "a certificate is set (SERVER_TLS_CERT_FILE), which needs the feature `tls` of callboard: \
         build with it, or unset the certificate and its key"
    )]
    NoTls,
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
    /// The Unix socket to listen on.
    #[error("cannot listen on SERVER_UNIX_SOCKET {}: {reason}", path.display())]
    UnixSocket {
        /// What was to be listened on.
        path: PathBuf,
        /// What is in the way, and what to do about it.
        reason: String,
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
