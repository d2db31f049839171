//! Bare tokio channels: a task per handler, without names, supervision or anything else. The floor.

use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;
use crate::peers::{Peer, Setup, Shape, WORKERS};
use crate::stage::Ground;
use crate::work::{Order, Tally, Total};

const SYSTEM: &str = "tokio mpsc";
/// As many as wait for a handler of callboard by default.
const QUEUE_MAX: usize = 1024;

enum Letter {
    Ask(Order, oneshot::Sender<Total>),
    Tell(Order),
}

/// The handlers' channels.
#[derive(Clone)]
pub(crate) struct Mpsc {
    shape: Shape,
    handlers: Vec<mpsc::Sender<Letter>>,
}

fn spawn(next: Option<mpsc::Sender<Letter>>, tally: Tally) -> mpsc::Sender<Letter> {
    let (sender, mut letters) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(async move {
        while let Some(letter) = letters.recv().await {
            match (letter, &next) {
                // Who is gone wants no answer.
                (Letter::Ask(order, answer), None) => drop(answer.send(order.total())),
                (ask @ Letter::Ask(..), Some(next)) => drop(next.send(ask).await),
                (Letter::Tell(order), _) => {
                    std::hint::black_box(order.total());
                    tally.count();
                }
            }
        }
    });
    sender
}

impl Peer for Mpsc {
    const SYSTEM: &'static str = SYSTEM;
    const GROUND: Ground = Ground::Tokio;

    async fn start(setup: Setup) -> Result<Self, Failure> {
        let Setup { shape, tally, .. } = setup;
        let alone = || spawn(None, tally.clone());
        let handlers = match shape {
            Shape::Chain => {
                let last = spawn(Some(alone()), tally.clone());
                vec![spawn(Some(last), tally.clone())]
            }
            Shape::Audience(size) => (0..size).map(|_| alone()).collect(),
            Shape::Keyed => (0..WORKERS).map(|_| alone()).collect(),
            _ => vec![alone()],
        };
        Ok(Self { shape, handlers })
    }

    async fn request(&self, order: Order) -> Result<Total, Failure> {
        let (answer, total) = oneshot::channel();
        let sent = self.handlers[0].send(Letter::Ask(order, answer)).await;
        sent.map_err(|error| Failure::of(SYSTEM)(&error))?;
        total.await.map_err(|error| Failure::of(SYSTEM)(&error))
    }

    async fn publish(&self, order: Order) -> Result<(), Failure> {
        let refused = |error: mpsc::error::SendError<Letter>| Failure::of(SYSTEM)(&error);
        if self.shape == Shape::Keyed {
            let worker = &self.handlers[order.key() % WORKERS];
            return worker.send(Letter::Tell(order)).await.map_err(refused);
        }
        for handler in &self.handlers {
            handler.send(Letter::Tell(order.clone())).await.map_err(refused)?;
        }
        Ok(())
    }
}
