//! A layer that lets each delivery wait for a random number of turns, so that handlers which are
//! ready at the same time run in another order under each seed.

use parking_lot::Mutex;

use crate::layer::{Inbound, Layer, LayerFuture, Next};

/// More turns would mix no further: a few handlers are seldom more than this many polls apart.
const TURNS_MAX: u32 = 8;

/// Shuffles deliveries by a seed.
pub(crate) struct Shuffle {
    random: Mutex<fastrand::Rng>,
}

impl Shuffle {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }
}

impl Layer for Shuffle {
    fn call<'a>(&'a self, _: &'a Inbound, next: Next<'a>) -> LayerFuture<'a> {
        let turns = self.random.lock().u32(..=TURNS_MAX);
        Box::pin(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            next.run().await
        })
    }

    fn name(&self) -> &'static str {
        "shuffle"
    }
}
