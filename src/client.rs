//! Calls to other HTTP services, from any thread: requests enter, whole answers leave.
//!
//! The client of actix, `awc`, lives on one thread and may not leave it. So an [`HttpClient`] has a
//! thread of its own, to which its clones send orders over a bounded queue. The other way would be
//! a client for each thread that calls; then pools of connections, circuits and limits would be
//! per thread as well, thread-locals would hold them beyond the life of the client, and a blocking
//! handler, whose thread may have no reactor, could not call at all. The price is waking another
//! thread once per call, which is little beside a network.
//!
//! It speaks HTTP/1.1 without compression, with the feature `tls` also over TLS 1.3 or 1.2. A body that
//! breaks off is told by its `Content-Length`; one that is sent in chunks is not, because `awc` ends
//! it quietly.

mod error;
pub use error::ClientError;
#[cfg(feature = "tls")]
mod roots;
#[cfg(feature = "tls")]
pub use roots::ExtraRoots;
mod options;
pub use options::ClientOptions;
mod response;
pub use response::ClientResponse;
mod circuits;
mod pause;
mod places;
mod redirects;
#[cfg(feature = "tls")]
mod tls;
mod worker;
mod calling;
mod request;
pub use request::ClientRequest;

use std::fmt;
use std::sync::Arc;

use awc::http::Method;

use worker::Worker;

/// A client for HTTP services. Cheap to clone and usable on any thread; all clones share
/// connections, circuits and limits. Its thread ends with the last clone.
///
/// Idempotent calls (GET, HEAD, PUT, DELETE) are tried again when the connection breaks and after
/// 429, 502, 503 and 504; the pause doubles, is drawn at random and honours `Retry-After`. After
/// some failures in a row an origin is left alone for a while, and calls to it fail at once. See
/// [`ClientOptions`] for all limits.
///
/// With the feature `tls` it calls `https://` URLs as well. The other side's certificate and its host
/// name are always checked: against the root certificates of the operating system, or of the PEM file
/// in `SSL_CERT_FILE`, read when the client starts, and those that are added by `extra_roots`.
///
/// A handler has one as a field:
///
/// ```
/// use callboard::client::HttpClient;
/// use callboard::prelude::*;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct FindPrice { sku: String }
/// impl Event for FindPrice { const NAME: &'static str = "price.find"; }
/// impl Replies for FindPrice { type Reply = PriceFound; }
///
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct PriceFound { cents: u64 }
/// impl Event for PriceFound { const NAME: &'static str = "price.found"; }
///
/// #[derive(Clone)]
/// struct Prices { client: HttpClient }
///
/// impl EventHandler for Prices {
///     type Input = FindPrice;
///     type Output = PriceFound;
///
///     async fn handle(&self, event: &FindPrice, ctx: &EventContext) -> HandlerResult<PriceFound> {
///         let call = self.client.get("http://prices.internal/find").query("sku", &event.sku);
///         Ok(call.context(ctx).send().await?.error_for_status()?.json()?)
///     }
/// }
///
/// let handler = Prices { client: HttpClient::new(Default::default())? };
/// # Ok::<(), callboard::client::ClientError>(())
/// ```
#[derive(Clone)]
pub struct HttpClient {
    worker: Arc<Worker>,
}

impl HttpClient {
    /// Starts a client with its thread.
    ///
    /// # Errors
    /// [`ClientError::Start`] when the operating system gives no thread, and
    /// [`ClientError::ExtraRoots`] when the root certificates of the options cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        Ok(Self { worker: Arc::new(Worker::start(options)?) })
    }

    /// Begins a GET.
    pub fn get(&self, url: impl Into<String>) -> ClientRequest {
        self.begin(Method::GET, url)
    }

    /// Begins a HEAD, whose answer has no body.
    pub fn head(&self, url: impl Into<String>) -> ClientRequest {
        self.begin(Method::HEAD, url)
    }

    /// Begins a POST.
    pub fn post(&self, url: impl Into<String>) -> ClientRequest {
        self.begin(Method::POST, url)
    }

    /// Begins a PUT.
    pub fn put(&self, url: impl Into<String>) -> ClientRequest {
        self.begin(Method::PUT, url)
    }

    /// Begins a PATCH.
    pub fn patch(&self, url: impl Into<String>) -> ClientRequest {
        self.begin(Method::PATCH, url)
    }

    /// Begins a DELETE.
    pub fn delete(&self, url: impl Into<String>) -> ClientRequest {
        self.begin(Method::DELETE, url)
    }

    fn begin(&self, method: Method, url: impl Into<String>) -> ClientRequest {
        ClientRequest::new(Arc::clone(&self.worker), method, url.into())
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("options", &self.worker.options).finish_non_exhaustive()
    }
}
