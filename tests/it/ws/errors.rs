//! What clients are told when something goes wrong, and that they can go on.

use awc::ws::Message;
use callboard::Overflow;
use serde_json::{Value, json};

use super::peer::{CONTINUATION, FIN, TEXT, code};
use super::server::{find, serve, serve_overflowing, settings};

#[actix_web::test]
async fn an_error_reaches_who_made_it_and_the_session_goes_on() {
    let server = serve().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    for text in [
        "",
        "{",
        "no json",
        "[]",
        "7",
        "null",
        "{}",
        r#"{"event_type":{}}"#,
        r#"{"user_id":"admin"}"#,
    ] {
        client.send_text(text.to_owned()).await;
        let answer = client.next().await;
        assert_eq!((code(&answer), &answer["event_type"]), ("malformed", &Value::Null), "{text}");
    }
    let mut frame = find("Ada", "x");
    frame["payload"] = json!({"name": "Ada", "age": "old"});
    let answer = client.ask(frame.clone()).await;
    assert_eq!((code(&answer), &answer["id"]), ("invalid", &json!("x")));
    assert_eq!(answer["error"]["details"], json!({"field": "age"}));
    assert!(answer["error"]["message"].as_str().unwrap().contains("`age`"));
    frame["payload"] = json!({"age": 7});
    let answer = client.ask(frame).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("`name`"), "{answer}");
    let frame = json!({"event_type": "chat.say", "payload": {"room": 1}});
    assert_eq!(client.refusal(frame).await, "invalid");
    let mut answer = client.ask(find("nobody", 3)).await;
    assert_eq!(answer["trace_id"].take().as_str().map(str::len), Some(32));
    let error = json!({
        "code": "no_such_user", "message": "nobody is called so", "details": {"tried": 3},
    });
    let expected = json!({
        "event_type": "user.find", "payload": null, "id": 3, "trace_id": null, "error": error,
    });
    assert_eq!(answer, expected);
    client.assert_alive().await;
    other.assert_alive().await;
}

#[actix_web::test]
async fn the_text_of_an_internal_error_stays_inside() {
    let server = serve().await;
    let mut client = server.client().await;
    for (name, expected) in [("broken", "handler_error"), ("panic", "panic")] {
        let answer = client.ask(find(name, 1)).await;
        assert_eq!(code(&answer), expected);
        for secret in ["hunter2", "Finder", "user.Finder"] {
            assert!(!answer.to_string().contains(secret), "{answer}");
        }
    }
    assert_eq!(client.ask(find("Ada", 1)).await["payload"]["name"], "Ada");
}

#[actix_web::test]
async fn a_full_queue_that_refuses_is_told_to_the_client() {
    let server = serve_overflowing(settings(), Overflow::Reject).await;
    let mut client = server.client().await;
    let put = |id| json!({"event_type": "store.put", "payload": {"n": 1}, "id": id});
    // One in work, one in the queue; then there is no room.
    let mut refused = None;
    for id in 1..=3 {
        let answer = client.ask(put(id)).await;
        if answer["error"] != Value::Null {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("the queue has room for one event");
    assert_eq!(code(&refused), "full");
    assert!(!refused.to_string().contains("Keeper"), "{refused}");
    server.release.add_permits(3);
}

#[actix_web::test]
async fn binary_frames_are_refused() {
    let server = serve().await;
    let mut client = server.client().await;
    client.put(Message::Binary("{}".into())).await;
    assert_eq!(code(&client.next().await), "unsupported");
    client.assert_alive().await;
    let mut raw = server.raw().await;
    raw.frame(0x2, b"{").await;
    raw.frame(FIN | CONTINUATION, b"}").await;
    assert_eq!(code(&raw.next_json().await), "unsupported");
}

#[actix_web::test]
async fn two_hundred_malformed_frames_leave_the_server_answering() {
    let server = serve().await;
    let mut client = server.client().await;
    for n in 0..200 {
        client.send_text(format!("{{{n}")).await;
        assert_eq!(code(&client.next().await), "malformed");
    }
    client.assert_alive().await;
    for n in 0..50_u8 {
        let mut raw = server.raw().await;
        raw.bytes(&[n.wrapping_mul(37); 64]).await;
        drop(raw);
    }
    client.assert_alive().await;
    server.client().await.assert_alive().await;
    server.sessions(1).await;
}

#[actix_web::test]
async fn a_session_that_panics_takes_its_connection_with_it_and_nothing_else() {
    let server = serve().await;
    let (mut client, mut other) = (server.raw().await, server.client().await);
    client.frame(FIN | TEXT, br#"{"event_type":"curse.cast"}"#).await;
    client.end().await;
    server.sessions(1).await;
    other.assert_alive().await;
}
