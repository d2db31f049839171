//! One check of something that an application depends on: an address, a URL or a function enters,
//! success or a code for clients and a reason for the log leave.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::net::TcpStream;

/// How long a check may take, unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long what a check found is remembered, unless it says otherwise.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// A check of something that an application depends on; it makes the application ready or not.
///
/// | it ends with | status | code |
/// |---|---|---|
/// | success | `healthy` | |
/// | no connection | `unhealthy` | `unreachable` |
/// | an HTTP status other than 2xx | `unhealthy` | `bad_status` |
/// | the error of a function | `unhealthy` | `failed` |
/// | a panic | `unhealthy` | `panicked` |
/// | nothing within the timeout | `unhealthy` | `timeout` |
///
/// An [`optional`](Self::optional) check says `degraded` instead, which keeps the application
/// ready. Reasons are only logged, when a check begins to fail.
///
/// ```
/// use callboard::health::HealthCheck;
/// use callboard::{App, secs, settings::Settings};
///
/// let app = App::new(Settings::default())
///     .health_check("cache", HealthCheck::tcp("cache.internal:6379"))
///     .health_check("quota", HealthCheck::call(|| async { Err("used up") }).optional());
/// ```
#[derive(Clone)]
pub struct HealthCheck {
    probe: Arc<dyn Fn() -> Probing + Send + Sync>,
    pub(super) timeout: Duration,
    pub(super) fresh_for: Duration,
    pub(super) is_optional: bool,
    pub(super) is_liveness: bool,
    fault: Option<String>,
}

pub(super) type Probing = LocalBoxFuture<'static, Result<(), Failing>>;

/// Why a check failed.
#[derive(Debug)]
pub(super) struct Failing {
    /// For clients.
    pub(super) code: &'static str,
    /// For the log.
    pub(super) reason: String,
}

impl Failing {
    pub(super) fn new(code: &'static str, reason: impl fmt::Display) -> Self {
        Self { code, reason: reason.to_string() }
    }
}

impl HealthCheck {
    fn new(probe: impl Fn() -> Probing + Send + Sync + 'static) -> Self {
        Self {
            probe: Arc::new(probe),
            timeout: TIMEOUT,
            fresh_for: FRESH_FOR,
            is_optional: false,
            is_liveness: false,
            fault: None,
        }
    }

    /// Calls a function; what its error says is logged and not told. It runs on a thread that
    /// serves requests, so it must not block.
    pub fn call<F, R, E>(function: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + 'static,
        E: fmt::Display,
    {
        Self::new(move || {
            let result = function();
            Box::pin(async { result.await.map_err(|error| Failing::new("failed", error)) })
        })
    }

    /// Connects to `host:port`, over IPv4 or IPv6, and hangs up.
    pub fn tcp(address: impl Into<String>) -> Self {
        let address: Arc<str> = address.into().into();
        let parts = address.rsplit_once(':');
        let is_sound = parts.is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        let fault = format!("has the address {address:?}; it needs the form host:port");
        let check = Self::new(move || {
            let address = Arc::clone(&address);
            Box::pin(async move {
                let connected = TcpStream::connect(&*address).await;
                connected.map(drop).map_err(|error| Failing::new("unreachable", error))
            })
        });
        Self { fault: (!is_sound).then_some(fault), ..check }
    }

    /// Sends a GET to an `http://` URL and wants a status of 2xx; redirects are not followed.
    #[cfg(feature = "client")]
    pub fn http(url: impl Into<String>) -> Self {
        let url: Arc<str> = url.into().into();
        let is_sound = url.parse::<awc::http::Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty())
        });
        // The URL may hold a secret.
        let fault = "has a URL that is not of the form http://host/path".to_owned();
        let check = Self::new(move || {
            let url = Arc::clone(&url);
            Box::pin(async move { get(&url).await })
        });
        Self { fault: (!is_sound).then_some(fault), ..check }
    }

    /// Sets how long it may take, name resolution and connecting included. Default 2 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how long what it found is remembered. Default 1 s; 0 asks anew each time.
    pub fn fresh_for(self, time: Duration) -> Self {
        Self { fresh_for: time, ..self }
    }

    /// The application works without it: a failure makes it degraded, and it stays ready.
    pub fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    /// A failure also says that the process should be started anew. Not for what other processes
    /// could be to blame for.
    pub fn liveness(self) -> Self {
        Self { is_liveness: true, ..self }
    }

    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<&str> {
        let zero = self.timeout.is_zero().then_some("has a timeout of 0");
        self.fault.as_deref().or(zero)
    }

    pub(super) fn probe(&self) -> Probing {
        (self.probe)()
    }
}

impl fmt::Debug for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthCheck").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

#[cfg(feature = "client")]
async fn get(url: &str) -> Result<(), Failing> {
    // The client of actix stays on its thread, and one for each check of a while is cheap.
    let client = awc::Client::builder().disable_redirects().disable_timeout().finish();
    let response = client.get(url).send().await;
    let status = response.map_err(|error| Failing::new("unreachable", error))?.status();
    if status.is_success() { Ok(()) } else { Err(Failing::new("bad_status", status)) }
}
