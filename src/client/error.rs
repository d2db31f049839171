//! What can go wrong with a call to another service: causes enter, one closed list leaves.

use std::io;
use std::time::Duration;

/// Says why a call has no answer.
///
/// No text holds more of a URL than its origin, such as `http://stock:8080`; paths, queries and
/// headers may hold secrets. In a handler `?` makes it a [`HandlerError`](crate::HandlerError) that
/// is tried again by policy, and whose text no client sees.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The client's thread could not start.
    #[error("the HTTP client cannot start: {reason}")]
    Start {
        /// Why, in the words of the operating system.
        reason: io::Error,
    },
    /// The root certificates that the options add cannot be used, so the client does not start.
    #[error("the extra root certificates cannot be used: {reason}")]
    ExtraRoots {
        /// What is wrong with them, and the file, if it is one.
        reason: String,
    },
    /// The request cannot be sent as it is; nothing was sent.
    #[error("the request cannot be sent: {reason}")]
    BadRequest {
        /// What is wrong with it, and what is expected.
        reason: &'static str,
    },
    /// Too many calls are on their way; nothing was sent.
    #[error("{calls_max} calls are on their way already: call less at once, or raise `calls_max`")]
    Busy {
        /// The limit.
        calls_max: usize,
    },
    /// Calls to this origin failed again and again; nothing was sent.
    #[error("calls to {origin} are suspended, because the last ones failed")]
    CircuitOpen {
        /// The origin.
        origin: String,
        /// When the next call is let through; unknown while one is on its way.
        retry_after: Option<Duration>,
    },
    /// There is no connection, or none that is safe, so nothing was sent.
    #[error("cannot connect to {origin}: {reason}")]
    Connect {
        /// The origin.
        origin: String,
        /// Why.
        reason: String,
        /// Whether another attempt would fail as well, as with a certificate that is not valid.
        is_lasting: bool,
    },
    /// The call took too long, from its beginning to the last byte of the answer. It may have had
    /// its effect.
    #[error("{origin} did not answer in full within {} s", timeout.as_secs_f64())]
    Timeout {
        /// The origin.
        origin: String,
        /// How long the call was allowed to take.
        timeout: Duration,
    },
    /// The connection broke, or what came is no HTTP. The call may have had its effect.
    #[error("the exchange with {origin} broke: {reason}")]
    Broken {
        /// The origin.
        origin: String,
        /// Why.
        reason: String,
    },
    /// The body of the answer is too large; it was not read to its end.
    #[error("the answer of {origin} has more than {body_max} bytes: raise `body_max`")]
    BodyTooLarge {
        /// The origin.
        origin: String,
        /// The limit, in bytes.
        body_max: usize,
    },
    /// The body of the answer is not the JSON that was expected.
    #[error("the answer of {origin} is not the expected JSON: {reason}")]
    BadJson {
        /// The origin.
        origin: String,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The answer is not a success, and [`error_for_status`] was asked.
    ///
    /// [`error_for_status`]: super::ClientResponse::error_for_status
    #[error("{origin} answered with the status {status}")]
    Status {
        /// The origin.
        origin: String,
        /// The status.
        status: u16,
    },
    /// The client's thread has ended: a mistake in this crate.
    #[error("the HTTP client has stopped")]
    Stopped,
}
