//! A handler whose dependency fails, and what its policy makes of that: retries, a breaker, a
//! fallback, a rate limit, dedupe, layers, dead letters that are replayed.
//!
//! It prints what happens and ends by itself. Run it with `cargo run --example resilience`.
#![allow(clippy::print_stdout)] // what it prints is what it shows

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callboard::prelude::*;
use callboard::{
    Breaker, DeadLetterQuery, Dedupe, Failure, Identity, Inbound, LimitBy, Next, RateLimit,
    Runtime, millis, secs,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Quote {
    currency: String,
}

impl Event for Quote {
    const NAME: &'static str = "rate.quote";
}

impl Replies for Quote {
    type Reply = Quoted;
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Quoted {
    rate: f64,
    is_fresh: bool,
}

impl Event for Quoted {
    const NAME: &'static str = "rate.quoted";
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct SendMail {
    to: String,
}

impl Event for SendMail {
    const NAME: &'static str = "mail.send";
}

/// The other side, which is down for a while.
#[derive(Clone, Default)]
struct Upstream {
    works: Arc<AtomicBool>,
}

impl Upstream {
    fn call(&self) -> HandlerResult<()> {
        let works = self.works.load(Ordering::Relaxed);
        println!("    the upstream is called and {}", if works { "works" } else { "fails" });
        if works { Ok(()) } else { Err(HandlerError::retry("no answer").code("upstream")) }
    }
}

/// Tries twice, then leaves the upstream alone, and answers with an old rate meanwhile.
#[derive(Clone)]
struct Quoter(Upstream);

impl EventHandler for Quoter {
    type Input = Quote;
    type Output = Quoted;

    async fn handle(&self, _: &Quote, _: &EventContext) -> HandlerResult<Quoted> {
        self.0.call()?;
        Ok(Quoted { rate: 1.0842, is_fresh: true })
    }

    async fn fallback(
        &self,
        event: &Quote,
        error: HandlerError,
        _: &EventContext,
    ) -> HandlerResult<Quoted> {
        println!("    {}: the old rate, because {}", event.currency, error.error_code());
        Ok(Quoted { rate: 1.08, is_fresh: false })
    }

    fn policy(&self) -> Policy {
        Policy::default()
            .attempts_for(Failure::Code("upstream"), 2)
            .retry_delay(millis(10), millis(50))
            .breaker(Breaker::consecutive(2).open_for(millis(200)))
            .rate_limit(RateLimit::per_minute(5).by(LimitBy::Identity).refusing())
    }
}

#[derive(Clone)]
struct Mailer(Upstream);

impl EventHandler for Mailer {
    type Input = SendMail;
    type Output = ();

    async fn handle(&self, event: &SendMail, _: &EventContext) -> HandlerResult<()> {
        self.0.call()?;
        println!("    mail for {} is sent", event.to);
        Ok(())
    }

    fn policy(&self) -> Policy {
        Policy::default().dedupe(Dedupe::by_id().window(secs(60)))
    }
}

/// A layer around each delivery: who did what, and how it ended.
async fn audit(inbound: &Inbound, next: Next<'_>) -> HandlerResult<()> {
    let outcome = next.run().await;
    let identity = inbound.envelope().metadata().identity();
    let who = identity.as_ref().map_or("somebody", |identity| &identity.subject);
    let how = outcome.as_ref().map_or_else(HandlerError::error_code, |()| "ok");
    println!("  audit: {who}, {} at {}: {how}", inbound.envelope().name(), inbound.handler());
    outcome
}

/// A layer that lets nobody pass without a tenant.
async fn tenant_only(inbound: &Inbound, next: Next<'_>) -> HandlerResult<()> {
    match inbound.envelope().metadata().tenant() {
        Some(_) => next.run().await,
        None => Err(HandlerError::forbidden("say for which tenant")),
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let upstream = Upstream::default();
    let rates = Domain::new("rate")
        .policy(Policy::default().around_delivery(tenant_only))
        .handler(Quoter(upstream.clone()));
    let runtime = Runtime::new()
        .policy(Policy::default().around_delivery(audit))
        .mount(rates)
        .mount(Domain::new("mail").handler(Mailer(upstream.clone())))
        .requests::<Quote>()
        .start()
        .await?;
    if let Some(quoter) = runtime.handler("rate.Quoter") {
        println!("{}: {}", quoter.name(), quoter.policy());
    }

    println!("without a tenant:");
    let quote = || runtime.request(Quote { currency: "EUR".into() });
    println!("  {}", quote().await.err().map_or_else(String::new, |error| error.to_string()));

    for title in ["two attempts fail, the breaker opens:", "the breaker is open:"] {
        println!("{title}");
        let quoted = quote().tenant("acme").identity(Identity::new("ada")).await?;
        println!("  rate {}, fresh: {}", quoted.rate, quoted.is_fresh);
    }
    println!("a mail that cannot be sent becomes a dead letter:");
    runtime.publish(SendMail { to: "grace".into() }).await?;
    tokio::time::sleep(millis(250)).await;

    upstream.works.store(true, Ordering::Relaxed);
    println!("the upstream works again, a probe closes the breaker:");
    for _ in 0..4 {
        match quote().tenant("acme").identity(Identity::new("ada")).await {
            Ok(quoted) => println!("  rate {}, fresh: {}", quoted.rate, quoted.is_fresh),
            Err(error) => println!("  refused: {error}"),
        }
    }
    println!("the dead letter is replayed:");
    let report = runtime.dead_letters().replay(&DeadLetterQuery::default()).await?;
    println!(
        "  handled {}, failed {}, left {}",
        report.handled,
        report.failed,
        runtime.dead_letters().count()
    );

    let metrics = &runtime.metrics().handlers["rate.Quoter"];
    println!(
        "rate.Quoter: {} retries, {} refused by the breaker, {} over the rate, {} fallbacks",
        metrics.retries, metrics.circuit_broken, metrics.rate_limited, metrics.fallbacks
    );
    runtime.stop().await;
    Ok(())
}
