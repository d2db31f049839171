//! A soak test: ten handlers under ten policies, of which one call in a hundred panics, five fail
//! and one is slow, and at the end every event is accounted for.
//!
//! ```sh
//! cargo run --release -p callboard-actors --example soak            # one million events
//! cargo run --release -p callboard-actors --example soak -- 20000
//! ```
//!
//! The last line is the ledger. The exit code is 1 when the sum is off, or memory grew.
#![allow(clippy::print_stdout)] // an example shows what happens

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use actix::prelude::*;
use callboard_actors::prelude::*;
use callboard_actors::{Bus, Dedupe, MetricsSnapshot, Overflow, RateLimit, Runtime, millis, secs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Goes to one of the ten workers.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Load {
    n: u64,
}

impl Event for Load {
    const NAME: &'static str = "soak.load";
}

/// What the handlers themselves counted, to be compared with what the runtime says.
#[derive(Clone, Default)]
struct Ledger(Arc<Counts>);

#[derive(Default)]
struct Counts {
    published: AtomicU64,
    handled: AtomicU64,
    dead_lettered: AtomicU64,
}

/// What happens to this event in this attempt: drawn from its number, so that runs repeat.
enum Fate {
    Panic,
    Fail,
    Slow,
    Fine,
}

impl Fate {
    fn of(n: u64, attempt: u32) -> Self {
        // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
        let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(u64::from(attempt));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        match (z ^ (z >> 31)) % 100 {
            0 => Self::Panic,
            1..=5 => Self::Fail,
            6 => Self::Slow,
            _ => Self::Fine,
        }
    }
}

/// The short form.
#[derive(Clone)]
struct Worker {
    ledger: Ledger,
    policy: Policy,
}

impl EventHandler for Worker {
    type Input = Load;
    type Output = ();

    async fn handle(&self, event: &Load, ctx: &EventContext) -> HandlerResult<()> {
        match Fate::of(event.n, ctx.attempt()) {
            Fate::Panic => panic!("a panic in a hundred"),
            Fate::Fail => return Err(HandlerError::retry("five failures in a hundred")),
            Fate::Slow => tokio::time::sleep(millis(1)).await,
            Fate::Fine => {}
        }
        self.ledger.0.handled.fetch_add(1, Relaxed);
        Ok(())
    }

    fn policy(&self) -> Policy {
        self.policy.clone()
    }
}

/// The full form.
struct Clerk {
    ledger: Ledger,
}

impl Actor for Clerk {
    type Context = Context<Self>;
}

impl Handler<Delivery<Load>> for Clerk {
    type Result = HandlerResult<()>;

    fn handle(&mut self, load: Delivery<Load>, _: &mut Context<Self>) -> Self::Result {
        match Fate::of(load.n, load.context().attempt()) {
            Fate::Panic => panic!("a panic in a hundred"),
            Fate::Fail => Err(HandlerError::retry("five failures in a hundred")),
            Fate::Slow | Fate::Fine => {
                self.ledger.0.handled.fetch_add(1, Relaxed);
                Ok(())
            }
        }
    }
}

/// Ten handlers, no two of them under the same policy. One of them gets each event.
fn domain(ledger: &Ledger) -> Domain {
    let retried = || Policy::default().attempts_max(3).retry_delay(millis(1), millis(5));
    let policies = [
        Policy::default(),
        retried(),
        Policy::default().concurrency(1),
        retried().concurrency(8).timeout(secs(5)),
        Policy::default().queue_max(8).overflow(Overflow::DropOldest).concurrency(1),
        Policy::default().queue_max(8).overflow(Overflow::DropNewest).concurrency(1),
        Policy::default().dedupe(Dedupe::by_id().window(secs(1)).entries_max(10_000)),
        Policy::default().rate_limit(RateLimit::per_second(200_000).burst(1_000)),
        retried().blocking(2),
    ];
    let domain = policies.into_iter().fold(Domain::new("soak"), |domain, policy| {
        domain.handler(Worker { ledger: ledger.clone(), policy })
    });
    let ledger = ledger.clone();
    let clerk = Subscriber::new(move || Clerk { ledger: ledger.clone() }).on::<Load, ()>();
    let tough = Policy::default()
        .group("workers")
        .restarts_max(u32::MAX)
        .restart_delay(millis(1), millis(5));
    domain.actor(clerk).policy(tough)
}

async fn publish(bus: Bus, ledger: Ledger, numbers: impl Iterator<Item = u64>) {
    for n in numbers {
        match bus.publish(Load { n }).await {
            Ok(()) => {
                ledger.0.published.fetch_add(1, Relaxed);
            }
            Err(error) => println!("refused: {error}"),
        }
    }
}

/// Resident memory in megabytes, where the system tells it.
fn memory_mb() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096 / 1_000_000)
}

/// Drops of all kinds.
fn dropped(metrics: &MetricsSnapshot) -> u64 {
    metrics.handlers.values().map(|handler| handler.dropped + handler.expired).sum()
}

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let events: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    // Ten thousand panics are part of the plan.
    std::panic::set_hook(Box::new(|_| {}));
    let (ledger, begun) = (Ledger::default(), Instant::now());
    let buried = ledger.clone();
    let runtime = Runtime::new()
        .mount(domain(&ledger))
        .publishes::<Load>()
        .drain_timeout(secs(60))
        .on_dead_letter(move |_| {
            buried.0.dead_lettered.fetch_add(1, Relaxed);
        })
        .start()
        .await?;

    let mut early = None;
    for quarter in 0..4 {
        let (from, to) = (events * quarter / 4, events * (quarter + 1) / 4);
        let publishers = (0..4).map(|publisher| {
            let numbers = (from..to).filter(move |n| n % 4 == publisher);
            actix::spawn(publish(runtime.bus(), ledger.clone(), numbers))
        });
        for publisher in publishers.collect::<Vec<_>>() {
            publisher.await?;
        }
        let handled = ledger.0.handled.load(Relaxed);
        println!("{to} published, {handled} handled, {:?} MB", memory_mb().unwrap_or_default());
        early = early.or_else(memory_mb);
    }
    let report = runtime.stop().await;

    let metrics = runtime.metrics();
    for (name, handler) in &metrics.handlers {
        println!(
            "{name}: {} processed, {} errors, {} retries, {} restarts, {} dropped",
            handler.processed, handler.errors, handler.retries, handler.restarts, handler.dropped
        );
    }
    let Counts { published, handled, dead_lettered } = &*ledger.0;
    let (published, handled) = (published.load(Relaxed), handled.load(Relaxed));
    let (dead_lettered, dropped) = (dead_lettered.load(Relaxed), dropped(&metrics));
    let (early, late) = (early.unwrap_or_default(), memory_mb().unwrap_or_default());
    let adds_up = report.is_clean()
        && published == events
        && published == handled + dead_lettered + dropped
        && dead_lettered == metrics.dead_lettered;
    let is_flat = late <= early + early / 4 + 16;
    println!(
        "ledger: published {published} = handled {handled} + dead-lettered {dead_lettered} + \
         dropped {dropped}: {}; memory {early} MB after a quarter, {late} MB at the end: {}; {} s",
        if adds_up { "exact" } else { "OFF" },
        if is_flat { "flat" } else { "GROWN" },
        begun.elapsed().as_secs(),
    );
    Ok(ExitCode::from(u8::from(!(adds_up && is_flat))))
}
