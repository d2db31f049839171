//! Bare actix: `send` for requests, `do_send` for what nobody waits for.

use actix::prelude::*;

use crate::failure::Failure;
use crate::peers::{Peer, Setup, Shape, WORKERS};
use crate::stage::Ground;
use crate::work::{Order, Tally, Total};

const SYSTEM: &str = "actix";
/// Above what is ever in flight: the default, 16, would measure waiting for room.
const MAILBOX_MAX: usize = 1024;

struct Ask(Order);

impl Message for Ask {
    type Result = Option<Total>;
}

/// An order on its way through a chain.
struct Hop(Order);

impl Message for Hop {
    type Result = Option<Total>;
}

struct Tell(Order);

impl Message for Tell {
    type Result = ();
}

struct Clerk {
    next: Option<Addr<Clerk>>,
    tally: Tally,
}

impl Actor for Clerk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
    }
}

impl Handler<Ask> for Clerk {
    type Result = Option<Total>;

    fn handle(&mut self, Ask(order): Ask, _: &mut Context<Self>) -> Self::Result {
        Some(order.total())
    }
}

impl Handler<Hop> for Clerk {
    type Result = ResponseFuture<Option<Total>>;

    fn handle(&mut self, hop: Hop, _: &mut Context<Self>) -> Self::Result {
        let next = self.next.clone();
        Box::pin(async move {
            match next {
                Some(next) => next.send(hop).await.ok().flatten(),
                None => Some(hop.0.total()),
            }
        })
    }
}

impl Handler<Tell> for Clerk {
    type Result = ();

    fn handle(&mut self, Tell(order): Tell, _: &mut Context<Self>) {
        std::hint::black_box(order.total());
        self.tally.count();
    }
}

/// The handlers' addresses.
#[derive(Clone)]
pub(crate) struct Actix {
    shape: Shape,
    handlers: Vec<Addr<Clerk>>,
}

impl Peer for Actix {
    const SYSTEM: &'static str = SYSTEM;
    const GROUND: Ground = Ground::Actix;

    async fn start(setup: Setup) -> Result<Self, Failure> {
        let Setup { shape, tally, .. } = setup;
        let clerk = |next| Clerk { next, tally: tally.clone() }.start();
        let handlers = match shape {
            Shape::Chain => vec![clerk(Some(clerk(Some(clerk(None)))))],
            Shape::Audience(size) => (0..size).map(|_| clerk(None)).collect(),
            Shape::Keyed => (0..WORKERS).map(|_| clerk(None)).collect(),
            _ => vec![clerk(None)],
        };
        Ok(Self { shape, handlers })
    }

    async fn request(&self, order: Order) -> Result<Total, Failure> {
        let answer = if self.shape == Shape::Chain {
            self.handlers[0].send(Hop(order)).await
        } else {
            self.handlers[0].send(Ask(order)).await
        };
        let total = answer.map_err(|error| Failure::of(SYSTEM)(&error))?;
        total.ok_or_else(|| Failure::of(SYSTEM)(&"no total"))
    }

    // What is measured here is `do_send`; callboard itself has no use for it.
    #[allow(clippy::disallowed_methods)]
    async fn publish(&self, order: Order) -> Result<(), Failure> {
        if self.shape == Shape::Keyed {
            self.handlers[order.key() % WORKERS].do_send(Tell(order));
            return Ok(());
        }
        for handler in &self.handlers {
            handler.do_send(Tell(order.clone()));
        }
        Ok(())
    }
}
