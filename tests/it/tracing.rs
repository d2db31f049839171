//! Spans and log lines of a whole application, each in a process of its own: a process has one
//! subscriber. Here: that process, and the application that is traced.

use std::any::type_name;
use std::env;
use std::future::Future;
use std::process::Command;
use std::time::Duration;

use callboard::client::HttpClient;
use callboard::http::{Route, Routes};
use callboard::prelude::*;
use callboard::settings::Settings;
use callboard::ws::Ws;
use callboard::{Delivery, Running, Subscriber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod failures;
mod lines;
#[cfg(feature = "otel")]
mod spans;
#[cfg(all(feature = "otel", feature = "tls"))]
mod tls;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

const IN_CHILD: &str = "CALLBOARD_TEST_TRACING";

/// A place in a trace, as a client says it.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
#[cfg(feature = "otel")]
const CALLER: &str = "b7ad6b7169203331";

/// Runs the test once more in a process of its own, where it does `check`; gives what that process
/// wrote to standard error, or nothing in the process itself.
fn in_process<F: Fn() -> D, D: Future<Output = ()>>(check: F) -> Option<String> {
    if env::var_os(IN_CHILD).is_some() {
        actix_web::rt::System::new().block_on(async {
            timeout(PATIENCE * 2, check()).await.expect("a test does not take so long");
        });
        return None;
    }
    // `crate::module::test::{{closure}}`, of which the harness calls `module::test` the test.
    let (_, test) = type_name::<F>().split_once("::").unwrap();
    let test = test.trim_end_matches("::{{closure}}");
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", test]).env(IN_CHILD, "1").output().unwrap();
    let (told, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && told.contains("1 passed"), "{told}{log}");
    Some(log)
}

/// Waits until something holds that no signal tells of.
#[cfg(feature = "otel")]
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

macro_rules! events {
    ($($name:literal => $event:ident $fields:tt;)*) => {$(
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        struct $event $fields
        impl Event for $event {
            const NAME: &'static str = $name;
        }
    )*};
}

events! {
    "order.place" => PlaceOrder { sku: String, price_url: Option<String> };
    "order.placed" => OrderPlaced { sku: String };
    "parcel.pack" => Pack { sku: String };
}

impl Replies for PlaceOrder {
    type Reply = OrderPlaced;
}

/// Asks for the price, in a span of its own, and places the order; some orders it cannot place.
#[derive(Clone)]
struct Placer {
    client: HttpClient,
}

impl EventHandler for Placer {
    type Input = PlaceOrder;
    type Output = OrderPlaced;

    async fn handle(&self, event: &PlaceOrder, ctx: &EventContext) -> HandlerResult<OrderPlaced> {
        tracing::info!(sku = event.sku, "placing");
        match &*event.sku {
            "lost" => return Err(HandlerError::retry("the shelf fell down")),
            "none" => return Err(HandlerError::reject("there is no such thing")),
            "slow" => std::future::pending().await,
            "panic" => panic!("the shelf is on fire"),
            _ => {}
        }
        if let Some(url) = &event.price_url {
            let call = self.client.get(url).context(ctx).send();
            tracing::Instrument::instrument(call, tracing::info_span!("price", currency = "EUR"))
                .await?;
        }
        Ok(OrderPlaced { sku: event.sku.clone() })
    }

    fn policy(&self) -> Policy {
        let policy = Policy::default().attempts_max(2).timeout(callboard::millis(200));
        policy.retry_delay(callboard::millis(1), callboard::millis(1))
    }
}

/// An actor that hears of placed orders and has them packed.
struct Shipper;

impl actix::Actor for Shipper {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Delivery<OrderPlaced, Vec<Pack>>> for Shipper {
    type Result = HandlerResult<Vec<Pack>>;

    fn handle(
        &mut self,
        placed: Delivery<OrderPlaced, Vec<Pack>>,
        _: &mut Self::Context,
    ) -> Self::Result {
        Ok(vec![Pack { sku: placed.sku.clone() }])
    }
}

/// Packs on a thread of its own.
#[derive(Clone)]
struct Packer;

impl EventHandler for Packer {
    type Input = Pack;
    type Output = ();

    async fn handle(&self, _: &Pack, _: &EventContext) -> HandlerResult<()> {
        Ok(())
    }

    fn policy(&self) -> Policy {
        Policy::default().blocking(1)
    }
}

/// The application, with these settings beside a free port.
async fn start(vars: &[(&str, &str)]) -> Running {
    let vars = vars.iter().copied().chain([("SERVER_PORT", "0")]);
    let client = HttpClient::new(callboard::client::ClientOptions::default()).unwrap();
    let shipping = Domain::new("parcel")
        .actor(Subscriber::new(|| Shipper).on::<OrderPlaced, Vec<Pack>>())
        .handler(Packer);
    App::new(Settings::from_vars(vars).unwrap())
        .mount(Domain::new("order").handler(Placer { client }))
        .mount(shipping)
        .routes(Routes::new().route(Route::post::<PlaceOrder>("/orders/{sku}")))
        .ws("/ws", Ws::new().request::<PlaceOrder>())
        .start()
        .await
        .unwrap()
}

/// Places an order over HTTP; the status.
async fn order(app: &Running, sku: &str, headers: &[(&str, &str)], price_url: Option<&str>) -> u16 {
    let url = format!("http://{}/orders/{sku}", app.addresses()[0]);
    let client = awc::Client::builder().timeout(PATIENCE).finish();
    let request = client.post(url);
    let with = |request: awc::ClientRequest, header: &(&str, &str)| request.append_header(*header);
    let request = headers.iter().fold(request, with);
    let body = serde_json::json!({ "price_url": price_url });
    request.send_json(&body).await.unwrap().status().as_u16()
}
