//! An endpoint that does the same thing once: a call with an `Idempotency-Key` enters, and what
//! became of the first such call leaves.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use bytes::Bytes;
use callboard_actors::{Bus, secs};
use futures_util::FutureExt;

use super::address::ClientAddress;
use super::bind::late;
use super::call::Call;
use super::digest::Digest;
use super::idempotency::{
    Begun, IdempotencyAttempt, IdempotencyError, IdempotencyStore, StoredResponse,
};
use super::mount::{Answer, Endpoint};
use super::patience::Patience;
use super::problem::Problem;
use crate::settings::ProxySettings;

/// The header with the key.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in bytes.
pub(super) const KEY_MAX: usize = 255;

/// What is said of an answer that was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How much longer than the client waits a key is held, for the outcome to be kept.
const LEASE_MARGIN: Duration = secs(10);

/// When another attempt makes sense while one is under way.
const RETRY_AFTER: Duration = secs(1);

/// Whether a route takes calls without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyIs {
    Welcome,
    Required,
}

/// How a route does things once.
pub(super) struct Once {
    pub(super) key_is: KeyIs,
    pub(super) store: Arc<dyn IdempotencyStore>,
    pub(super) bus: Bus,
    pub(super) proxies: Arc<ProxySettings>,
    /// The largest body, in bytes; `None` where a body is not read.
    pub(super) body_max: Option<usize>,
    pub(super) timeout: Duration,
}

struct Repeatable {
    once: Once,
    endpoint: Arc<dyn Endpoint>,
}

/// The endpoint, for calls that may come again.
pub(super) fn repeatable(once: Once, endpoint: Box<dyn Endpoint>) -> Box<dyn Endpoint> {
    Box::new(Repeatable { once, endpoint: Arc::from(endpoint) })
}

impl Endpoint for Repeatable {
    fn answer(&self, mut call: Call) -> Answer<'_> {
        Box::pin(async move {
            let Some(key) = key(call.request.headers())? else {
                return match self.once.key_is {
                    KeyIs::Welcome => self.endpoint.answer(call).await,
                    KeyIs::Required => Err(missing()),
                };
            };
            let mut patience = Patience::new(self.once.timeout);
            let body = match self.once.body_max {
                Some(max) => patience.wait(pin!(call.body(max))).await.map_err(|_| late())??,
                None => Bytes::new(),
            };
            let attempt = self.once.attempt(&call, &key, &body);
            call.keep(body, patience);
            let (store, bus) = (Arc::clone(&self.once.store), self.once.bus.clone());
            let endpoint = Arc::clone(&self.endpoint);
            // On a task of its own, which goes on when the client does not wait for it any more:
            // this future is dropped then.
            let carried_out = actix_rt::spawn(carry_out(store, bus, attempt, endpoint, call));
            carried_out.await.unwrap_or_else(|error| Err(broken(error.to_string())))
        })
    }
}

impl Once {
    fn attempt(&self, call: &Call, key: &str, body: &[u8]) -> IdempotencyAttempt {
        let (kind, client) = match &call.identity {
            Some(identity) => ("identity", identity.subject.clone()),
            None => ("address", ClientAddress::of(&call.request, &self.proxies).to_string()),
        };
        let (method, uri) = (call.request.method().as_str(), call.request.uri());
        let [path, query] = [uri.path(), uri.query().unwrap_or_default()];
        IdempotencyAttempt {
            key: Digest::of([kind, &client, key].map(str::as_bytes)).0,
            fingerprint: Digest::of([method.as_bytes(), path.as_bytes(), query.as_bytes(), body]).0,
            token: self.bus.new_trace_id().to_string(),
            lease: self.timeout.saturating_add(LEASE_MARGIN),
            at: self.bus.now(),
        }
    }
}

/// Does what the call asks for, if it is the first one, and keeps the outcome.
async fn carry_out(
    store: Arc<dyn IdempotencyStore>,
    bus: Bus,
    mut attempt: IdempotencyAttempt,
    endpoint: Arc<dyn Endpoint>,
    call: Call,
) -> Result<HttpResponse, Problem> {
    match store.begin(&attempt).await.map_err(|error| unavailable(&error))? {
        Begun::First => {}
        Begun::Done(stored) => return replayed(stored),
        refused => return Err(refusal(&refused)),
    }
    let trace_id = call.lineage.trace_id;
    let answer = AssertUnwindSafe(endpoint.answer(call)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|_| Err(broken("it panicked".to_owned())));
    let (answer, outcome) = match answer {
        Ok(response) => kept(response),
        Err(problem) if problem.is_verdict() => {
            let told = problem.clone().trace_id(trace_id).error_response();
            (Err(problem), kept(told).1)
        }
        Err(problem) => (Err(problem), None),
    };
    attempt.at = bus.now();
    let settled = match outcome {
        Some(outcome) => store.finish(&attempt, outcome).await,
        None => store.release(&attempt).await.map(|()| true),
    };
    match settled {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "the outcome of a request was not kept: it came too late, or is too large"
        ),
        Err(error) => tracing::warn!(%error, "the outcome of a request was not kept"),
    }
    answer
}

/// The response, and what is kept of it.
fn kept(response: HttpResponse) -> (Result<HttpResponse, Problem>, Option<StoredResponse>) {
    let (head, body) = response.into_parts();
    match body.try_into_bytes() {
        Ok(body) => {
            let content_type = head.headers().get(CONTENT_TYPE);
            let content_type = content_type.and_then(|text| text.to_str().ok()).map(str::to_owned);
            let status = head.status().as_u16();
            let stored = StoredResponse { status, content_type, body: body.clone() };
            (Ok(head.set_body(BoxBody::new(body))), Some(stored))
        }
        // A body that comes bit by bit is not kept.
        Err(body) => (Ok(head.set_body(body)), None),
    }
}

fn replayed(stored: StoredResponse) -> Result<HttpResponse, Problem> {
    let status = StatusCode::from_u16(stored.status).map_err(|error| broken(error.to_string()))?;
    let mut response = HttpResponse::build(status);
    response.insert_header((REPLAYED, HeaderValue::from_static("true")));
    if let Some(content_type) = stored.content_type {
        response.content_type(content_type);
    }
    Ok(if stored.body.is_empty() { response.finish() } else { response.body(stored.body) })
}

fn refusal(begun: &Begun) -> Problem {
    match begun {
        Begun::InProgress => Problem::new(StatusCode::CONFLICT, "idempotency_in_progress")
            .detail("a request with this Idempotency-Key is under way")
            .retry_after(RETRY_AFTER),
        Begun::Reused => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused")
            .detail("this Idempotency-Key was used for another request"),
        _ => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "idempotency_full")
            .detail("too many requests with an Idempotency-Key are under way"),
    }
}

fn unavailable(error: &IdempotencyError) -> Problem {
    tracing::warn!(%error, "a request with an Idempotency-Key was refused");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "idempotency_unavailable")
        .detail("whether this was done before cannot be told just now")
        .internal(error.to_string())
}

fn missing() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "idempotency_key_missing")
        .detail("this request needs an Idempotency-Key")
}

fn broken(internal: String) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no_reply").internal(internal)
}

/// The key of a request, if it has one: a string of RFC 9651, or the same without its quotes, as
/// many clients send it.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|_| values.next().is_none()).and_then(parse);
    let is_sound = |key: &String| (1..=KEY_MAX).contains(&key.len());
    key.filter(is_sound).map(Some).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "bad_idempotency_key").detail(format!(
            "an Idempotency-Key is one text of 1 to {KEY_MAX} characters, such as a UUID"
        ))
    })
}

fn parse(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:~+/=".contains(&b);
        return value.bytes().all(plain).then(|| value.to_owned());
    };
    let (mut key, mut letters) = (String::new(), quoted.chars());
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(key),
            '\\' => key.push(letters.next().filter(|letter| matches!(letter, '"' | '\\'))?),
            letter @ ' '..='~' => key.push(letter),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        key(&headers).map_err(|problem| problem.status_code().as_u16())
    }

    #[test]
    fn a_key_is_a_text_with_or_without_quotes() {
        assert_eq!(of(&[]), Ok(None));
        let uuid = "8e03978e-40d5-43e8-bc93-6894a57f9324";
        assert_eq!(of(&[uuid]), Ok(Some(uuid.to_owned())));
        assert_eq!(of(&[&format!("\"{uuid}\"")]), Ok(Some(uuid.to_owned())));
        assert_eq!(of(&["\"a b\\\"c\\\\\""]), Ok(Some("a b\"c\\".to_owned())));
        let longest = "x".repeat(KEY_MAX);
        assert_eq!(of(&[&longest]), Ok(Some(longest.clone())));
        let too_long = format!("{longest}x");
        for wrong in [
            "",
            "\"\"",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"a\";p=1",
            "a b",
            "a,b",
            "\"\\n\"",
            "é",
            &too_long,
        ] {
            assert_eq!(of(&[wrong]), Err(400), "{wrong}");
        }
        assert_eq!(of(&[uuid, uuid]), Err(400), "two");
    }
}
