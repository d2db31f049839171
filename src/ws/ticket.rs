//! What a client shows at a handshake: its headers enter, credentials leave. Never from the query
//! string, which ends up in logs and histories.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};

use crate::auth::{AuthError, Credentials};

/// The subprotocol behind which a token follows. A browser lets a page set no other header.
pub(super) const BEARER: &str = "bearer";

const TWICE: &str = "there is a token in Authorization and one in Sec-WebSocket-Protocol";
const ALONE: &str = "in Sec-WebSocket-Protocol no token follows bearer, or more than one does";

/// Reads the `Authorization` header, or the token behind `bearer` in the list of subprotocols.
pub(super) fn credentials(headers: &HeaderMap) -> Result<Credentials, AuthError> {
    let malformed = |reason| Err(AuthError::Malformed { reason });
    let offered = protocols(headers);
    let mut places = (0..offered.len()).filter(|at| offered[*at] == BEARER);
    match (places.next(), places.next(), headers.contains_key(AUTHORIZATION)) {
        (None, ..) => Credentials::from_authorization(headers.get_all(AUTHORIZATION)),
        (Some(_), _, true) => malformed(TWICE),
        (Some(at), None, false) => match offered.get(at + 1) {
            // The form of a token is the same wherever it stands.
            Some(token) => Credentials::from_authorization([format!("Bearer {token}")]),
            None => malformed(ALONE),
        },
        (Some(_), Some(_), false) => malformed(ALONE),
    }
}

/// Whether the client expects that the answer names the subprotocol.
pub(super) fn is_offered(headers: &HeaderMap) -> bool {
    protocols(headers).contains(&BEARER)
}

fn protocols(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_token_stands_in_one_place() {
        for (authorization, protocols, expected) in [
            (None, &[][..], Err("unauthorized")),
            (Some("Bearer a.b"), &[], Ok("a.b")),
            (Some("Bearer a.b"), &["chat"], Ok("a.b")),
            (None, &["chat"], Err("unauthorized")),
            (None, &["bearer, a.b"], Ok("a.b")),
            (None, &["bearer", "a.b"], Ok("a.b")),
            (None, &["chat,bearer,a.b, other"], Ok("a.b")),
            (None, &["Bearer, a.b"], Err("unauthorized")),
            (None, &["bearer"], Err("invalid_token")),
            (None, &["bearer, "], Err("invalid_token")),
            (None, &["bearer, bearer, a.b"], Err("invalid_token")),
            (None, &["bearer, a b"], Err("invalid_token")),
            (Some("Bearer a.b"), &["bearer, a.b"], Err("invalid_token")),
            (Some("Basic a"), &["bearer, a.b"], Err("invalid_token")),
        ] {
            let mut request = TestRequest::default();
            if let Some(value) = authorization {
                request = request.insert_header((AUTHORIZATION, value));
            }
            for value in protocols {
                request = request.append_header((SEC_WEBSOCKET_PROTOCOL, *value));
            }
            let found = credentials(request.to_http_request().headers());
            let found = found.as_ref().map(Credentials::token).map_err(AuthError::code);
            assert_eq!(found, expected, "{authorization:?}, {protocols:?}");
        }
    }
}
