//! Events that bring the rules of their content along: what is not valid enters by no route, and all
//! that is wrong is told at once.

use callboard::http::{Info, RouteFault, Routes};
use callboard::{Domain, Event, Replies};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Server, answer, by, events};

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

impl Event for PlaceOrder {
    const NAME: &'static str = "order.place";
}
impl Replies for PlaceOrder {
    type Reply = OrderPlaced;
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Validate)]
struct DropOrder {
    #[garde(range(min = 1))]
    order_id: i64,
}

impl Event for DropOrder {
    const NAME: &'static str = "order.drop";
}

events! {
    "order.placed" => OrderPlaced { name: String };
}

fn routes() -> Routes {
    Routes::new()
        .validate::<PlaceOrder>()
        .post::<PlaceOrder>("/orders")
        .put::<PlaceOrder>("/orders/{name}")
        .publish::<DropOrder>("/dropped")
        .merge(Routes::new().publish::<DropOrder>("/drops/{order_id}").validate::<DropOrder>())
}

#[actix_web::test]
async fn what_is_not_valid_is_told_all_at_once() {
    let domain = Domain::new("order")
        .handler(answer(|order: PlaceOrder| Ok(OrderPlaced { name: order.name })))
        .handler(by(|_: DropOrder, _| async { Ok(()) }));
    let server = Server::start(domain, routes()).await;
    let order = |name: &str, quantity: i64| json!({ "name": name, "lines": [{ "quantity": 1 }, { "quantity": quantity }] });
    assert_eq!(server.post("/orders", &order("Ada", 9)).await.status, 200);
    let problem = server.post("/orders", &order("A", 10)).await.problem(422, "invalid");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().collect();
    let named: Vec<_> = fields.iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(named, ["lines[1].quantity", "name"], "{problem}");
    assert!(fields.iter().all(|error| error["message"] != ""), "{problem}");
    let (field, _) = server.post("/drops/0", &json!({})).await.wrong_field();
    assert_eq!(field, "order_id");
    let (field, _) = server.post("/dropped", &json!({ "order_id": 0 })).await.wrong_field();
    assert_eq!(field, "order_id");
    assert_eq!(server.post("/dropped", &json!({ "order_id": 1 })).await.status, 202);
}

#[test]
fn the_rules_are_described() {
    let document = routes().openapi(&Info::default());
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["PlaceOrder"]["properties"]["name"]["minLength"], 2);
    assert_eq!(schemas["Line"]["properties"]["quantity"]["maximum"], 9);
}

#[test]
fn rules_for_an_event_without_a_route_are_a_fault() {
    let faults = Routes::new().validate::<DropOrder>().faults();
    assert_eq!(faults, [RouteFault::UnusedCheck { event: "order.drop" }]);
}
