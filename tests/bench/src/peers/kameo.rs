//! kameo: `ask` for requests, `tell` for what nobody waits for, by bounded or unbounded mailboxes.

use ::kameo::prelude::*;

use crate::failure::Failure;
use crate::peers::{Peer, Setup, Shape, WORKERS};
use crate::stage::Ground;
use crate::work::{Order, Tally, Total};

struct Ask(Order);

struct Tell(Order);

#[derive(Actor)]
struct Clerk {
    tally: Tally,
}

/// The first of a chain.
#[derive(Actor)]
struct First {
    next: ActorRef<Second>,
}

/// The second of a chain.
#[derive(Actor)]
struct Second {
    next: ActorRef<Clerk>,
}

impl Message<Ask> for Clerk {
    type Reply = Total;

    async fn handle(&mut self, Ask(order): Ask, _: &mut Context<Self, Total>) -> Total {
        order.total()
    }
}

impl Message<Ask> for Second {
    type Reply = ForwardedReply<Ask, Total>;

    async fn handle(&mut self, ask: Ask, ctx: &mut Context<Self, Self::Reply>) -> Self::Reply {
        ctx.forward(&self.next, ask).await
    }
}

impl Message<Ask> for First {
    type Reply = ForwardedReply<Ask, ForwardedReply<Ask, Total>>;

    async fn handle(&mut self, ask: Ask, ctx: &mut Context<Self, Self::Reply>) -> Self::Reply {
        ctx.forward(&self.next, ask).await
    }
}

impl Message<Tell> for Clerk {
    type Reply = ();

    async fn handle(&mut self, Tell(order): Tell, _: &mut Context<Self, ()>) {
        std::hint::black_box(order.total());
        self.tally.count();
    }
}

/// The handlers' references.
#[derive(Clone)]
pub(crate) struct Kameo<const IS_BOUNDED: bool> {
    shape: Shape,
    handlers: Vec<ActorRef<Clerk>>,
    chain: Option<ActorRef<First>>,
}

/// kameo as it is by default.
pub(crate) type Bounded = Kameo<true>;
/// kameo where nobody ever waits for room.
pub(crate) type Unbounded = Kameo<false>;

fn spawn<A: Actor<Args = A>, const IS_BOUNDED: bool>(actor: A) -> ActorRef<A> {
    if IS_BOUNDED { A::spawn(actor) } else { A::spawn_with_mailbox(actor, mailbox::unbounded()) }
}

impl<const IS_BOUNDED: bool> Peer for Kameo<IS_BOUNDED> {
    const SYSTEM: &'static str = if IS_BOUNDED { "kameo" } else { "kameo unbounded" };
    const GROUND: Ground = Ground::Tokio;

    async fn start(setup: Setup) -> Result<Self, Failure> {
        let Setup { shape, tally, .. } = setup;
        let size = match shape {
            Shape::Audience(size) => size,
            Shape::Keyed => WORKERS,
            _ => 1,
        };
        let handlers: Vec<_> =
            (0..size).map(|_| spawn::<_, IS_BOUNDED>(Clerk { tally: tally.clone() })).collect();
        let chain = (shape == Shape::Chain).then(|| {
            let next = spawn::<_, IS_BOUNDED>(Second { next: handlers[0].clone() });
            spawn::<_, IS_BOUNDED>(First { next })
        });
        Ok(Self { shape, handlers, chain })
    }

    async fn request(&self, order: Order) -> Result<Total, Failure> {
        let refused = Failure::of(Self::SYSTEM);
        match &self.chain {
            Some(first) => first.ask(Ask(order)).await.map_err(|error| refused(&error)),
            None => self.handlers[0].ask(Ask(order)).await.map_err(|error| refused(&error)),
        }
    }

    async fn publish(&self, order: Order) -> Result<(), Failure> {
        let refused = Failure::of(Self::SYSTEM);
        if self.shape == Shape::Keyed {
            let worker = &self.handlers[order.key() % WORKERS];
            return worker.tell(Tell(order)).await.map_err(|error| refused(&error));
        }
        for handler in &self.handlers {
            handler.tell(Tell(order.clone())).await.map_err(|error| refused(&error))?;
        }
        Ok(())
    }
}
