//! callboard inside an actix-web server that exists already: its own routes stay as they are, and
//! event routes stand beside them.
//!
//! Run it with `cargo run --example embed_actix_web`, then try `/legacy` and `/greetings/Ada` on
//! port 8001 (or the one in `PORT`).

use actix_web::{App, HttpServer, Responder, get, web};
use callboard::prelude::{
    Domain, Event, EventContext, EventHandler, HandlerError, HandlerResult, Replies, Routes,
};
use callboard::{Bus, Runtime, http};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Greet {
    name: String,
}

impl Event for Greet {
    const NAME: &'static str = "greeting.compose";
}

impl Replies for Greet {
    type Reply = Greeting;
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Greeting {
    text: String,
}

impl Event for Greeting {
    const NAME: &'static str = "greeting.composed";
}

#[derive(Clone)]
struct Composer {
    salutation: String,
}

impl EventHandler for Composer {
    type Input = Greet;
    type Output = Greeting;

    async fn handle(&self, event: &Greet, _: &EventContext) -> HandlerResult<Greeting> {
        if event.name.eq_ignore_ascii_case("nobody") {
            return Err(HandlerError::not_found("nobody is not somebody"));
        }
        Ok(Greeting { text: format!("{}, {}!", self.salutation, event.name) })
    }
}

/// A route of the server as it was; it may use the bus like any other dependency.
#[get("/legacy")]
async fn legacy(bus: web::Data<Bus>) -> impl Responder {
    match bus.request(Greet { name: "old friend".to_owned() }).await {
        Ok(greeting) => greeting.text,
        Err(error) => format!("no greeting today: {}", error.code()),
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let composer = Composer { salutation: "Good day".to_owned() };
    let routes = Routes::new().get::<Greet>("/greetings/{name}");
    let builder = Runtime::new().mount(Domain::new("greeting").handler(composer));
    let runtime = routes.declare(builder).start().await?;

    let api = routes.install(runtime.bus());
    let operations = http::operations(runtime.bus());
    let bus = web::Data::new(runtime.bus());
    let port = std::env::var("PORT").map_or(Ok(8001), |port| port.parse())?;
    let joining = runtime.clone();
    HttpServer::new(move || {
        // Each worker answers for itself what its clients ask for.
        joining.join_thread();
        App::new()
            .app_data(bus.clone())
            .service(legacy)
            .configure(operations.clone())
            .configure(api.clone())
    })
    .workers(1)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    runtime.stop().await;
    Ok(())
}
