//! Makes responses smaller on their way out: a response whose client takes gzip and that is worth it
//! enters, the same in fewer bytes leaves.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, Encoding, Header as _, HeaderMap, HeaderValue, VARY,
};
use actix_web::{Error, HttpRequest};
use futures_util::future::LocalBoxFuture;
use pin_project_lite::pin_project;

use super::coding::pack;

/// Below so many bytes a response is sent as it is: it fits into one packet anyhow.
const PACK_MIN: u64 = 1024;

/// Packs the response with gzip where the client takes it, it has [`PACK_MIN`] bytes at least, and
/// its type is text of some kind. What comes bit by bit, such as a stream of events, is never held
/// up. Switched off, it hands all on.
pub(crate) fn compressed<F>(is_on: bool, answer: F) -> Compressed<F> {
    Compressed { is_on, answer, packing: None }
}

pin_project! {
    /// A response that may be packed. Most are too small for that, and pay little for being asked.
    pub(crate) struct Compressed<F> {
        is_on: bool,
        #[pin]
        answer: F,
        packing: Option<LocalBoxFuture<'static, ServiceResponse>>,
    }
}

impl<F, B> Future for Compressed<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody + 'static,
{
    type Output = Result<ServiceResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let packing = match this.packing {
            Some(packing) => packing,
            none => {
                let response = ready!(this.answer.poll(cx))?.map_into_boxed_body();
                if !*this.is_on || !is_worth_it(&response) {
                    return Poll::Ready(Ok(response));
                }
                none.insert(Box::pin(packed(response)))
            }
        };
        packing.as_mut().poll(cx).map(Ok)
    }
}

async fn packed(response: ServiceResponse) -> ServiceResponse {
    let takes_gzip = takes_gzip(response.request());
    let (request, response) = response.into_parts();
    let (mut head, body) = response.into_parts();
    // Caches keep both forms apart, also when this is the plain one.
    vary(head.headers_mut());
    let body = match body.try_into_bytes() {
        Ok(plain) if takes_gzip => match pack(plain.clone()).await {
            Some(packed) => {
                let headers = head.headers_mut();
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.remove(CONTENT_LENGTH);
                BoxBody::new(packed)
            }
            None => BoxBody::new(plain),
        },
        Ok(plain) => BoxBody::new(plain),
        Err(body) => body,
    };
    ServiceResponse::new(request, head.set_body(body))
}

fn takes_gzip(request: &HttpRequest) -> bool {
    if !request.headers().contains_key(ACCEPT_ENCODING) {
        return false;
    }
    let Ok(accepted) = AcceptEncoding::parse(request) else { return false };
    let offered = [Encoding::gzip(), Encoding::identity()];
    accepted.negotiate(offered.iter()) == Some(Encoding::gzip())
}

fn is_worth_it(response: &ServiceResponse) -> bool {
    let headers = response.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    matches!(response.response().body().size(), BodySize::Sized(PACK_MIN..))
        && response.status() != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(CONTENT_ENCODING)
        // It names the plain bytes.
        && !headers.contains_key(ETAG)
        && !text(CACHE_CONTROL).contains("no-transform")
        && is_text(text(CONTENT_TYPE))
}

/// Whether what has this type is text, however it is called.
fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "text/event-stream" {
        return false;
    }
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    kind == "text"
        || ["json", "xml", "javascript", "openmetrics-text", "yaml"].contains(&subtype)
        || subtype.ends_with("+json")
        || subtype.ends_with("+xml")
}

fn vary(headers: &mut HeaderMap) {
    let said = headers.get_all(VARY).filter_map(|value| value.to_str().ok());
    let said: Vec<&str> = said.collect();
    let value = [&said[..], &[ACCEPT_ENCODING.as_str()]].concat().join(", ");
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(VARY, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_worth_packing_and_pictures_are_not() {
        for (content_type, expected) in [
            ("application/json", true),
            ("application/problem+json", true),
            ("text/html; charset=utf-8", true),
            ("Text/Plain;version=0.0.4", true),
            ("application/openmetrics-text; version=1.0.0", true),
            ("image/svg+xml", true),
            ("image/png", false),
            ("application/octet-stream", false),
            ("application/gzip", false),
            ("text/event-stream", false),
            ("", false),
        ] {
            assert_eq!(is_text(content_type), expected, "{content_type}");
        }
    }
}
