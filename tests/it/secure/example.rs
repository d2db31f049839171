//! The example `secured` as its head comment tells it: with the token that it prints.

use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};

use super::SECRET;
use crate::program::{Program, command};

/// Status and body.
async fn call(
    shop: &Program,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> (u16, Value) {
    let mut request = awc::Client::new().request(method, shop.url(path));
    if let Some(token) = token {
        request = request.insert_header((AUTHORIZATION, format!("Bearer {token}")));
    }
    let sent = if body.is_null() { request.send() } else { request.send_json(&body) };
    let mut response = sent.await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[actix_web::test]
async fn the_secured_shop_does_what_its_head_comment_says() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Program::start("secured", folder.path(), &[("AUTH_SECRET", SECRET)]);
    let bearer = shop.early.iter().find_map(|line| line.strip_prefix("TOKEN=")).unwrap();
    let token = Some(bearer);
    let goods = call(&shop, Method::GET, "/goods/BOOK", None, Value::Null).await;
    assert_eq!(goods, (200, json!({ "sku": "BOOK", "quantity": 12 })));
    let (status, problem) = call(&shop, Method::GET, "/orders", None, Value::Null).await;
    assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")));

    let url = shop.url("/ws");
    let socket = awc::Client::new().ws(url).protocols(["bearer", bearer]);
    let (_, mut socket) = socket.connect().await.unwrap();
    let subscribe = json!({ "subscribe": ["order.placed"] }).to_string();
    socket.send(awc::ws::Message::Text(subscribe.into())).await.unwrap();
    let mut hear = async || loop {
        match socket.next().await.unwrap().unwrap() {
            awc::ws::Frame::Text(text) => break serde_json::from_slice::<Value>(&text).unwrap(),
            awc::ws::Frame::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(hear().await, json!({ "subscribed": ["order.placed"] }));

    let order = json!({ "sku": "BOOK", "quantity": 2, "ordered_by": "me" });
    let (status, placed) = call(&shop, Method::POST, "/orders", token, order).await;
    assert_eq!((status, &placed["ordered_by"]), (201, &json!("ada")));
    assert_eq!(hear().await["payload"], placed);
    let (status, listed) = call(&shop, Method::GET, "/orders", token, Value::Null).await;
    assert_eq!((status, listed), (200, json!({ "orders": [placed] })));
    let stock = json!({ "sku": "BOOK", "quantity": 9 });
    let (status, problem) = call(&shop, Method::PUT, "/stock", token, stock).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    assert_eq!(call(&shop, Method::GET, "/metrics", token, Value::Null).await.0, 200);
    assert_eq!(shop.terminate().code(), Some(0));
}

#[test]
fn without_a_secret_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = command("secured", folder.path(), &[]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("POST /orders") && text.contains("AUTH_SECRET"), "{text}");
}
