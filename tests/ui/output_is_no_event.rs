//! A handler cannot return what is no event.

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
struct Register;

impl EventHandler for Register {
    type Input = CreateUser;
    type Output = String;

    async fn handle(&self, event: &CreateUser, _: &EventContext) -> HandlerResult<String> {
        Ok(event.name.clone())
    }
}

fn main() {}
