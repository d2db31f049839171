//! Which redirects are followed: answers enter, those that must not be followed leave as the last.

use std::task::{Context, Poll};

use actix_http::HttpMessage;
use actix_web::dev::Service;
use awc::error::SendRequestError;
use awc::http::Uri;
use awc::http::header::{self, HeaderValue};
use awc::middleware::Transform;
use awc::{ClientResponse, ConnectRequest, ConnectResponse};
use futures_util::future::LocalBoxFuture;

/// Stands below what follows redirects, and hides where a redirect leads that would send a request
/// in the clear which was made to be encrypted.
pub(super) struct NoDowngrade;

impl<S> Transform<S, ConnectRequest> for NoDowngrade
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
    S::Future: 'static,
{
    type Transform = Guarded<S>;

    fn new_transform(self, connector: S) -> Guarded<S> {
        Guarded(connector)
    }
}

pub(super) struct Guarded<S>(S);

impl<S> Service<ConnectRequest> for Guarded<S>
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
    S::Future: 'static,
{
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = LocalBoxFuture<'static, Result<ConnectResponse, SendRequestError>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), SendRequestError>> {
        self.0.poll_ready(cx)
    }

    fn call(&self, request: ConnectRequest) -> Self::Future {
        let is_secret = match &request {
            ConnectRequest::Client(head, ..) => head.as_ref().uri.scheme_str() == Some("https"),
            ConnectRequest::Tunnel(..) => false,
        };
        let answer = self.0.call(request);
        Box::pin(async move {
            Ok(match answer.await? {
                ConnectResponse::Client(answer) if is_secret => {
                    ConnectResponse::Client(guarded(answer))
                }
                answer => answer,
            })
        })
    }
}

/// Where an answer leads that is not followed.
struct Hidden(HeaderValue);

fn guarded(answer: ClientResponse) -> ClientResponse {
    let location = answer.headers().get(header::LOCATION).filter(|to| leaves_tls(to)).cloned();
    let Some(location) = location else { return answer };
    answer.extensions_mut().insert(Hidden(location));
    answer.map_body(|head, body| {
        head.headers.remove(header::LOCATION);
        body
    })
}

/// Whether it names another scheme. What names none keeps that of the request.
fn leaves_tls(location: &HeaderValue) -> bool {
    let uri = Uri::try_from(location.as_bytes()).unwrap_or_default();
    uri.scheme_str().is_some_and(|scheme| scheme != "https")
}

/// The `Location` that was hidden in this answer.
pub(super) fn hidden(answer: &ClientResponse) -> Option<HeaderValue> {
    answer.extensions_mut().remove::<Hidden>().map(|hidden| hidden.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_scheme_leaves_tls() {
        for (location, expected) in [
            ("http://a/", true),
            ("HTTP://a/", true),
            ("ftp://a/", true),
            ("https://a/", false),
            ("HTTPS://a/", false),
            ("//a/http://b/", false),
            ("/http://a/", false),
            ("a?to=http://b/", false),
            ("", false),
        ] {
            assert_eq!(leaves_tls(&HeaderValue::from_static(location)), expected, "{location}");
        }
    }
}
