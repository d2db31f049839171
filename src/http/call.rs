//! One HTTP call on its way to an endpoint, and how its body is read: no more of it than the limit,
//! and nothing that is not JSON.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::http::{StatusCode, header::HeaderMap};
use bytes::{Bytes, BytesMut};
use callboard_actors::Identity;
use futures_util::StreamExt;

use super::coding::{Unpacking, unpack};
use super::lineage::{Lineage, correlation_id, trace_state};
use super::patience::Patience;
use super::problem::Problem;

const CODINGS: &str = "a body is sent as it is, or packed with gzip";

/// A request that a route takes.
pub(super) struct Call {
    pub(super) request: HttpRequest,
    pub(super) payload: Payload,
    /// The texts in the places of the path's parameters, decoded, in order.
    pub(super) params: Vec<String>,
    pub(super) lineage: Lineage,
    /// Who asks, where somebody found out.
    pub(super) identity: Option<Identity>,
    /// The body, where it was read already, and the patience that was left.
    read: Option<(Bytes, Patience)>,
}

impl Call {
    pub(super) fn new(
        request: HttpRequest,
        payload: Payload,
        params: Vec<String>,
        lineage: Lineage,
    ) -> Self {
        Self { request, payload, params, lineage, identity: None, read: None }
    }

    /// Keeps a body that was read, for whoever reads it next within what is left of the patience.
    pub(super) fn keep(&mut self, body: Bytes, patience: Patience) {
        self.read = Some((body, patience));
    }

    /// The patience that is left, or a fresh one.
    pub(super) fn patience(&self, limit: Duration) -> Patience {
        self.read.as_ref().map_or_else(|| Patience::new(limit), |(_, patience)| patience.clone())
    }

    pub(super) fn query(&self) -> &str {
        self.request.uri().query().unwrap_or_default()
    }

    /// The sender's own id of what it is doing.
    pub(super) fn correlation_id(&self) -> Option<&str> {
        correlation_id(self.request.headers())?.to_str().ok()
    }

    /// What is said about the trace that it continues.
    pub(super) fn trace_state(&self) -> Option<Cow<'_, str>> {
        self.lineage.parent.and_then(|_| trace_state(self.request.headers()))
    }

    /// Reads the body, at most `max` bytes of it, unpacked where it is gzip.
    pub(super) async fn body(&mut self, max: usize) -> Result<Bytes, Problem> {
        if let Some((body, _)) = &self.read {
            return Ok(body.clone());
        }
        let headers = self.request.headers();
        let told = headers.get(CONTENT_LENGTH);
        let told = told.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if told.is_some_and(|length| length > max) {
            return Err(too_large(max));
        }
        // Most bodies are one chunk, which needs no copy.
        let (mut body, mut more) = (Bytes::new(), BytesMut::new());
        // A body of unknown length is counted as it comes; so is one with a length, for nothing.
        while let Some(chunk) = self.payload.next().await {
            let chunk = chunk.map_err(|error| broken(&error.to_string()))?;
            if chunk.is_empty() {
                continue;
            }
            let is_first = body.is_empty() && more.is_empty();
            if is_first {
                check_type(headers)?;
            }
            if chunk.len() > max - body.len() - more.len() {
                return Err(too_large(max));
            }
            if is_first {
                body = chunk;
                continue;
            }
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut body));
            }
            more.extend_from_slice(&chunk);
        }
        let body = if more.is_empty() { body } else { more.freeze() };
        if body.is_empty() || !is_packed(self.request.headers()) {
            return Ok(body);
        }
        Box::pin(unpack(body, max)).await.map_err(|error| match error {
            Unpacking::TooLarge => too_large(max),
            Unpacking::Broken(reason) => broken(&reason),
        })
    }
}

/// Refuses what is not JSON. A missing type is refused too: a foreign page can send a body without
/// one, but not one that says JSON, unless CORS allows it.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail| {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Err(Problem::new(status, "unsupported_media_type").detail(detail))
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !text(CONTENT_TYPE).is_some_and(is_json) {
        return unsupported("a body is application/json");
    }
    let mut codings = headers.get_all(CONTENT_ENCODING);
    let (coding, None) = (codings.next(), codings.next()) else {
        return unsupported(CODINGS);
    };
    match coding.map(|coding| coding.to_str().unwrap_or_default()) {
        None => Ok(()),
        Some(coding) if coding.eq_ignore_ascii_case("identity") || is_gzip(coding) => Ok(()),
        Some(_) => unsupported(CODINGS),
    }
}

/// Whether a body is to be unpacked.
fn is_packed(headers: &HeaderMap) -> bool {
    let coding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    coding.is_some_and(is_gzip)
}

fn is_gzip(coding: &str) -> bool {
    coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")
}

fn is_json(content_type: &str) -> bool {
    if content_type == "application/json" {
        return true;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.to_ascii_lowercase();
    subtype.strip_prefix("application/").is_some_and(|subtype| {
        subtype == "json" || (subtype.len() > "+json".len() && subtype.ends_with("+json"))
    })
}

fn too_large(max: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
        .detail(format!("a body has at most {max} bytes"))
}

fn broken(reason: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "broken_body")
        .detail("the body ended early, or is framed or packed wrongly")
        .internal(reason)
}
