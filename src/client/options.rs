//! What a client may do and how long it may take: one struct of limits.

use std::time::Duration;

#[cfg(feature = "tls")]
use super::roots::ExtraRoots;

/// The limits of an [`HttpClient`](super::HttpClient); each has a method of its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The time of a whole call: waiting, connecting, all attempts and the last byte of the body.
    /// Default 10 s.
    pub timeout: Duration,
    /// The time to connect, of one attempt; for `https://` the handshake has as much again. Default
    /// 3 s.
    pub connect_timeout: Duration,
    /// The largest body of an answer, in bytes. Default 2 MiB.
    pub body_max: usize,
    /// How often an idempotent call is tried in all; 1 never tries again. Default 3.
    pub attempts_max: u32,
    /// The pause before the second attempt, at most; it doubles with each. Default 100 ms.
    pub retry_delay: Duration,
    /// The longest pause before an attempt. An answer whose `Retry-After` is longer is not waited
    /// for, but returned. Default 5 s.
    pub retry_delay_max: Duration,
    /// The redirects that one attempt follows; the next one is returned as the answer. Default 5.
    ///
    /// To another origin go all headers but `Authorization`, `Proxy-Authorization` and `Cookie`:
    /// where a secret travels in a header of its own, take 0. A redirect from `https://` to
    /// `http://` is never followed: it is the answer.
    pub redirects_max: u8,
    /// The failures in a row after which calls to an origin are suspended; 0 never suspends.
    /// Default 5.
    pub breaker_failures: u32,
    /// How long they are suspended; then one call is let through, which decides. Default 10 s.
    pub breaker_open_for: Duration,
    /// The calls on their way at once; more are refused as [`Busy`](super::ClientError::Busy).
    /// Default 256.
    pub calls_max: usize,
    /// The connections in use at once to one origin; calls beyond wait for one within their timeout,
    /// in order. Where a redirect leads is not counted. Default 32.
    pub connections_max: usize,
    /// How long an idle connection is kept. Default 15 s.
    pub keep_alive: Duration,
    /// The roots that certificates may lead to, beside those of the operating system. Default none.
    #[cfg(feature = "tls")]
    pub extra_roots: Option<ExtraRoots>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            body_max: 2 * 1024 * 1024,
            attempts_max: 3,
            retry_delay: Duration::from_millis(100),
            retry_delay_max: Duration::from_secs(5),
            redirects_max: 5,
            breaker_failures: 5,
            breaker_open_for: Duration::from_secs(10),
            calls_max: 256,
            connections_max: 32,
            keep_alive: Duration::from_secs(15),
            #[cfg(feature = "tls")]
            extra_roots: None,
        }
    }
}

/// Gives each field a method that sets it.
macro_rules! setters {
    ($($field:ident: $type:ty),* $(,)?) => {
        impl ClientOptions {$(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
            pub fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            }
        )*}
    };
}

setters! {
    timeout: Duration,
    connect_timeout: Duration,
    body_max: usize,
    attempts_max: u32,
    retry_delay: Duration,
    retry_delay_max: Duration,
    redirects_max: u8,
    breaker_failures: u32,
    breaker_open_for: Duration,
    calls_max: usize,
    connections_max: usize,
    keep_alive: Duration,
}

#[cfg(feature = "tls")]
impl ClientOptions {
    /// Sets [`extra_roots`](Self::extra_roots).
    pub fn extra_roots(mut self, extra_roots: ExtraRoots) -> Self {
        self.extra_roots = Some(extra_roots);
        self
    }
}
