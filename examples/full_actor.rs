//! The full form of a handler: an actix actor with state, a timer and `&mut self`.
//!
//! It counts the users that are created and reports once a second. One event makes it panic: the
//! actor is rebuilt by its factory with an empty state, the events behind it are handled all the
//! same. Run it with `cargo run --example full_actor`.
#![allow(clippy::print_stdout)] // what it prints is what it shows

use actix::prelude::*;
use callboard::{
    Delivery, Domain, Event, HandlerResult, Policy, Restart, Runtime, Subscriber, secs,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct UserCreated {
    name: String,
}

impl Event for UserCreated {
    const NAME: &'static str = "user.created";
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Milestone {
    users: u64,
}

impl Event for Milestone {
    const NAME: &'static str = "census.milestone";
}

#[derive(Default)]
struct Census {
    seen: u64,
}

impl Actor for Census {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        println!("census: started");
        ctx.run_interval(secs(1), |census, _| println!("census: {} users so far", census.seen));
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        println!("census: stopped after {} users", self.seen);
    }
}

/// Answers with an event now and then: what it returns is published.
impl Handler<Delivery<UserCreated, Option<Milestone>>> for Census {
    type Result = HandlerResult<Option<Milestone>>;

    fn handle(
        &mut self,
        user: Delivery<UserCreated, Option<Milestone>>,
        _: &mut Context<Self>,
    ) -> Self::Result {
        assert!(!user.name.is_empty(), "a user without a name");
        self.seen += 1;
        println!("census: {} is number {}", user.name, self.seen);
        Ok(self.seen.is_multiple_of(3).then_some(Milestone { users: self.seen }))
    }
}

impl Handler<Delivery<Milestone>> for Census {
    type Result = HandlerResult<()>;

    fn handle(&mut self, milestone: Delivery<Milestone>, _: &mut Context<Self>) -> Self::Result {
        println!("census: a milestone, {} users", milestone.users);
        Ok(())
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let census = Subscriber::new(Census::default)
        .on::<UserCreated, Option<Milestone>>()
        .on::<Milestone, ()>()
        .policy(
            Policy::default().restart(Restart::Always).restarts_max(5).restarts_within(secs(60)),
        );
    let runtime = Runtime::new().mount(Domain::new("census").actor(census)).start().await?;

    for name in ["Ada", "Grace", "Edsger", "", "Barbara"] {
        runtime.publish(UserCreated { name: name.to_owned() }).await?;
    }
    tokio::time::sleep(secs(2)).await;

    let metrics = &runtime.metrics().handlers["census.Census"];
    println!(
        "{} handled, {} failed, {} restarts",
        metrics.processed, metrics.errors, metrics.restarts
    );
    for letter in runtime.dead_letters().all().await? {
        println!(
            "dead letter: {} for {}, {}",
            letter.envelope.name(),
            letter.handler,
            letter.reason
        );
    }
    runtime.stop().await;
    Ok(())
}
