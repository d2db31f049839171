//! A request of a test: what it carries enters, the whole answer leaves when it is awaited.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, TryIntoHeaderPair};
use awc::ClientRequest;
use bytes::Bytes;
use serde::Serialize;

use super::exchange::{Sent, shown};
use super::response::TestResponse;

/// The largest answer that a test reads, in bytes.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// A request about to be sent: awaiting sends it, and gives the answer whatever its status.
///
/// # Panics
/// The future panics when no whole answer comes within 30 seconds; methods panic in the test's own
/// line when what they are given cannot be sent.
#[must_use = "a request is sent when it is awaited"]
pub struct TestRequest {
    request: ClientRequest,
    body: Bytes,
    sent: Sent,
}

impl TestRequest {
    pub(super) fn new(request: ClientRequest, sent: Sent) -> Self {
        Self { request, body: Bytes::new(), sent }
    }

    /// Carries an event, or whatever else, as JSON.
    ///
    /// # Panics
    /// When it cannot be JSON.
    #[track_caller]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        let json = serde_json::to_vec(body);
        let json = json.unwrap_or_else(|error| panic!("{}: no JSON: {error}", self.sent));
        self.request = self.request.insert_header((CONTENT_TYPE, "application/json"));
        self.body(json)
    }

    /// Carries bytes, of which the header `content-type` should say what they are.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Bytes::from(body.into());
        self.sent.body = Some(shown(&self.body));
        self
    }

    /// Sets the query string from the fields of a struct, a map or a list of pairs.
    ///
    /// # Panics
    /// When it cannot be a query string.
    #[track_caller]
    pub fn query(mut self, query: &impl Serialize) -> Self {
        let Self { request, sent, .. } = self;
        let request = request.query(query);
        self.request = request.unwrap_or_else(|error| panic!("{sent}: no query: {error}"));
        let query = self.request.get_uri().query().unwrap_or_default();
        self.sent = Sent { what: format!("{}?{query}", sent.what), ..sent };
        self
    }

    /// Proves who the client is by a token.
    #[track_caller]
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {}", token.as_ref()))
    }

    /// Sets a header, in place of those of its name.
    ///
    /// # Panics
    /// When it cannot be a header.
    #[track_caller]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let header = (name, value.as_ref());
        if let Err(error) = header.try_into_pair() {
            panic!("{}: `{name}` is no header: {error:?}", self.sent);
        }
        self.request = self.request.insert_header(header);
        self
    }

    async fn send(self) -> TestResponse {
        let Self { request, body, sent } = self;
        // A body of no bytes is a body, too.
        let outcome = match sent.body {
            Some(_) => request.send_body(body).await,
            None => request.send().await,
        };
        let mut answer =
            outcome.unwrap_or_else(|error| panic!("no answer: {error}\n  sent: {sent}"));
        let (status, headers) = (answer.status(), answer.headers());
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let body = answer.body().limit(BODY_MAX).await;
        let body = body.unwrap_or_else(|error| {
            panic!("half an answer: {error}\n  sent: {sent}\n  came: {status}")
        });
        TestResponse { sent, status, headers, body }
    }
}

impl IntoFuture for TestRequest {
    type Output = TestResponse;
    type IntoFuture = Pin<Box<dyn Future<Output = TestResponse>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for TestRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRequest").field("sent", &self.sent).finish_non_exhaustive()
    }
}
