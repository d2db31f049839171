//! An event without a reply cannot be requested.

use callboard::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
struct CreateUser {
    name: String,
}
impl Event for CreateUser {
    const NAME: &'static str = "user.create";
}

async fn example(bus: callboard::Bus) {
    let _ = bus.request(CreateUser { name: "Ada".into() });
}

fn main() {}
