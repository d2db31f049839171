//! The route: a handshake enters, a session with its pump or a problem leaves.

use std::sync::Arc;

use actix_http::ws::{HandshakeError, verify_handshake};
use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde_json::json;
use tracing::Instrument;

use super::link::Link;
use super::origin;
use super::pump;
use super::session::{Edge, Session};
use super::ticket;
use crate::http::{self, Lineage, Serving};
use crate::listening::{Lifeline, Visitor};

/// When a client that found no room may try again, in seconds.
const RETRY_AFTER: u64 = 5;

/// Answers one handshake, whose span ends with the answer, however long the session is.
pub(super) async fn accept(
    edge: &Arc<Edge>,
    request: &HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let lineage = Lineage::of(request.headers(), &edge.bus);
    let route = request.match_pattern();
    let Some(serving) = Serving::begin(&edge.bus, &lineage, request, route.as_deref()) else {
        return answer(edge, request, payload, lineage).await;
    };
    let answering = answer(edge, request, payload, serving.lineage(&lineage));
    let response = answering.instrument(serving.span()).await;
    serving.end(response.status());
    response
}

/// `opened_in` is where the session begins.
async fn answer(
    edge: &Arc<Edge>,
    request: &HttpRequest,
    payload: web::Payload,
    opened_in: Lineage,
) -> HttpResponse {
    if !origin::is_allowed(request.headers(), &edge.settings.origins) {
        let detail = "this origin may not connect";
        return problem(StatusCode::FORBIDDEN, "origin_not_allowed", detail);
    }
    if let Err(error) = verify_handshake(request.head()) {
        return no_handshake(error);
    }
    let shown = || ticket::credentials(request.headers());
    let visitor = match Visitor::receive(&edge.door, request, shown).await {
        Ok(visitor) => visitor,
        Err(problem) => {
            let mut refusal = problem.trace_id(opened_in.trace_id).error_response();
            http::tell(request, refusal.headers_mut());
            return refusal;
        }
    };
    let settings = &edge.settings;
    let slow_consumers = Arc::clone(edge.sessions.slow_consumers());
    let link = Link::new(settings.queue_max, slow_consumers);
    let Some(seat) = edge.sessions.admit(&link, settings.sessions_max) else {
        return unavailable("sessions_max", "there are too many sessions");
    };
    // Asked only now: a runtime that stops from here on finds the session in the table.
    if !edge.bus.health().is_running {
        return unavailable("shutdown", "the server is shutting down");
    }
    let session = Session::new(edge, seat, &link, visitor, opened_in.parent);
    match pump::connect(request, payload, session, &link, settings.frame_max) {
        Ok(mut response) => {
            // A browser gives up when none of the subprotocols is selected that it offered.
            if ticket::is_offered(request.headers()) {
                let bearer = header::HeaderValue::from_static(ticket::BEARER);
                response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, bearer);
            }
            response.map_body(|_, body| BoxBody::new(Lifeline::new(body, &link)))
        }
        Err(error) => error.error_response(),
    }
}

fn no_handshake(error: HandshakeError) -> HttpResponse {
    let detail = error.to_string();
    let (status, headers): (_, &[_]) = match error {
        HandshakeError::GetMethodRequired => {
            (StatusCode::METHOD_NOT_ALLOWED, &[(header::ALLOW, "GET")])
        }
        HandshakeError::NoWebsocketUpgrade | HandshakeError::NoConnectionUpgrade => (
            StatusCode::UPGRADE_REQUIRED,
            &[(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")],
        ),
        HandshakeError::NoVersionHeader | HandshakeError::UnsupportedVersion => {
            (StatusCode::BAD_REQUEST, &[(header::SEC_WEBSOCKET_VERSION, "13")])
        }
        HandshakeError::BadWebsocketKey => (StatusCode::BAD_REQUEST, &[]),
    };
    let mut response = problem(status, "no_handshake", &detail);
    for (name, value) in headers {
        let value = header::HeaderValue::from_static(value);
        response.headers_mut().insert(name.clone(), value);
    }
    response
}

fn unavailable(code: &str, detail: &str) -> HttpResponse {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, code, detail);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.into());
    response
}

/// An error in the one shape that all edges share (RFC 9457).
fn problem(status: StatusCode, code: &str, detail: &str) -> HttpResponse {
    HttpResponse::build(status).content_type("application/problem+json").json(json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    }))
}
