//! The only file that knows actix-web-actors: frames enter from the socket for the [`Session`], and
//! leave to the socket from its link. Nothing is decided here.
//!
//! The crate's actor stands still as long as its peer does not read: no message, no timer. So
//! whatever must go on without the peer is the session's.

use std::sync::Arc;

use actix::prelude::*;
use actix_http::error::PayloadError;
use actix_http::ws::{CloseCode, Message as WsMessage, ProtocolError};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::ws::{WebsocketContext, WsResponseBuilder};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use super::assembly::{Assembled, Assembly};
use super::link::{Link, Out};
use super::session::{Heard, Session};
use super::turnstile::{Gate, Turnstile};

/// Everything that a pump stands between.
pub(super) struct Pump {
    session: Addr<Session>,
    link: Arc<Link>,
    frames: Option<mpsc::Receiver<Out>>,
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
    session: Addr<Session>,
    (link, frames): (Arc<Link>, mpsc::Receiver<Out>),
    frame_max: usize,
) -> Result<HttpResponse, actix_web::Error>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    let gate = Gate::default();
    let payload = Turnstile::new(payload, gate.clone(), Arc::clone(&link), frame_max);
    let pump = Pump {
        session,
        link,
        frames: Some(frames),
        gate,
        assembly: Assembly::new(frame_max),
        said_goodbye: false,
        heard_goodbye: false,
    };
    WsResponseBuilder::new(pump, request, payload).frame_size(frame_max).start()
}

impl Pump {
    /// Gives the session what came; the next frame may come when it has dealt with it.
    fn pass_on(&self, heard: Heard, ctx: &mut WebsocketContext<Self>) {
        let passing = self.session.send(heard).into_actor(self);
        // A session that is gone has cut the connection.
        ctx.spawn(passing.map(|_, pump, _| pump.gate.open()));
    }

    /// Closes because of what the client sent; nothing more is read.
    fn fail(&self, code: CloseCode) {
        self.link.close(code, "");
        self.gate.drain();
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
        if let Some(mut frames) = self.frames.take() {
            ctx.add_stream(stream::poll_fn(move |cx| frames.poll_recv(cx)));
        }
    }
}

impl StreamHandler<Out> for Pump {
    fn handle(&mut self, frame: Out, ctx: &mut Self::Context) {
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
