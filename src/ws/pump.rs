//! The only file that knows actix-web-actors: frames enter from the socket for the [`Session`], and
//! leave to the socket from its link. Nothing is decided here.
//!
//! The crate's actor stands still as long as its peer does not read: no message, no timer. So
//! whatever must go on without the peer is the session's.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};

use actix::prelude::*;
use actix_http::error::PayloadError;
use actix_http::ws::{CloseCode, Message as WsMessage, ProtocolError};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::ws::{WebsocketContext, WsResponseBuilder};
use bytes::Bytes;
use callboard_actors::Upkeep;
use futures_util::{Stream, stream};

use super::assembly::{Assembled, Assembly};
use super::link::{Link, Out};
use super::session::{Heard, Session};
use super::turnstile::{Gate, Turnstile};

/// Everything that a pump stands between.
pub(super) struct Pump {
    session: Addr<Session>,
    /// Of the session's actor.
    life: Rc<Upkeep<()>>,
    link: Arc<Link>,
    gate: Gate,
    assembly: Assembly,
    said_goodbye: bool,
    heard_goodbye: bool,
}

/// Answers a handshake: the body of the response is the pump at work.
///
/// # Errors
/// When the request is no WebSocket handshake.
pub(super) fn connect<S>(
    request: &HttpRequest,
    payload: S,
    session: Session,
    link: &Arc<Link>,
    frame_max: usize,
) -> Result<HttpResponse, actix_web::Error>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    let gate = Gate::default();
    let payload = Turnstile::new(payload, gate.clone(), Arc::clone(link), frame_max);
    let (session, life) = begin(session);
    let pump = Pump {
        session,
        life,
        link: Arc::clone(link),
        gate,
        assembly: Assembly::new(frame_max),
        said_goodbye: false,
        heard_goodbye: false,
    };
    WsResponseBuilder::new(pump, request, payload).frame_size(frame_max).start()
}

/// Starts the session in a task of its own, which the pump spares it as a rule.
fn begin(session: Session) -> (Addr<Session>, Rc<Upkeep<()>>) {
    let context = Context::new();
    let addr = context.address();
    let life = Rc::new(Upkeep::new(context.into_future(session)));
    let kept = Rc::clone(&life);
    actix_rt::spawn(poll_fn(move |cx| kept.poll(cx)));
    (addr, life)
}

impl Pump {
    /// Gives the session what came; the next frame may come when it has dealt with it.
    ///
    /// Mostly it has done so at once, and what it says leaves with the same poll of the connection:
    /// to be woken for each of that would cost as much as all the rest.
    fn pass_on(&mut self, heard: Heard, ctx: &mut WebsocketContext<Self>) {
        let mut passing = {
            let _attendance = self.link.attend();
            let _visit = self.life.visit();
            Box::pin(self.session.send(heard))
        };
        while let Some(frame) = self.link.next_now() {
            self.put(frame, ctx);
        }
        // Whoever waits polls it again. A session that is gone has cut the connection.
        if passing.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_ready() {
            self.gate.open();
        } else {
            ctx.spawn(passing.into_actor(self).map(|_, pump, _| pump.gate.open()));
        }
    }

    /// Closes because of what the client sent; nothing more is read.
    fn fail(&self, code: CloseCode) {
        self.link.close(code, "");
        self.gate.drain();
    }

    fn put(&mut self, frame: Out, ctx: &mut WebsocketContext<Self>) {
        match frame {
            Out::Text(_) | Out::Ping if self.said_goodbye => {}
            Out::Text(text) => ctx.text(text),
            Out::Ping => ctx.ping(b""),
            Out::Close(reason) => {
                ctx.close(Some(reason));
                self.said_goodbye = true;
                self.goodbye(ctx);
            }
        }
    }

    fn goodbye(&mut self, ctx: &mut WebsocketContext<Self>) {
        if self.said_goodbye && self.heard_goodbye {
            ctx.stop();
        }
    }
}

impl Actor for Pump {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let link = Arc::clone(&self.link);
        ctx.add_stream(stream::poll_fn(move |cx| link.poll_next(cx).map(Some)));
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.link.abandon();
    }
}

impl StreamHandler<Out> for Pump {
    fn handle(&mut self, frame: Out, ctx: &mut Self::Context) {
        self.put(frame, ctx);
    }
}

impl StreamHandler<Result<WsMessage, ProtocolError>> for Pump {
    fn handle(&mut self, came: Result<WsMessage, ProtocolError>, ctx: &mut Self::Context) {
        let heard = match came {
            Ok(WsMessage::Text(text)) => Heard::Text(text),
            Ok(WsMessage::Binary(_)) => Heard::Binary,
            Ok(WsMessage::Continuation(item)) => match self.assembly.add(item) {
                Ok(Assembled::Part) => Heard::Alive,
                Ok(Assembled::Text(text)) => Heard::Text(text),
                Ok(Assembled::Binary) => Heard::Binary,
                Err(code) => return self.fail(code),
            },
            Ok(WsMessage::Ping(data)) => {
                if !self.said_goodbye {
                    ctx.pong(&data);
                }
                Heard::Alive
            }
            Ok(WsMessage::Pong(_) | WsMessage::Nop) => Heard::Alive,
            Ok(WsMessage::Close(reason)) => {
                self.heard_goodbye = true;
                self.goodbye(ctx);
                Heard::Close(reason.map_or(CloseCode::Normal, |reason| reason.code))
            }
            Err(error) => return self.fail(close_code(&error)),
        };
        self.pass_on(heard, ctx);
    }
}

fn close_code(error: &ProtocolError) -> CloseCode {
    match error {
        ProtocolError::Overflow => CloseCode::Size,
        // The crate says so of a text that is not UTF-8, and of nothing else that can be answered.
        ProtocolError::Io(error) if error.kind() == std::io::ErrorKind::Other => CloseCode::Invalid,
        _ => CloseCode::Protocol,
    }
}
