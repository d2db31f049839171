//! ractor: `call` for requests, `cast` for what nobody waits for.

use ::ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call};

use crate::failure::Failure;
use crate::peers::{Peer, Setup, Shape, WORKERS};
use crate::stage::Ground;
use crate::work::{Order, Tally, Total};

const SYSTEM: &str = "ractor";

enum Letter {
    Ask(Order, RpcReplyPort<Total>),
    Tell(Order),
}

struct Clerk;

struct Desk {
    next: Option<ActorRef<Letter>>,
    tally: Tally,
}

impl Actor for Clerk {
    type Msg = Letter;
    type State = Desk;
    type Arguments = Desk;

    async fn pre_start(
        &self,
        _: ActorRef<Letter>,
        desk: Desk,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(desk)
    }

    async fn handle(
        &self,
        _: ActorRef<Letter>,
        letter: Letter,
        desk: &mut Desk,
    ) -> Result<(), ActorProcessingErr> {
        match (letter, &desk.next) {
            (Letter::Ask(order, port), None) => port.send(order.total())?,
            (ask @ Letter::Ask(..), Some(next)) => next.cast(ask)?,
            (Letter::Tell(order), _) => {
                std::hint::black_box(order.total());
                desk.tally.count();
            }
        }
        Ok(())
    }
}

async fn spawn(next: Option<ActorRef<Letter>>, tally: &Tally) -> Result<ActorRef<Letter>, Failure> {
    let desk = Desk { next, tally: tally.clone() };
    let spawned = Actor::spawn(None, Clerk, desk).await;
    // Its task runs on when the handle goes.
    spawned.map(|(clerk, _)| clerk).map_err(|error| Failure::of(SYSTEM)(&error))
}

/// The handlers' references.
#[derive(Clone)]
pub(crate) struct Ractor {
    shape: Shape,
    handlers: Vec<ActorRef<Letter>>,
}

impl Peer for Ractor {
    const SYSTEM: &'static str = SYSTEM;
    const GROUND: Ground = Ground::Tokio;

    async fn start(setup: Setup) -> Result<Self, Failure> {
        let Setup { shape, tally, .. } = setup;
        let mut handlers = Vec::new();
        let size = match shape {
            Shape::Audience(size) => size,
            Shape::Keyed => WORKERS,
            _ => 1,
        };
        for _ in 0..size {
            handlers.push(spawn(None, &tally).await?);
        }
        if shape == Shape::Chain {
            let second = spawn(handlers.pop(), &tally).await?;
            handlers.push(spawn(Some(second), &tally).await?);
        }
        Ok(Self { shape, handlers })
    }

    async fn request(&self, order: Order) -> Result<Total, Failure> {
        let answer = call!(self.handlers[0], Letter::Ask, order);
        answer.map_err(|error| Failure::of(SYSTEM)(&error))
    }

    async fn publish(&self, order: Order) -> Result<(), Failure> {
        let refused = Failure::of(SYSTEM);
        if self.shape == Shape::Keyed {
            let worker = &self.handlers[order.key() % WORKERS];
            return worker.cast(Letter::Tell(order)).map_err(|error| refused(&error));
        }
        for handler in &self.handlers {
            handler.cast(Letter::Tell(order.clone())).map_err(|error| refused(&error))?;
        }
        Ok(())
    }
}
