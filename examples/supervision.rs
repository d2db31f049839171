//! A domain whose handlers depend on each other: one that panics takes those after it along, and one
//! that fails too often takes the domain down, where everybody sees it.
//!
//! It prints what happens and ends by itself. Run it with `cargo run --example supervision`.
#![allow(clippy::print_stdout)] // what it prints is what it shows

use std::error::Error;

use actix::prelude::*;
use callboard::settings::LogSettings;
use callboard::{
    Delivery, Domain, Escalation, Event, HandlerResult, Policy, Runtime, Strategy, Subscriber,
    millis, secs, telemetry,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Reading {
    celsius: f64,
}

impl Event for Reading {
    const NAME: &'static str = "sensor.reading";
}

/// One stage of a pipeline, with state that is lost when it is rebuilt.
struct Stage {
    name: &'static str,
    readings: u32,
}

impl Stage {
    fn subscriber(name: &'static str) -> Subscriber<Self> {
        let policy = Policy::default().restarts_max(1).restart_delay(millis(20), millis(20));
        Subscriber::new(move || Self { name, readings: 0 })
            .on::<Reading, ()>()
            .named(name)
            .policy(policy)
    }
}

impl Actor for Stage {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        println!("  {} starts", self.name);
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        println!("  {} stops after {} readings", self.name, self.readings);
    }
}

impl Handler<Delivery<Reading>> for Stage {
    type Result = HandlerResult<()>;

    fn handle(&mut self, reading: Delivery<Reading>, _: &mut Context<Self>) -> Self::Result {
        let is_poison = self.name == "calibrate" && reading.celsius < -273.15;
        assert!(!is_poison, "{} °C is colder than possible", reading.celsius);
        self.readings += 1;
        Ok(())
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    telemetry::init(&LogSettings::default())?;
    let sensor = Domain::new("sensor")
        .strategy(Strategy::RestForOne)
        .escalation(Escalation::restart_domain(1, secs(60)))
        .actor(Stage::subscriber("collect"))
        .actor(Stage::subscriber("calibrate"))
        .actor(Stage::subscriber("average"));
    println!("three stages start in order:");
    let runtime = Runtime::new()
        .mount(sensor)
        .publishes::<Reading>()
        .on_down(|handler| println!("  {handler} is down"))
        .start()
        .await?;
    let publish = async |celsius: f64| {
        runtime.publish(Reading { celsius }).await?;
        tokio::time::sleep(millis(400)).await;
        Ok::<(), Box<dyn Error>>(())
    };

    publish(21.5).await?;
    for title in [
        "a reading that cannot be rebuilds calibrate, and average behind it:",
        "another one is beyond calibrate's limit, so the domain restarts:",
        "a third one is within the limit again:",
        "a fourth one is beyond the domain's limit too:",
    ] {
        println!("{title}");
        publish(-300.0).await?;
        publish(22.0).await?;
    }

    println!("in the end:");
    println!("  down: {}", runtime.health().down.join(", "));
    for (name, handler) in runtime.metrics().handlers {
        println!("  {name}: {} handled, {} restarts", handler.processed, handler.restarts);
    }
    for letter in runtime.dead_letters().all().await? {
        println!("  dead letter of {}: {}", letter.handler, letter.reason.code());
    }
    runtime.stop().await;
    Ok(())
}
