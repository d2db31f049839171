//! The quote domain: a price that takes a long computation, on threads of its own.

use std::{hint::black_box, ops::Range};

use callboard::http::Routes;
use callboard::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::invalid;

/// The most complex thing that is quoted.
const COMPLEXITY_MAX: i64 = 40;

/// How many quotes are computed at once.
const THREADS: usize = 2;

/// The work of complexity 0, in steps of the computation; each complexity is half as much more.
const STEPS: u64 = 1000;

/// How many steps are computed at a stretch.
const SLICE: u64 = 1 << 16;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestQuote {
    /// How long it takes: each is half as much work more.
    #[schemars(range(min = 1, max = COMPLEXITY_MAX), example = 10)]
    pub complexity: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuoteMade {
    pub complexity: i64,
    /// In cents.
    pub price: i64,
    /// Proves that the work was done: it depends on every step.
    pub checksum: String,
}

impl Event for RequestQuote {
    const NAME: &'static str = "quote.request";
}
impl Event for QuoteMade {
    const NAME: &'static str = "quote.made";
}
impl Replies for RequestQuote {
    type Reply = QuoteMade;
}

pub fn domain() -> Domain {
    Domain::new("quote").handler(Compute)
}

pub fn routes() -> Routes {
    Routes::new().post::<RequestQuote>("/quotes")
}

#[derive(Clone)]
struct Compute;

impl EventHandler for Compute {
    type Input = RequestQuote;
    type Output = QuoteMade;

    async fn handle(&self, quote: &RequestQuote, _: &EventContext) -> HandlerResult<QuoteMade> {
        let complexity = quote.complexity;
        if !(1..=COMPLEXITY_MAX).contains(&complexity) {
            let message = format!("complexity is from 1 to {COMPLEXITY_MAX}");
            return Err(invalid("complexity", message));
        }
        let steps = (0..complexity).fold(STEPS, |steps, _| steps + steps / 2);
        let (mut checksum, mut done) = (0, 0);
        while done < steps {
            let next = steps.min(done + SLICE);
            checksum = compute(checksum, done..next);
            done = next;
            // A computation cannot be interrupted, only dropped where it waits: when its time is
            // over, it ends here.
            tokio::task::yield_now().await;
        }
        let (price, checksum) = (complexity * 250, format!("{checksum:016x}"));
        Ok(QuoteMade { complexity, price, checksum })
    }

    fn policy(&self) -> Policy {
        Policy::default().blocking(THREADS)
    }
}

/// Mixes the numbers of the steps into the checksum; no step can be left out.
fn compute(checksum: u64, steps: Range<u64>) -> u64 {
    steps.fold(checksum, |checksum, step| {
        let mixed = black_box(checksum ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    })
}
