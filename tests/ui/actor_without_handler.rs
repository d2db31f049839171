//! An actor cannot subscribe to an event that it does not handle.

use callboard::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
struct CreateUser {
    name: String,
}
impl Event for CreateUser {
    const NAME: &'static str = "user.create";
}

struct Census;

impl actix::Actor for Census {
    type Context = actix::Context<Self>;
}

fn domain() -> Domain {
    Domain::new("user").actor(callboard::Subscriber::new(|| Census).on::<CreateUser, ()>())
}

fn main() {}
