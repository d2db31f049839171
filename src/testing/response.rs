//! The answer to a test's request, read to its end; what it is expected to be is checked here.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::exchange::{Sent, shown};

/// An answer that has come whole.
///
/// What is not as expected panics in the test's own line, with what was sent, the status, the code
/// and the trace id of a problem, and the body.
pub struct TestResponse {
    pub(super) sent: Sent,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl TestResponse {
    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first header of a name, if its value is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The trace of the request, by which the log and `/events` find it.
    pub fn trace_id(&self) -> Option<&str> {
        self.header("x-trace-id")
    }

    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => self.fail(&format!("the body is no UTF-8: {error}")),
        }
    }

    /// The event, or whatever else, that the body of a success is.
    ///
    /// # Panics
    /// When the status is not between 200 and 299, or the body is not the JSON of a `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        if !self.status.is_success() {
            self.fail("expected a success");
        }
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => {
                self.fail(&format!("the body is no {}: {error}", std::any::type_name::<T>()))
            }
        }
    }

    /// The problem document of a failure.
    ///
    /// # Panics
    /// When the answer is none.
    #[track_caller]
    pub fn problem(&self) -> Value {
        self.try_problem().unwrap_or_else(|| self.fail("expected a problem"))
    }

    /// Demands a status.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        if self.status() != status {
            self.fail(&format!("expected status {status}"));
        }
        self
    }

    /// Demands a problem with a status and a code, such as `not_found`.
    ///
    /// # Panics
    /// When the answer is no problem, or another one.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        if self.status() != status || self.code().as_deref() != Some(code) {
            self.fail(&format!("expected status {status} and the problem `{code}`"));
        }
        self
    }

    fn try_problem(&self) -> Option<Value> {
        let is_problem = self.header("content-type") == Some("application/problem+json");
        is_problem.then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }

    fn code(&self) -> Option<String> {
        Some(self.try_problem()?["code"].as_str()?.to_owned())
    }

    #[track_caller]
    fn fail(&self, expected: &str) -> ! {
        panic!("{expected}\n{self:?}");
    }
}

impl fmt::Debug for TestResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  sent: {}\n  came: {}", self.sent, self.status)?;
        if let Some(code) = self.code() {
            write!(f, ", problem `{code}`")?;
        }
        if let Some(trace_id) = self.trace_id() {
            write!(f, ", trace {trace_id}")?;
        }
        if self.body.is_empty() {
            return f.write_str(", no body");
        }
        write!(f, "\n  body: {}", shown(&self.body))
    }
}
