//! Events that bring the rules of their content along: what is not valid does not come in, and all
//! that is wrong is told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::{App, HttpServer};
use callboard::ws::{Ws, WsFault};
use callboard::{
    Domain, Event, EventContext, EventHandler, HandlerResult, Replies, Runtime, settings,
};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::peer::Client;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Validate)]
struct Line {
    #[garde(range(min = 1, max = 9))]
    quantity: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Validate)]
struct PlaceOrder {
    #[garde(length(chars, min = 2))]
    name: String,
    #[garde(dive)]
    lines: Vec<Line>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct OrderPlaced {
    name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Validate)]
struct DropOrder {
    #[garde(range(min = 1))]
    order_id: i64,
}

impl Event for PlaceOrder {
    const NAME: &'static str = "order.place";
}
impl Event for OrderPlaced {
    const NAME: &'static str = "order.placed";
}
impl Event for DropOrder {
    const NAME: &'static str = "order.drop";
}
impl Replies for PlaceOrder {
    type Reply = OrderPlaced;
}

#[derive(Clone)]
struct Place(Arc<AtomicUsize>);

impl EventHandler for Place {
    type Input = PlaceOrder;
    type Output = OrderPlaced;

    async fn handle(&self, order: &PlaceOrder, _: &EventContext) -> HandlerResult<OrderPlaced> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(OrderPlaced { name: order.name.clone() })
    }
}

#[derive(Clone)]
struct Forget(Arc<AtomicUsize>);

impl EventHandler for Forget {
    type Input = DropOrder;
    type Output = ();

    async fn handle(&self, _: &DropOrder, _: &EventContext) -> HandlerResult<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn send(event: &str, payload: &Value) -> Value {
    json!({ "event_type": event, "id": 1, "payload": payload })
}

#[actix_web::test]
async fn what_is_not_valid_is_told_all_at_once() {
    let handled = Arc::new(AtomicUsize::new(0));
    let (place, forget) = (Place(Arc::clone(&handled)), Forget(Arc::clone(&handled)));
    let ws = Ws::new()
        .validate::<PlaceOrder>()
        .request::<PlaceOrder>()
        .publish::<DropOrder>()
        .validate::<DropOrder>();
    let runtime = Runtime::new().mount(Domain::new("order").handler(place).handler(forget));
    let runtime = ws.declare(runtime).unwrap().start().await.unwrap();
    let route = ws.install("/ws", &runtime.bus(), &settings::WsSettings::default());
    let server = HttpServer::new(move || App::new().configure(route.clone()));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let mut client = Client::connect(address).await;

    let order = |name: &str, quantity: i64| json!({ "name": name, "lines": [{ "quantity": 1 }, { "quantity": quantity }] });
    let answer = client.ask(send("order.place", &order("A", 10))).await;
    assert_eq!(answer["error"]["code"], "invalid", "{answer}");
    let errors = answer["error"]["details"]["errors"].as_array().unwrap();
    let fields: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["lines[1].quantity", "name"], "{answer}");
    assert!(errors.iter().all(|error| error["message"] != ""), "{answer}");
    assert_eq!((&answer["id"], &answer["payload"]), (&json!(1), &Value::Null));
    let answer = client.ask(send("order.drop", &json!({ "order_id": 0 }))).await;
    assert_eq!(answer["error"]["details"]["errors"][0]["field"], "order_id", "{answer}");
    // What is of another type is told as before.
    let answer = client.ask(send("order.drop", &json!({ "order_id": "x" }))).await;
    assert_eq!(answer["error"]["details"], json!({ "field": "order_id" }), "{answer}");
    assert_eq!(handled.load(Ordering::Relaxed), 0);

    let answer = client.ask(send("order.place", &order("Ada", 9))).await;
    assert_eq!(answer["payload"], json!({ "name": "Ada" }), "{answer}");
    let answer = client.ask(send("order.drop", &json!({ "order_id": 1 }))).await;
    assert_eq!(answer["error"], Value::Null, "{answer}");
    drop(handle.stop(false));
}

#[test]
fn rules_for_an_event_that_does_not_come_in_are_a_fault() {
    let error = Ws::new().listen::<DropOrder>().validate::<DropOrder>().check().unwrap_err();
    assert_eq!(error.faults, [WsFault::UnusedCheck { event: "order.drop" }]);
}
