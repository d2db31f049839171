//! A call that is not made yet: a URL and what goes with it enter, the answer leaves.

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;
use std::time::Duration;

use awc::http::header::{HeaderName, HeaderValue};
use awc::http::{Method, Uri};
use bytes::Bytes;
use callboard_actors::EventContext;
use serde::Serialize;

use super::calling::{Place, port};
use super::error::ClientError;
use super::response::ClientResponse;
use super::worker::{Order, Worker};

/// The longest timeout: adding a longer time to an instant can overflow on some platforms.
const TIMEOUT_MAX: Duration = Duration::from_hours(365 * 24);

/// The header with what the systems that a trace has passed say about it.
const TRACE_STATE: &str = "tracestate";

/// The header with the id by which the sender of a chain knows it.
const CORRELATION_ID: &str = "x-correlation-id";

/// A call that is not made yet. A mistake in it is told by [`send`](Self::send).
#[must_use = "a call is made by `send`"]
pub struct ClientRequest {
    worker: Arc<Worker>,
    method: Method,
    url: String,
    query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    timeout: Duration,
    body_max: usize,
    fault: Option<&'static str>,
    /// Where in a trace it belongs.
    place: Option<Place>,
}

impl ClientRequest {
    pub(super) fn new(worker: Arc<Worker>, method: Method, url: String) -> Self {
        let (timeout, body_max) = (worker.options.timeout, worker.options.body_max);
        let (headers, query) = (Vec::new(), String::new());
        let (body, fault) = (Bytes::new(), None);
        let place = None;
        Self { worker, method, url, query, headers, body, timeout, body_max, fault, place }
    }

    /// Adds a parameter to the query, with what the URL cannot hold escaped.
    pub fn query(mut self, name: impl AsRef<str>, value: impl Display) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        escape(&mut self.query, name.as_ref());
        self.query.push('=');
        escape(&mut self.query, &value.to_string());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        match (name.as_ref().parse(), HeaderValue::from_str(value.as_ref())) {
            (Ok(name), Ok(value)) => self.headers.push((name, value)),
            (Err(_), _) => self.fault = Some("the name of a header is not one"),
            (_, Err(_)) => self.fault = Some("the value of a header is not plain text"),
        }
        self
    }

    /// Adds a bearer token, the header `Authorization`.
    pub fn bearer(self, token: impl Display) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body to a value as JSON, with its content type.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        let Ok(json) = serde_json::to_vec(value) else {
            self.fault = Some("the body cannot be written as JSON");
            return self;
        };
        self.body = json.into();
        self.header("content-type", "application/json")
    }

    /// Sets the body, whose content type goes into a header.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Bytes::from(body.into());
        self
    }

    /// Makes the call a part of what a handler does: it carries the trace as `traceparent` and
    /// `tracestate` (W3C Trace Context, with the handling of the event as the parent, or where spans
    /// are recorded the call itself) and the `x-correlation-id` of the chain, if it has one, and takes
    /// no longer than whoever requested the event still waits.
    pub fn context(mut self, ctx: &EventContext) -> Self {
        if let Some(remaining) = ctx.remaining() {
            self.timeout = self.timeout.min(remaining);
        }
        self.place = Some(Place::of(ctx));
        let state = ctx.header(TRACE_STATE).filter(|state| HeaderValue::from_str(state).is_ok());
        let call = match state {
            Some(state) => self.header(TRACE_STATE, state),
            None => self,
        };
        match ctx.header(CORRELATION_ID) {
            Some(id) => call.header(CORRELATION_ID, id),
            None => call,
        }
    }

    /// Sets the time of the whole call, up to the last byte of the answer and with all attempts, at
    /// most a year. After [`context`](Self::context) it replaces what is left of that.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the largest body of the answer, in bytes.
    pub fn body_max(mut self, bytes: usize) -> Self {
        self.body_max = bytes;
        self
    }

    /// Makes the call and reads the answer to its end. An answer of any status is an answer; see
    /// [`error_for_status`](ClientResponse::error_for_status).
    ///
    /// # Errors
    /// [`ClientError`], after the last attempt. Of a call that is not idempotent there is only one
    /// attempt.
    ///
    /// # Cancel safety
    /// Dropped, the call is broken off and its connection closed, at once and not after the
    /// timeout; the other side may have acted on it all the same.
    pub async fn send(self) -> Result<ClientResponse, ClientError> {
        let bad = |reason| ClientError::BadRequest { reason };
        if let Some(reason) = self.fault {
            return Err(bad(reason));
        }
        let uri = uri(&self.url, &self.query).map_err(bad)?;
        let (mut headers, mut calling) = (self.headers, None);
        if let Some(place) = self.place {
            let (traceparent, span) = place.call(&self.method, &uri);
            if let Ok(traceparent) = HeaderValue::from_str(&traceparent.to_string()) {
                headers.push((HeaderName::from_static("traceparent"), traceparent));
            }
            calling = span;
        }
        let order = Order {
            method: self.method,
            origin: origin(&uri),
            uri,
            headers,
            body: self.body,
            timeout: self.timeout.min(TIMEOUT_MAX),
            body_max: self.body_max,
        };
        let outcome = self.worker.call(order).await;
        if let Some(calling) = calling {
            calling.end(&outcome);
        }
        outcome
    }
}

impl fmt::Debug for ClientRequest {
    /// Shows neither path nor query nor headers, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = uri(&self.url, "").map(|uri| origin(&uri));
        f.debug_struct("ClientRequest")
            .field("method", &self.method)
            .field("origin", &origin)
            .finish_non_exhaustive()
    }
}

fn uri(url: &str, query: &str) -> Result<Uri, &'static str> {
    // A fragment is for the caller, not for the server.
    let url = url.split('#').next().unwrap_or(url);
    let joint = match (query.is_empty(), url.contains('?')) {
        (true, _) => "",
        (false, false) => "?",
        (false, true) => "&",
    };
    let uri: Uri =
        format!("{url}{joint}{query}").parse().map_err(|_| "expected a URL such as http://a/b")?;
    let authority = uri.authority().ok_or("the URL has no host")?;
    if authority.as_str().contains('@') {
        return Err("the URL holds a user name: put credentials into a header");
    }
    match uri.scheme_str() {
        Some("https") if !cfg!(feature = "tls") => {
            Err("callboard was built without its feature `tls`: switch it on to call https://")
        }
        // The library below would look for the address, brackets and all, in the certificate.
        Some("https") if authority.host().starts_with('[') => {
            Err("an https:// URL cannot hold an IPv6 address here: use a host name")
        }
        Some("http" | "https") => Ok(uri),
        _ => Err("the URL does not begin with http:// or https://"),
    }
}

fn origin(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    format!("{}://{host}:{}", uri.scheme_str().unwrap_or("http"), port(uri))
}

/// Escapes all but the unreserved characters of RFC 3986.
fn escape(target: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            target.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
}
