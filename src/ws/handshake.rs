//! The route: a handshake enters, a session with its pump or a problem leaves.

use std::sync::Arc;
use std::time::Duration;

use actix_http::ws::{HandshakeError, verify_handshake};
use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use tracing::Instrument;

use super::link::Link;
use super::origin;
use super::pump;
use super::session::{Edge, Session};
use super::ticket;
use crate::http::{self, Lineage, Problem, Serving};
use crate::listening::{Lifeline, Visitor};

/// The code of what is none.
const NO_HANDSHAKE: &str = "no_handshake";

/// When a client that found no room may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

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
    let refusal = match open(edge, request, payload, opened_in).await {
        Ok(response) => return response,
        Err(refusal) => refusal,
    };
    let mut response = refusal.problem.trace_id(opened_in.trace_id).error_response();
    http::tell(request, response.headers_mut());
    for (name, value) in refusal.headers {
        let value = header::HeaderValue::from_static(value);
        response.headers_mut().insert(name.clone(), value);
    }
    response
}

/// Why there is no session, and what the answer says beside it.
struct Refusal {
    problem: Problem,
    headers: &'static [(header::HeaderName, &'static str)],
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, headers: &[] }
    }
}

async fn open(
    edge: &Arc<Edge>,
    request: &HttpRequest,
    payload: web::Payload,
    opened_in: Lineage,
) -> Result<HttpResponse, Refusal> {
    if !origin::is_allowed(request.headers(), &edge.settings.origins) {
        let problem = Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed");
        return Err(problem.detail("this origin may not connect").into());
    }
    verify_handshake(request.head()).map_err(no_handshake)?;
    let shown = || ticket::credentials(request.headers());
    let visitor = Visitor::receive(&edge.door, request, shown).await?;
    let settings = &edge.settings;
    let slow_consumers = Arc::clone(edge.sessions.slow_consumers());
    let link = Link::new(settings.queue_max, slow_consumers);
    let seat = edge.sessions.admit(&link, settings.sessions_max);
    let seat = seat.ok_or_else(|| unavailable("sessions_max", "there are too many sessions"))?;
    // Asked only now: a runtime that stops from here on finds the session in the table.
    if !edge.bus.health().is_running {
        return Err(unavailable("shutdown", "the server is shutting down").into());
    }
    let session = Session::new(edge, seat, &link, visitor, opened_in.parent);
    let connected = pump::connect(request, payload, session, &link, settings.frame_max);
    let mut response = connected.map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, NO_HANDSHAKE).detail(error.to_string())
    })?;
    // A browser gives up when none of the subprotocols is selected that it offered.
    if ticket::is_offered(request.headers()) {
        let bearer = header::HeaderValue::from_static(ticket::BEARER);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, bearer);
    }
    Ok(response.map_body(|_, body| BoxBody::new(Lifeline::new(body, &link))))
}

fn no_handshake(error: HandshakeError) -> Refusal {
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
    Refusal { problem: Problem::new(status, NO_HANDSHAKE).detail(detail), headers }
}

fn unavailable(code: &'static str, detail: &str) -> Problem {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code);
    problem.detail(detail).retry_after(RETRY_AFTER)
}
