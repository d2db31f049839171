//! A small shop behind JSON Web Tokens: anybody looks at the goods, who may write orders, who may
//! read sees and hears of them.
//!
//! It verifies tokens by a secret of its own, at least 32 bytes; without one it says what to do:
//!
//! ```sh
//! AUTH_SECRET=$(head -c 32 /dev/urandom | base64) cargo run --example secured
//! ```
//!
//! It prints a line `TOKEN=…` for trying, of a token that is valid for 30 min. Paste that line into
//! another terminal, then:
//!
//! ```sh
//! curl -s localhost:8000/goods/BOOK
//! curl -s localhost:8000/orders
//! curl -s localhost:8000/orders -H "authorization: Bearer $TOKEN"
//! curl -s localhost:8000/orders -H "authorization: Bearer $TOKEN" \
//!     -H 'content-type: application/json' -d '{"sku":"BOOK","quantity":2,"ordered_by":"me"}'
//! curl -s localhost:8000/stock -X PUT -H "authorization: Bearer $TOKEN" \
//!     -H 'content-type: application/json' -d '{"sku":"BOOK","quantity":9}'
//! curl -s localhost:8000/metrics -H "authorization: Bearer $TOKEN"
//! ```
//!
//! The second one is refused with 401, the one about the stock with 403: the token lacks that
//! permission. In the console of a browser on a page of <http://localhost:8000>, with the token:
//!
//! ```js
//! socket = new WebSocket("ws://localhost:8000/ws", ["bearer", token]);
//! socket.onmessage = message => console.log(message.data);
//! socket.onopen = () => socket.send('{"subscribe":["order.placed"]}');
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use callboard::auth::JwtIssuer;
use callboard::http::Route;
use callboard::prelude::*;
use callboard::settings::Settings;
use callboard::ws::{Permit, Ws};
use parking_lot::Mutex;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct FindGoods {
    sku: String,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct SetStock {
    sku: String,
    quantity: u32,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct GoodsFound {
    sku: String,
    quantity: u32,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct PlaceOrder {
    sku: String,
    quantity: u32,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct OrderPlaced {
    sku: String,
    quantity: u32,
    /// From the token, whatever the client wrote.
    ordered_by: String,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct ListOrders {}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct OrdersListed {
    orders: Vec<OrderPlaced>,
}

impl Event for FindGoods {
    const NAME: &'static str = "goods.find";
}
impl Event for SetStock {
    const NAME: &'static str = "goods.restock";
}
impl Event for GoodsFound {
    const NAME: &'static str = "goods.found";
}
impl Event for PlaceOrder {
    const NAME: &'static str = "order.place";
}
impl Event for OrderPlaced {
    const NAME: &'static str = "order.placed";
}
impl Event for ListOrders {
    const NAME: &'static str = "order.list";
}
impl Event for OrdersListed {
    const NAME: &'static str = "order.listed";
}

impl Replies for FindGoods {
    type Reply = GoodsFound;
}
impl Replies for SetStock {
    type Reply = GoodsFound;
}
impl Replies for PlaceOrder {
    type Reply = OrderPlaced;
}
impl Replies for ListOrders {
    type Reply = OrdersListed;
}

/// What there is, by name.
type Stock = Arc<Mutex<HashMap<String, u32>>>;

#[derive(Clone)]
struct Find(Stock);

impl EventHandler for Find {
    type Input = FindGoods;
    type Output = GoodsFound;

    async fn handle(&self, wanted: &FindGoods, _: &EventContext) -> HandlerResult<GoodsFound> {
        let quantity = self.0.lock().get(&wanted.sku).copied();
        let quantity = quantity.ok_or_else(|| HandlerError::not_found("no such goods"))?;
        Ok(GoodsFound { sku: wanted.sku.clone(), quantity })
    }
}

#[derive(Clone)]
struct Restock(Stock);

impl EventHandler for Restock {
    type Input = SetStock;
    type Output = GoodsFound;

    async fn handle(&self, stock: &SetStock, _: &EventContext) -> HandlerResult<GoodsFound> {
        let SetStock { sku, quantity } = stock.clone();
        self.0.lock().insert(sku.clone(), quantity);
        Ok(GoodsFound { sku, quantity })
    }
}

#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<OrderPlaced>>>);

#[derive(Clone)]
struct Place(Ledger);

impl EventHandler for Place {
    type Input = PlaceOrder;
    type Output = OrderPlaced;

    async fn handle(&self, order: &PlaceOrder, ctx: &EventContext) -> HandlerResult<OrderPlaced> {
        // The route lets nobody in whom nobody knows; the program itself may publish without.
        let ordered_by = ctx.identity().ok_or_else(|| HandlerError::unauthorized("who orders?"))?;
        let PlaceOrder { sku, quantity } = order.clone();
        let placed = OrderPlaced { sku, quantity, ordered_by: ordered_by.subject.clone() };
        self.0.0.lock().push(placed.clone());
        Ok(placed)
    }
}

#[derive(Clone)]
struct List(Ledger);

impl EventHandler for List {
    type Input = ListOrders;
    type Output = OrdersListed;

    async fn handle(&self, _: &ListOrders, _: &EventContext) -> HandlerResult<OrdersListed> {
        Ok(OrdersListed { orders: self.0.0.lock().clone() })
    }
}

fn routes() -> Routes {
    Routes::new()
        .route(Route::get::<FindGoods>("/goods/{sku}").public())
        .route(Route::put::<SetStock>("/stock").permissions_all(["stock.write"]))
        .route(Route::post::<PlaceOrder>("/orders").status(201).permissions_all(["orders.write"]))
        .route(Route::get::<ListOrders>("/orders").permissions_any(["orders.read", "orders.admin"]))
}

/// Prints a token for trying; elsewhere whoever knows the users issues them.
fn print_token(settings: &Settings) -> Result<(), Box<dyn Error>> {
    if let Some(secret) = &settings.auth.secret {
        let issuer = JwtIssuer::hs256(secret.expose_secret())?;
        let token = issuer.token("ada").permissions(["orders.read", "orders.write"]).sign()?;
        eprintln!("TOKEN={token}");
    }
    Ok(())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::load()?;
    print_token(&settings)?;
    let stock = Stock::new(Mutex::new(HashMap::from([("BOOK".to_owned(), 12)])));
    let ledger = Ledger::default();
    let goods = Domain::new("goods").handler(Find(Arc::clone(&stock))).handler(Restock(stock));
    let orders = Domain::new("order").handler(Place(ledger.clone())).handler(List(ledger));
    let reading = Permit::listen::<OrderPlaced>().permissions_all(["orders.read"]);
    App::new(settings)
        .mount(goods)
        .mount(orders)
        .routes(routes())
        .ws("/ws", Ws::new().permit(reading))
        .run()
        .await?;
    Ok(())
}
