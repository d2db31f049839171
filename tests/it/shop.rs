//! The demonstration application as a stranger meets it: over HTTP and WebSocket, and after a crash.

use std::pin::pin;
use std::time::{Duration, Instant};

use awc::ws::{Frame, Message};
use futures_util::future::{Either, select};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::Program;

fn start(folder: &TempDir) -> Program {
    Program::start("shop", folder.path(), &[("LOG_LEVEL", "info")])
}

async fn with_ada(folder: &TempDir) -> (Program, i64) {
    let shop = start(folder);
    let (status, ada) = shop.post("/users", json!({ "name": "Ada", "email": "ada@x.org" })).await;
    assert_eq!(status, 201, "{ada}");
    let id = ada["id"].as_i64().unwrap();
    (shop, id)
}

fn order(user_id: i64, sku: &str, quantity: i64) -> Value {
    json!({ "user_id": user_id, "items": [{ "sku": sku, "quantity": quantity }] })
}

async fn available(shop: &Program, sku: &str) -> i64 {
    let (status, stock) = shop.get(&format!("/stock/{sku}")).await;
    assert_eq!(status, 200, "{stock}");
    stock["available"].as_i64().unwrap()
}

#[actix_web::test]
async fn users_are_created_read_changed_listed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, id) = with_ada(&folder).await;
    let path = format!("/users/{id}");
    let (status, ada) = shop.get(&path).await;
    assert_eq!((status, ada["name"].as_str()), (200, Some("Ada")));
    assert!(ada["created_at"].as_str().unwrap().contains('T'), "{ada}");
    let taken = json!({ "name": "Other", "email": "ada@x.org" });
    let (status, problem) = shop.post("/users", taken).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("email_taken")), "{problem}");
    let (status, problem) = shop.post("/users", json!({ "name": "", "email": "e@x.org" })).await;
    assert_eq!(status, 422, "{problem}");
    let change = json!({ "name": "Countess", "email": "ada@x.org" });
    let (status, changed) = shop.call("PUT", &path, change).await;
    assert_eq!((status, changed["name"].as_str()), (200, Some("Countess")), "{changed}");
    let (status, all) = shop.get("/users").await;
    assert_eq!((status, all.as_array().unwrap().len()), (200, 1));
    let (status, nothing) = shop.call("DELETE", &path, Value::Null).await;
    assert_eq!((status, nothing), (204, Value::Null));
    assert_eq!(shop.get(&path).await.0, 404);
    assert_eq!(shop.get("/users/x").await.0, 422);
}

#[actix_web::test]
async fn an_order_goes_through_four_links_and_comes_back_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, ada) = with_ada(&folder).await;
    let items = json!([{ "sku": "BOOK", "quantity": 2 }, { "sku": "MUG", "quantity": 1 }]);
    let (status, confirmed) = shop.post("/orders", json!({ "user_id": ada, "items": items })).await;
    assert_eq!((status, confirmed["status"].as_str()), (201, Some("confirmed")), "{confirmed}");
    assert_eq!(confirmed["total"], 2 * 1500 + 800);
    assert_eq!(available(&shop, "BOOK").await, 99_998);
    let (status, found) = shop.get(&format!("/orders/{}", confirmed["order_id"])).await;
    assert_eq!((status, &found["total"]), (200, &confirmed["total"]));
    let (_, events) = shop.get("/events?n=20&type=payment.charged").await;
    let trace = events[0]["trace_id"].as_str().unwrap().to_owned();
    let (_, chain) = shop.get(&format!("/events?trace={trace}")).await;
    let names: Vec<_> = chain.as_array().unwrap().iter().map(|e| e["event_type"].clone()).collect();
    for link in ["order.place", "order.placed", "stock.reserved", "payment.charged"] {
        assert!(names.contains(&json!(link)), "{link} is missing in {names:?}");
    }
}

#[actix_web::test]
async fn refused_orders_leave_no_trace_in_the_stock() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, ada) = with_ada(&folder).await;
    let mixed = json!([{ "sku": "BOOK", "quantity": 1 }, { "sku": "MUG", "quantity": 11 }]);
    let (status, problem) = shop.post("/orders", json!({ "user_id": ada, "items": mixed })).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("out_of_stock")), "{problem}");
    let declined = json!([{ "sku": "BOOK", "quantity": 1 }, { "sku": "DECLINE", "quantity": 1 }]);
    let (status, problem) =
        shop.post("/orders", json!({ "user_id": ada, "items": declined })).await;
    assert_eq!((status, problem["code"].as_str()), (402, Some("payment_declined")), "{problem}");
    assert_eq!(available(&shop, "BOOK").await, 100_000);
    assert_eq!(available(&shop, "DECLINE").await, 100);
    assert_eq!(shop.post("/orders", order(ada + 1, "BOOK", 1)).await.0, 404);
    assert_eq!(shop.post("/orders", order(ada, "NOTHING", 1)).await.0, 404);
    assert_eq!(shop.post("/orders", order(ada, "BOOK", 0)).await.0, 422);
    assert_eq!(shop.post("/orders", json!({ "user_id": ada })).await.0, 422);
    assert_eq!(available(&shop, "MUG").await, 10);
}

#[actix_web::test]
async fn after_kill_nothing_that_was_answered_is_lost_and_nothing_stays_reserved() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, ada) = with_ada(&folder).await;
    let mut answered: Vec<i64> = Vec::new();
    for round in 0..3_u64 {
        let shop_now = if round == 0 { None } else { Some(start(&folder)) };
        let shop = shop_now.as_ref().unwrap_or(&shop);
        let orders = futures_util::stream::iter(0..400)
            .map(|_| shop.try_call("POST", "/orders", order(ada, "BOOK", 1)))
            .buffer_unordered(8);
        let mut orders = pin!(orders);
        let mut in_this_round = 0;
        while let Some(Ok((status, confirmed))) = orders.next().await {
            assert_eq!(status, 201, "{confirmed}");
            answered.push(confirmed["order_id"].as_i64().unwrap());
            in_this_round += 1;
            // Eight more are at some point of their chain just now.
            if in_this_round == 20 + 7 * round {
                break;
            }
        }
        shop.kill();
    }
    let shop = start(&folder);
    for id in &answered {
        let (status, order) = shop.get(&format!("/orders/{id}")).await;
        assert_eq!((status, order["status"].as_str()), (200, Some("confirmed")), "{order}");
    }
    // Each order that exists is final, and the stock knows of the confirmed ones only.
    let last = answered.iter().max().unwrap() + 40;
    let mut confirmed = 0;
    for id in 1..=last {
        let (status, order) = shop.get(&format!("/orders/{id}")).await;
        if status == 200 {
            assert_ne!(order["status"], "placed", "{order}");
            confirmed += i64::from(order["status"] == "confirmed");
        }
    }
    assert!(confirmed >= i64::try_from(answered.len()).unwrap());
    assert_eq!(available(&shop, "BOOK").await, 100_000 - confirmed);
}

#[actix_web::test]
async fn a_long_quote_leaves_the_server_responsive() {
    let folder = tempfile::tempdir().unwrap();
    let shop = start(&folder);
    let mut quote = pin!(shop.post("/quotes", json!({ "complexity": 28 })));
    let mut answers = 0;
    let (status, quote) = loop {
        let others = pin!(async {
            assert_eq!(shop.get("/health").await.0, 200);
            available(&shop, "BOOK").await
        });
        match select(quote.as_mut(), others).await {
            Either::Left((answer, _)) => break answer,
            Either::Right(_) => answers += 1,
        }
    };
    assert_eq!((status, quote["complexity"].as_i64()), (200, Some(28)), "{quote}");
    assert!(answers > 3, "only {answers} answers before the quote was computed");
    assert_eq!(shop.post("/quotes", json!({ "complexity": 41 })).await.0, 422);
    assert_eq!(shop.post("/quotes", json!({ "complexity": "much" })).await.0, 422);
}

#[actix_web::test]
async fn the_sweep_shows_up_in_the_event_log() {
    let folder = tempfile::tempdir().unwrap();
    let shop = start(&folder);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, events) = shop.get("/events?type=order.sweep").await;
        assert_eq!(status, 200);
        if !events.as_array().unwrap().is_empty() {
            assert_eq!(events[0]["source"], "scheduler");
            break;
        }
        assert!(Instant::now() < deadline, "no sweep within 30 s");
        actix_web::rt::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A chat client.
struct Client(actix_codec::Framed<awc::BoxedSocket, awc::ws::Codec>);

impl Client {
    async fn connect(shop: &Program) -> Self {
        let (_, framed) = awc::Client::new().ws(shop.url("/ws")).connect().await.unwrap();
        Self(framed)
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(Message::Text(frame.to_string().into())).await.unwrap();
    }

    /// The next text frame.
    async fn next(&mut self) -> Value {
        loop {
            let frame = actix_web::rt::time::timeout(Duration::from_secs(20), self.0.next());
            match frame.await.expect("a frame in time").expect("an open connection").unwrap() {
                Frame::Text(text) => return serde_json::from_slice(&text).unwrap(),
                Frame::Ping(_) | Frame::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    async fn ask(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        self.next().await
    }
}

#[actix_web::test]
async fn chat_reaches_who_subscribed_and_joined_and_orders_can_be_watched_not_forged() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, ada) = with_ada(&folder).await;
    let (mut one, mut two, mut outside) =
        (Client::connect(&shop).await, Client::connect(&shop).await, Client::connect(&shop).await);
    for client in [&mut one, &mut two, &mut outside] {
        let acknowledged = client.ask(json!({ "subscribe": ["chat.sent"] })).await;
        assert_eq!(acknowledged, json!({ "subscribed": ["chat.sent"] }));
    }
    for client in [&mut one, &mut two] {
        assert_eq!(client.ask(json!({ "join": "lobby" })).await, json!({ "joined": "lobby" }));
    }
    let forged = json!({ "event_type": "order.confirmed", "payload": {}, "id": 1 });
    let refused = outside.ask(forged).await;
    assert_eq!(refused["error"]["code"], "not_permitted", "{refused}");
    let text = json!({ "room": "lobby", "text": "hi", "user_id": "admin" });
    one.send(json!({ "event_type": "chat.send", "payload": text })).await;
    for client in [&mut one, &mut two] {
        let heard = client.next().await;
        assert_eq!(heard["event_type"], "chat.sent", "{heard}");
        assert_eq!((&heard["payload"]["text"], &heard["error"]), (&json!("hi"), &Value::Null));
    }
    // The next thing that the one outside hears is the order, not the chat.
    outside.ask(json!({ "subscribe": ["order.confirmed"] })).await;
    assert_eq!(shop.post("/orders", order(ada, "BOOK", 1)).await.0, 201);
    let watched = outside.next().await;
    assert_eq!(watched["event_type"], "order.confirmed", "{watched}");
}

#[actix_web::test]
async fn an_order_with_a_key_is_placed_once_even_over_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, ada) = with_ada(&folder).await;
    let place = async |shop: &Program| {
        let request = awc::Client::new().post(shop.url("/orders"));
        let request = request.insert_header(("idempotency-key", "8e03978e-40d5-43e8-bc93"));
        let mut answer = request.send_json(&order(ada, "BOOK", 1)).await.unwrap();
        (answer.status().as_u16(), answer.body().await.unwrap())
    };
    let before = available(&shop, "BOOK").await;
    let first = place(&shop).await;
    assert_eq!(first.0, 201, "{first:?}");
    drop(shop);
    let shop = start(&folder);
    assert_eq!(place(&shop).await, first);
    assert_eq!(available(&shop, "BOOK").await, before - 1);
}

#[actix_web::test]
async fn orders_are_streamed_to_who_listens() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, ada) = with_ada(&folder).await;
    let streaming = awc::Client::new().get(shop.url("/events/stream")).send();
    let mut stream = streaming.await.unwrap();
    let (status, placed) = shop.post("/orders", order(ada, "BOOK", 1)).await;
    assert_eq!(status, 201, "{placed}");
    let mut text = String::new();
    for name in ["event: order.placed\n", "event: order.confirmed\n"] {
        while !text.contains(name) {
            let chunk = stream.next().await.expect("the stream goes on").unwrap();
            text += str::from_utf8(&chunk).unwrap();
        }
    }
    drop(stream);
    assert!(shop.terminate().success());
}
