//! The actor that thinks for one client: frames and replies enter; events go to the bus, and frames
//! to the client's [`Link`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::prelude::*;
use actix_http::ws::CloseCode;
use bytestring::ByteString;
use callboard_actors::{Bus, PublishError, TraceId, TraceParent};
use serde::Serialize;
use tokio::time::Instant;

use super::frame::{self, EventOrder, Id, Notice, Order};
use super::link::{Link, Out};
use super::message::Message as Recorded;
use super::outlet::{Seat, Sessions};
use super::permits::{Answer, Answering, Call, Entrance, NoAnswer, Permits, Publishing};
use super::refusal::Refusal;
use crate::listening::{Door, Turn, Visitor, turns};
use crate::settings::WsSettings;

/// How long a client may take to answer the last frame, when a heartbeat is longer than that.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Of a session whose token has expired; the code is of those left to applications.
const EXPIRED: (CloseCode, &str) = (CloseCode::Other(4401), "the token has expired");

/// What all sessions of one route share.
pub(super) struct Edge {
    pub(super) permits: Arc<Permits>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) bus: Bus,
    pub(super) settings: WsSettings,
    pub(super) door: Door,
}

/// What came from the client; the answer says that the next frame may come.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) enum Heard {
    Text(ByteString),
    Binary,
    /// A ping, a pong, or a part of a message.
    Alive,
    Close(CloseCode),
}

/// The outcome of a request, at the address of the session that made it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Answered {
    about: About,
    answer: Result<Answer, NoAnswer>,
}

/// What a frame says about the order that it belongs to.
#[derive(Debug)]
struct About {
    event_type: String,
    reply_event: Option<String>,
    id: Option<Id>,
    trace_id: TraceId,
    recorded: Option<Recorded>,
}

/// What a client wants, under way.
enum Begun {
    Publish(Publishing),
    Request(Answering),
}

/// One client's conversation.
pub(super) struct Session {
    seat: Seat,
    link: Arc<Link>,
    edge: Arc<Edge>,
    visitor: Visitor,
    /// The place in a trace where it was opened: the handshake, or whoever made it.
    opened_in: Option<TraceParent>,
    source: Arc<str>,
    in_flight: usize,
    /// Whether the client's last event waits for room in a handler's queue. It is not read from
    /// meanwhile, so its silence counts for nothing.
    is_publishing: bool,
    is_ending: bool,
    heard_at: Instant,
}

impl Session {
    pub(super) fn new(
        edge: &Arc<Edge>,
        seat: Seat,
        link: &Arc<Link>,
        visitor: Visitor,
        opened_in: Option<TraceParent>,
    ) -> Self {
        Self {
            source: format!("ws:{}", seat.id()).into(),
            seat,
            link: Arc::clone(link),
            edge: Arc::clone(edge),
            visitor,
            opened_in,
            in_flight: 0,
            is_publishing: false,
            is_ending: false,
            heard_at: Instant::now(),
        }
    }

    fn watch_silence(&mut self, ctx: &mut Context<Self>) {
        if self.is_publishing {
            self.heard_at = Instant::now();
        }
        let limit = self.edge.settings.idle_timeout;
        let left = limit.saturating_sub(self.heard_at.elapsed());
        if left.is_zero() {
            self.link.close(CloseCode::Policy, "silent for too long");
        } else {
            ctx.run_later(left, Self::watch_silence);
        }
    }

    /// What an expired token has begun goes on; nobody hears of it.
    fn watch_expiry(&mut self, ctx: &mut Context<Self>) {
        match self.visitor.next_look() {
            None => {}
            Some(Duration::ZERO) => {
                let (code, why) = EXPIRED;
                self.link.close(code, why);
            }
            Some(left) => _ = ctx.run_later(left, Self::watch_expiry),
        }
    }

    /// Closes a session that has to end, once nothing more can come for its client. A runtime that
    /// ends answers every request, so that will not be long.
    fn end_if_quiet(&self) {
        if self.is_ending && self.in_flight == 0 && !self.is_publishing {
            let why = "the server is shutting down";
            self.link.close(CloseCode::Away, why);
        }
    }

    fn read(&mut self, text: &str) -> Option<(About, Begun)> {
        match frame::read(text) {
            Ok((Order::Event(order), id)) => return self.event(order, id),
            Ok((Order::Subscribe(names), id)) => self.subscribe(&names, id.as_ref()),
            Ok((Order::Unsubscribe(names), id)) => {
                for name in &names {
                    self.seat.unsubscribe(name);
                }
                self.acknowledge("unsubscribed", &names, id.as_ref());
            }
            Ok((Order::Join(room), id)) => self.join(&room, id.as_ref()),
            Ok((Order::Leave(room), id)) => {
                self.seat.leave(&room);
                self.acknowledge("left", &room, id.as_ref());
            }
            Err(bad) => self.refuse(bad.event_type.as_deref(), bad.id.as_ref(), None, bad.refusal),
        }
        None
    }

    /// Begins what the client wants; what has to be waited for comes back.
    fn event(&mut self, order: EventOrder<'_>, id: Option<Id>) -> Option<(About, Begun)> {
        let bus = &self.edge.bus;
        let trace_id = order.trace_id.unwrap_or_else(|| bus.new_trace_id());
        let about = About {
            trace_id,
            recorded: Recorded::begin(bus, trace_id, &order.event_type, self.opened_in),
            event_type: order.event_type,
            reply_event: order.reply_event,
            id,
        };
        let call = Call {
            payload: order.payload,
            trace_id,
            parent: about.recorded.as_ref().map(|recorded| recorded.place),
            source: Arc::clone(&self.source),
            identity: self.visitor.identity.clone(),
            check: self.edge.permits.check_of(&about.event_type),
        };
        let in_flight_max = self.edge.settings.in_flight_max;
        let permits = &self.edge.permits;
        let refusal = match permits.entrance(&about.event_type, self.visitor.identity.as_ref()) {
            Err(refusal) => refusal,
            Ok(Entrance::Request(_)) if self.in_flight >= in_flight_max => {
                Refusal::limit("requests in flight", in_flight_max)
            }
            Ok(Entrance::Request(request)) => match request(bus, call) {
                Ok(answering) => {
                    self.in_flight += 1;
                    return Some((about, Begun::Request(answering)));
                }
                Err(bad) => bad.into(),
            },
            Ok(Entrance::Publish(publish)) => match publish(bus, call) {
                Ok(publishing) => return Some((about, Begun::Publish(publishing))),
                Err(bad) => bad.into(),
            },
        };
        self.refuse_about(&about, refusal);
        None
    }

    /// Waits beside the session, which reads on meanwhile.
    fn await_answer(&self, about: About, answering: Answering, ctx: &mut Context<Self>) {
        let (session, link) = (ctx.address(), Arc::clone(&self.link));
        actix_rt::spawn(async move {
            tokio::select! {
                answer = answering => {
                    // A session that is gone wants no reply.
                    let _ = session.send(Answered { about, answer }).await;
                }
                () = link.until_cut() => {}
            }
        });
    }

    fn answered(&mut self, about: &About, answer: Result<Answer, NoAnswer>) {
        self.in_flight -= 1;
        match answer {
            Ok(answer) => self.tell(&Notice {
                event_type: Some(about.reply_event.as_deref().unwrap_or(answer.name)),
                payload: Some(answer.payload),
                id: about.id.as_ref(),
                trace_id: Some(about.trace_id),
                error: None,
            }),
            Err(NoAnswer::Request(error)) => self.refuse_about(about, (&error).into()),
            Err(NoAnswer::Unwritable(error)) => {
                tracing::error!(
                    event = about.event_type, trace_id = %about.trace_id, %error,
                    "the reply cannot be written as JSON"
                );
                self.refuse_about(about, Refusal::internal("unwritable"));
            }
        }
        self.end_if_quiet();
    }

    fn published(&self, about: &About, outcome: Result<(), PublishError>) {
        match outcome {
            Ok(()) if about.id.is_none() => {}
            Ok(()) => self.tell(&Notice {
                event_type: Some(&about.event_type),
                payload: None::<()>,
                id: about.id.as_ref(),
                trace_id: Some(about.trace_id),
                error: None,
            }),
            Err(error) => self.refuse_about(about, (&error).into()),
        }
    }

    fn subscribe(&mut self, names: &[String], id: Option<&Id>) {
        let mut new = Vec::new();
        for name in names {
            let heard = match self.edge.permits.heard(name, self.visitor.identity.as_ref()) {
                Ok(heard) => heard,
                Err(refusal) => return self.refuse(Some(name), id, None, refusal),
            };
            if !self.seat.subscriptions.contains(heard) && !new.contains(&heard) {
                new.push(heard);
            }
        }
        let max = self.edge.settings.subscriptions_max;
        if self.seat.subscriptions.len() + new.len() > max {
            return self.refuse(None, id, None, Refusal::limit("subscriptions", max));
        }
        for name in new {
            self.seat.subscribe(name);
        }
        self.acknowledge("subscribed", names, id);
    }

    fn join(&mut self, room: &str, id: Option<&Id>) {
        let max = self.edge.settings.rooms_max;
        if self.seat.rooms.len() >= max && !self.seat.rooms.contains(room) {
            return self.refuse(None, id, None, Refusal::limit("rooms", max));
        }
        self.seat.join(room);
        self.acknowledge("joined", room, id);
    }

    fn acknowledge(&self, done: &str, what: impl Serialize, id: Option<&Id>) {
        let frame = frame::acknowledgement(done, what, id);
        self.link.push(Out::Text(frame));
    }

    fn refuse_about(&self, about: &About, refusal: Refusal) {
        let (event_type, trace_id) = (Some(&*about.event_type), Some(about.trace_id));
        if let Some(recorded) = &about.recorded {
            recorded.fail(refusal.code());
        }
        self.refuse(event_type, about.id.as_ref(), trace_id, refusal);
    }

    fn refuse(
        &self,
        event_type: Option<&str>,
        id: Option<&Id>,
        trace_id: Option<TraceId>,
        refusal: Refusal,
    ) {
        self.tell(&Notice { event_type, payload: None::<()>, id, trace_id, error: Some(refusal) });
    }

    fn tell(&self, notice: &Notice<'_, impl Serialize>) {
        match notice.write() {
            Ok(frame) => self.link.push(Out::Text(frame)),
            Err(error) => tracing::error!(session = &*self.source, %error, "a frame is lost"),
        }
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let heartbeat = self.edge.settings.heartbeat;
        ctx.run_interval(heartbeat, |session, _| session.link.push(Out::Ping));
        self.watch_silence(ctx);
        self.watch_expiry(ctx);
        ctx.add_stream(turns(&self.link));
    }
}

impl StreamHandler<Turn> for Session {
    fn handle(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        match turn {
            Turn::Ending => {
                self.is_ending = true;
                self.end_if_quiet();
            }
            // Whoever closed the link, a client that does not answer is cut.
            Turn::Closing => {
                let goodbye = self.edge.settings.heartbeat.min(GOODBYE_MAX);
                ctx.run_later(goodbye, |session, _| session.link.cut());
            }
            Turn::Gone => ctx.stop(),
        }
    }
}

impl Handler<Heard> for Session {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, heard: Heard, _: &mut Context<Self>) -> Self::Result {
        self.heard_at = Instant::now();
        let text = match heard {
            _ if self.link.is_closing() => None,
            Heard::Text(text) => Some(text),
            Heard::Alive => None,
            Heard::Binary => {
                self.refuse(None, None, None, Refusal::binary());
                None
            }
            Heard::Close(code) => {
                self.link.close(code, "");
                None
            }
        };
        let Some((about, begun)) = text.and_then(|text| self.read(&text)) else {
            return Box::pin(fut::ready(()));
        };
        let publishing = match begun {
            Begun::Publish(publishing) => publishing,
            Begun::Request(answering) => return Box::pin(Requesting(Some((about, answering)))),
        };
        self.is_publishing = true;
        Box::pin(publishing.into_actor(self).map(move |outcome, session, _| {
            session.is_publishing = false;
            session.heard_at = Instant::now();
            session.published(&about, outcome);
            session.end_if_quiet();
        }))
    }
}

impl Handler<Answered> for Session {
    type Result = ();

    fn handle(&mut self, Answered { about, answer }: Answered, _: &mut Context<Self>) {
        self.answered(&about, answer);
    }
}

/// The first look at a request's answer: what is there at once takes no detour.
struct Requesting(Option<(About, Answering)>);

impl ActorFuture<Session> for Requesting {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        session: &mut Session,
        ctx: &mut Context<Session>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        if let Some((about, mut answering)) = self.0.take() {
            match answering.as_mut().poll(task) {
                Poll::Ready(answer) => session.answered(&about, answer),
                Poll::Pending => session.await_answer(about, answering, ctx),
            }
        }
        Poll::Ready(())
    }
}
