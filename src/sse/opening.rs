//! The route: a request enters, a stream with its actor or a problem leaves.

use std::sync::Arc;

use actix::Actor;
use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::{StatusCode, header};
use callboard_actors::Bus;

use super::body::Body;
use super::broadcast::{Broadcast, Wanted};
use super::permits::Permits;
use super::stream::Stream;
use super::wire::EVENT_STREAM;
use crate::auth::{AuthError, Credentials};
use crate::http::{FieldError, Problem, Visit};
use crate::listening::{Denied, Door, Lifeline, Link, Visitor};
use crate::settings::SseSettings;

/// The longest name of a room, in bytes.
const ROOM_MAX: usize = 128;

/// With which a client that comes back says what it had last.
const LAST_EVENT_ID: &str = "last-event-id";

/// What all streams of one route share.
pub(super) struct Edge {
    pub(super) permits: Permits,
    pub(super) all: Arc<Broadcast>,
    pub(super) bus: Bus,
    pub(super) settings: SseSettings,
    pub(super) door: Door,
}

/// Answers one request.
pub(super) async fn open(edge: Arc<Edge>, visit: Visit) -> Result<HttpResponse, Problem> {
    let headers = visit.request.headers();
    let shown = || Credentials::from_authorization(headers.get_all(header::AUTHORIZATION));
    let visitor = Visitor::receive(&edge.door, &visit.request, shown).await?;
    visit.demand(EVENT_STREAM)?;
    let wanted = edge.wanted(&visit, &visitor)?;
    let mut response = HttpResponse::Ok();
    response
        .content_type(EVENT_STREAM)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // A middleware that compresses would hold events back.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        // So would a proxy that collects answers.
        .insert_header(("x-accel-buffering", "no"))
        // A connection whose stream has ended would hold up a server that stops.
        .force_close();
    if visit.is_head() {
        return Ok(response.finish());
    }
    let settings = &edge.settings;
    let slow_consumers = Arc::clone(edge.all.streams.slow_consumers());
    let link = Link::new(settings.queue_max, slow_consumers);
    let Some((seat, beginning)) = edge.all.open(wanted, &link, &edge.bus, settings) else {
        return Err(unavailable("streams_max", "there are too many streams"));
    };
    // Asked only now: a runtime that stops from here on finds the stream in the table.
    if !edge.bus.health().is_running {
        return Err(unavailable("shutdown", "the server is shutting down"));
    }
    let heartbeat = settings.heartbeat;
    Stream { _seat: seat, link: Arc::clone(&link), visitor, heartbeat }.start();
    let body = Body::new(beginning, Arc::clone(&link)).boxed();
    Ok(response.body(BoxBody::new(Lifeline::new(body, &link))))
}

impl Edge {
    /// What a client wants to hear, if it may.
    fn wanted(&self, visit: &Visit, visitor: &Visitor) -> Result<Wanted, Problem> {
        let (mut types, mut rooms, mut last_id) = (Vec::new(), Vec::new(), None);
        for (name, value) in visit.query()? {
            match name.as_str() {
                "type" => types.push(value),
                "room" => rooms.push(value),
                "lastEventId" => last_id = Some(value),
                // Some clients add a parameter against caches.
                _ => {}
            }
        }
        let identity = visitor.identity.as_ref();
        let names = if types.is_empty() {
            self.permits.all(identity)
        } else {
            self.permits.named(types.iter().map(String::as_str), identity)
        };
        let names = names.map_err(denied)?;
        check_rooms(&rooms, self.settings.rooms_max)?;
        // The header is of the client's last stream, the parameter perhaps of its first.
        let header = visit.request.headers().get(LAST_EVENT_ID);
        let of_header = header.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
        let last_id = of_header.or(last_id).filter(|id| !id.is_empty());
        Ok(Wanted { names, rooms, last_id })
    }
}

fn check_rooms(rooms: &[String], max: usize) -> Result<(), Problem> {
    let fault = if rooms.len() > max {
        format!("a stream has at most {max} rooms")
    } else if rooms.iter().any(|room| !(1..=ROOM_MAX).contains(&room.len())) {
        format!("the name of a room has 1 to {ROOM_MAX} bytes")
    } else {
        return Ok(());
    };
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    Err(problem.detail("the query string is wrong").errors(vec![FieldError::new("room", fault)]))
}

/// The same for an event that does not exist: a client learns no names by trying them.
fn denied(denied: Denied) -> Problem {
    match denied {
        Denied::NotPermitted => Problem::new(StatusCode::FORBIDDEN, "not_permitted")
            .detail("an event that `type` names is not permitted here"),
        Denied::Unknown => AuthError::Missing.into(),
        Denied::Forbidden(forbidden) => forbidden.into(),
    }
}

fn unavailable(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code).detail(detail)
}
