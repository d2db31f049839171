//! The example of the README: one event, one handler, one route.

use callboard::AppError;
use callboard::prelude::*;
use callboard::settings::Settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Greet {
    name: String,
}
impl Event for Greet {
    const NAME: &'static str = "hello.greet";
}
impl Replies for Greet {
    type Reply = Greeted;
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Greeted {
    text: String,
}
impl Event for Greeted {
    const NAME: &'static str = "hello.greeted";
}

#[derive(Clone)]
struct Greeter;
impl EventHandler for Greeter {
    type Input = Greet;
    type Output = Greeted;
    async fn handle(&self, event: &Greet, _: &EventContext) -> HandlerResult<Greeted> {
        Ok(Greeted { text: format!("Hello, {}!", event.name) })
    }
}

#[actix_web::main]
async fn main() -> Result<(), AppError> {
    let domain = Domain::new("hello").handler(Greeter);
    let routes = Routes::new().get::<Greet>("/hello/{name}");
    App::new(Settings::load()?).mount(domain).routes(routes).run().await
}
