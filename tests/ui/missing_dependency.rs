//! A handler without its dependency cannot be built.

use callboard::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
struct CreateUser {
    name: String,
}
impl Event for CreateUser {
    const NAME: &'static str = "user.create";
}

#[derive(Clone)]
struct Register {
    bus: callboard::Bus,
}

impl EventHandler for Register {
    type Input = CreateUser;
    type Output = ();

    async fn handle(&self, _: &CreateUser, _: &EventContext) -> HandlerResult<()> {
        Ok(())
    }
}

fn domain() -> Domain {
    Domain::new("user").handler(Register {})
}

fn main() {}
