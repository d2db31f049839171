//! The actor behind one stream: it lives as long as its client takes events, shows that it lives,
//! and ends when the client's credentials or the runtime do.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::broadcast::Seat;
use super::wire::Out;
use crate::listening::{Link, Turn, Visitor, turns};

/// How long a client may take for the last block, when a heartbeat is longer than that.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// One client's stream. What it hears comes from the broadcast to its link.
pub(super) struct Stream {
    /// Given back when the stream has ended.
    pub(super) _seat: Seat,
    pub(super) link: Arc<Link<Out>>,
    pub(super) visitor: Visitor,
    pub(super) heartbeat: Duration,
}

impl Stream {
    fn watch_expiry(&mut self, ctx: &mut Context<Self>) {
        match self.visitor.next_look() {
            None => {}
            Some(Duration::ZERO) => self.end("the token has expired"),
            Some(left) => _ = ctx.run_later(left, Self::watch_expiry),
        }
    }

    fn end(&self, why: &str) {
        // The one who was first says why.
        self.link.close_with(Out::last(why));
    }
}

impl Actor for Stream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.heartbeat, |stream, _| stream.link.push(Out::heartbeat()));
        self.watch_expiry(ctx);
        ctx.add_stream(turns(&self.link));
    }
}

impl StreamHandler<Turn> for Stream {
    fn handle(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        match turn {
            Turn::Ending => self.end("the server is shutting down"),
            // A client that does not take even that is cut.
            Turn::Closing => {
                let goodbye = self.heartbeat.min(GOODBYE_MAX);
                ctx.run_later(goodbye, |stream, _| stream.link.cut());
            }
            Turn::Gone => ctx.stop(),
        }
    }
}
