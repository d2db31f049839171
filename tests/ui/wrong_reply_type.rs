//! The reply has the type that the event declares.

use callboard::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
struct CreateUser {
    name: String,
}
impl Event for CreateUser {
    const NAME: &'static str = "user.create";
}

impl Replies for CreateUser {
    type Reply = UserCreated;
}

#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
struct UserCreated {
    id: i64,
}
impl Event for UserCreated {
    const NAME: &'static str = "user.created";
}

async fn example(bus: callboard::Bus) -> Result<CreateUser, callboard::RequestError> {
    bus.request(CreateUser { name: "Ada".into() }).await
}

fn main() {}
