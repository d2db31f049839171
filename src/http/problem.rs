//! The one shape of every error response, and the one table from errors to statuses: an error of
//! the bus or of the edge enters, an `application/problem+json` response leaves.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use callboard_actors::{ErrorKind, PublishError, Rejection, RequestError, TraceId};
use serde::Serialize;
use serde_json::Value;

use crate::auth::{AuthError, Forbidden, Refused};

/// The response header that carries the trace id.
pub(super) const TRACE_ID: header::HeaderName = header::HeaderName::from_static("x-trace-id");

/// What the URN of each kind of problem begins with; its code follows.
pub(super) const PROBLEM_URN: &str = "urn:callboard:problem:";

/// When a client may try again, at the earliest.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a client is told when something went wrong: a problem document as in RFC 9457.
///
/// | error | status |
/// |---|---|
/// | a handler rejects: invalid, not found, conflict, forbidden, unauthorized | 422, 404, 409, 403, 401 |
/// | a handler's attempts are used up, it panicked or snoozes | 500 |
/// | a handler or the whole request took too long | 504 |
/// | nobody handles the event | 501 |
/// | a handler's rate limit refuses the event | 429 |
/// | a queue or a bulkhead is full, a breaker is open, a handler is down, the runtime stops | 503 |
/// | the event, or one of its key, was handled before | 409 |
/// | any other error of the bus, which is a mistake in the program | 500 |
/// | the client's credentials are missing or not valid, see [`AuthError`] | 401 |
/// | the client lacks a permission | 403 |
/// | the client has used up its [`Quota`](super::Quota) | 429 |
/// | the provider of identities cannot tell | 503 |
///
/// Only the text of a rejection, and of what the edge itself finds wrong, is told; of every other
/// error the code and the trace id. 401 comes with `WWW-Authenticate`, 429 and 503 with
/// `Retry-After`, in seconds: what the policy knows, else 1.
///
/// An actix-web handler of the application's own gives errors the same shape by returning one:
///
/// ```
/// # use callboard::{Bus, Event, Replies, http::Problem};
/// use actix_web::HttpResponse;
///
/// async fn find<E: Replies>(bus: Bus, event: E) -> Result<HttpResponse, Problem> {
///     Ok(HttpResponse::Ok().json(bus.request(event).await?))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: Option<String>,
    /// For the log, and for developers where the settings say so.
    internal: Option<String>,
    errors: Vec<FieldError>,
    details: Option<Value>,
    trace_id: Option<TraceId>,
    retry_after: Option<Duration>,
    /// Whether a handler has said so, and will say so again.
    is_verdict: bool,
    /// The `WWW-Authenticate` of a refusal, where it is not the plain one.
    challenge: Option<String>,
}

/// What is wrong with one field of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FieldError {
    /// The path to the field, such as `items[0].quantity`; empty for the event as a whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl FieldError {
    /// Names a field and what is wrong with it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The problem as it is written.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    uri: String,
    title: &'static str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

impl Problem {
    /// A problem with a status for HTTP and a code for programs.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            status,
            code: code.into(),
            detail: None,
            internal: None,
            errors: Vec::new(),
            details: None,
            trace_id: None,
            retry_after: None,
            is_verdict: false,
            challenge: None,
        }))
    }

    /// Adds a text for people; the client reads it.
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.0.detail = Some(text.into());
        self
    }

    /// Says which fields are wrong.
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Says in which chain it happened.
    pub fn trace_id(mut self, trace_id: TraceId) -> Self {
        self.0.trace_id = Some(trace_id);
        self
    }

    /// The code for programs.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What is wrong with an event that the client sent.
    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid")
            .detail("the event's content is wrong")
            .errors(errors)
    }

    /// A part of the URI that is no text.
    pub(super) fn bad_encoding() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_encoding")
            .detail("the path or the query is not percent-encoded UTF-8")
    }

    /// Says when another attempt makes sense.
    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Whether it is what came of the request for good: a handler rejected it.
    pub(super) fn is_verdict(&self) -> bool {
        let may_come_right =
            self.0.status.is_server_error() || self.0.status == StatusCode::TOO_MANY_REQUESTS;
        self.0.is_verdict && !may_come_right
    }

    /// Adds a text that no client reads.
    pub(super) fn internal(mut self, text: impl Into<String>) -> Self {
        self.0.internal = Some(text.into());
        self
    }

    pub(super) fn internal_text(&self) -> Option<&str> {
        self.0.internal.as_deref()
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Shows the internal text, for developers.
    pub(super) fn exposed(mut self) -> Self {
        let parts = &mut *self.0;
        parts.detail = parts.detail.take().or(parts.internal.take());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.code)?;
        if let Some(detail) = &self.0.detail {
            write!(f, ": {detail}")?;
        }
        match self.0.trace_id {
            Some(trace_id) => write!(f, " (trace id {trace_id})"),
            None => Ok(()),
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.0.status);
        response.content_type("application/problem+json");
        let is_unauthorized = self.0.status == StatusCode::UNAUTHORIZED;
        if let Some(challenge) = self.0.challenge.as_deref().or(is_unauthorized.then_some("Bearer"))
        {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        let is_busy = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
        let is_early = self.0.status == StatusCode::CONFLICT && self.0.retry_after.is_some();
        if is_busy.contains(&self.0.status) || is_early {
            let after = self.0.retry_after.unwrap_or_default().max(RETRY_AFTER);
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(trace_id) = self.0.trace_id {
            response.insert_header((TRACE_ID, trace_id.to_string()));
        }
        let document = Document {
            uri: format!("{PROBLEM_URN}{}", self.0.code),
            title: self.0.status.canonical_reason().unwrap_or("Error"),
            status: self.0.status.as_u16(),
            code: &self.0.code,
            detail: self.0.detail.as_deref(),
            trace_id: self.0.trace_id,
            errors: &self.0.errors,
            details: self.0.details.as_ref(),
        };
        // Serializing texts, numbers and JSON values does not fail.
        response.body(serde_json::to_vec(&document).unwrap_or_default())
    }
}

impl From<&RequestError> for Problem {
    fn from(error: &RequestError) -> Self {
        let status = match error {
            RequestError::Handler { error, .. } => status_of_handler(error.kind()),
            RequestError::NoHandler { .. } => StatusCode::NOT_IMPLEMENTED,
            RequestError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            RequestError::Unavailable { .. }
            | RequestError::Full { .. }
            | RequestError::Shutdown { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(status, error.code().to_owned())
            .internal(error.to_string())
            .trace_id(error.trace_id());
        let RequestError::Handler { error, .. } = error else { return problem };
        problem.0.retry_after = error.retry_after();
        problem.0.is_verdict = matches!(error.kind(), ErrorKind::Reject(_) | ErrorKind::Duplicate);
        if error.is_public() {
            problem.0.detail = Some(error.message().to_owned());
            problem.0.details = error.error_details().cloned();
        }
        problem
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        Self::from(&error)
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let challenge = error.www_authenticate();
        let status = match challenge {
            Some(_) => StatusCode::UNAUTHORIZED,
            None => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut problem = Self::new(status, error.code()).detail(error.to_string());
        problem.0.challenge = challenge;
        match error {
            AuthError::Unavailable { internal } => problem.internal(internal),
            _ => problem,
        }
    }
}

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        let mut problem =
            Self::new(StatusCode::FORBIDDEN, forbidden.code()).detail(forbidden.to_string());
        problem.0.challenge = Some(forbidden.www_authenticate());
        problem
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown(error) => error.into(),
            Refused::Forbidden(forbidden) => forbidden.into(),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let (status, code) = match error {
            PublishError::Full { .. } => (StatusCode::SERVICE_UNAVAILABLE, "full"),
            PublishError::Shutdown { .. } => (StatusCode::SERVICE_UNAVAILABLE, "shutdown"),
            PublishError::TypeClash { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "type_clash"),
            PublishError::TooManyHops { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "too_many_hops")
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "refused"),
        };
        Self::new(status, code).internal(error.to_string())
    }
}

fn status_of_handler(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Reject(Rejection::Invalid) => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Reject(Rejection::NotFound) => StatusCode::NOT_FOUND,
        ErrorKind::Reject(Rejection::Conflict) | ErrorKind::Duplicate => StatusCode::CONFLICT,
        ErrorKind::Reject(Rejection::Forbidden) => StatusCode::FORBIDDEN,
        ErrorKind::Reject(Rejection::Unauthorized) => StatusCode::UNAUTHORIZED,
        ErrorKind::Timeout | ErrorKind::Deadline => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::BreakerOpen(_)
        | ErrorKind::BulkheadFull
        | ErrorKind::Expired
        | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
