//! Runs one test body under many seeds and names the seed under which it fails.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::panic_text;

/// Runs a test body once for each seed, each time in an actix system of its own, so that one seed
/// fails alone as it fails among others.
///
/// ```
/// # use callboard_actors::prelude::*;
/// use callboard_actors::testing::{TestBus, explore};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct Placed {}
/// # impl Event for Placed { const NAME: &'static str = "order.placed"; }
/// # #[derive(Clone)]
/// # struct Packer;
/// # impl EventHandler for Packer {
/// #     type Input = Placed;
/// #     type Output = ();
/// #     async fn handle(&self, _: &Placed, _: &EventContext) -> HandlerResult<()> { Ok(()) }
/// # }
///
/// explore(0..20, async |seed| {
///     let stock = Domain::new("stock").handler(Packer);
///     let bus = TestBus::shuffled(seed, [stock]).await.unwrap();
///     bus.publish_tracked(Placed {}).await.unwrap().assert_clean();
/// });
/// ```
///
/// # Panics
/// With the seed and the text of the body's panic; `explore(7..8, ..)` then runs seed 7 alone. Also
/// within an actix system: call it in a plain `#[test]`.
#[track_caller]
pub fn explore(seeds: Range<u64>, body: impl AsyncFn(u64)) {
    for seed in seeds {
        let run = || actix_rt::System::new().block_on(body(seed));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            panic!("under seed {seed}: {}", panic_text(&*panic));
        }
    }
}
