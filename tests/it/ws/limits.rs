//! Limits on frames, sessions and what is in flight.

use callboard::millis;
use serde_json::json;

use super::peer::{self, CONTINUATION, FIN, PING, PONG, TEXT, code};
use super::server::{find, serve, serve_with, settings};

#[actix_web::test]
async fn a_message_over_the_limit_closes_with_1009() {
    let mut small = settings();
    small.frame_max = 1000;
    let server = serve_with(small).await;
    let text = |len: usize| {
        let frame = find("", 1).to_string();
        frame.replace(r#""name":"""#, &format!(r#""name":"{}""#, "x".repeat(len - frame.len())))
    };
    let mut client = server.client().await;
    client.send_text(text(1000)).await;
    assert_eq!(client.next().await["event_type"], "user.found");
    client.send_text(text(1001)).await;
    assert_eq!(client.close_code().await, 1009);

    // Announced is enough: nobody waits for a gigabyte, nor keeps it.
    for len in [1001, 70_000, 1 << 30, u64::MAX] {
        let mut raw = server.raw().await;
        raw.bytes(&peer::header(FIN | TEXT, len)).await;
        raw.bytes(&[0; 4]).await;
        assert_eq!(raw.close_code().await, 1009, "{len}");
        raw.end().await;
    }

    let mut raw = server.raw().await;
    raw.frame(TEXT, &[b' '; 600]).await;
    raw.frame(FIN | CONTINUATION, &[b' '; 600]).await;
    assert_eq!(raw.close_code().await, 1009);

    let mut raw = server.raw().await;
    raw.frame(TEXT, b"").await;
    let empty = peer::masked(CONTINUATION, b"");
    raw.bytes(&empty.repeat(2000)).await;
    assert_eq!(raw.close_code().await, 1009);
}

#[actix_web::test]
async fn a_frame_limit_above_that_of_the_crate_is_kept() {
    let mut large = settings();
    large.frame_max = 300_000;
    let server = serve_with(large).await;
    let mut client = server.client().await;
    let answer = client.ask(json!({"leave": "x", "ignored": "y".repeat(200_000)})).await;
    assert_eq!(answer, json!({"left": "x"}));
}

#[actix_web::test]
async fn fragments_become_one_message() {
    let server = serve().await;
    let mut raw = server.raw().await;
    let text = find("Zoë", 1).to_string();
    let split = text.find('ë').unwrap() + 1;
    raw.frame(TEXT, &text.as_bytes()[..7]).await;
    raw.frame(FIN | PING, b"hi").await;
    raw.frame(CONTINUATION, &text.as_bytes()[7..split]).await;
    raw.frame(FIN | CONTINUATION, &text.as_bytes()[split..]).await;
    assert_eq!(raw.next_of(PONG).await, b"hi");
    assert_eq!(raw.next_json().await["payload"]["name"], "Zoë");
}

#[actix_web::test]
async fn many_frames_in_one_packet_are_answered_in_order() {
    let server = serve().await;
    let mut raw = server.raw().await;
    let frame = |n| peer::masked(FIN | TEXT, format!(r#"{{"leave":"{n}"}}"#).as_bytes());
    raw.bytes(&(0..5000).flat_map(frame).collect::<Vec<_>>()).await;
    for n in 0..5000 {
        assert_eq!(raw.next_json().await, json!({"left": n.to_string()}));
    }
}

#[actix_web::test]
async fn a_breach_of_the_protocol_closes() {
    let server = serve().await;
    let unmasked = [FIN | TEXT, 2, b'{', b'}'];
    let reserved = peer::masked(FIN | 0x40 | TEXT, b"{}");
    let opcode = peer::masked(FIN | 0x3, b"{}");
    let no_start = peer::masked(FIN | CONTINUATION, b"{}");
    let long_ping = peer::masked(FIN | PING, &[0; 126]);
    let not_utf8 = peer::masked(FIN | TEXT, b"\xc3(");
    for (bytes, expected) in [
        (&unmasked[..], 1002),
        (&reserved, 1002),
        (&opcode, 1002),
        (&no_start, 1002),
        (&long_ping, 1002),
        (&not_utf8, 1007),
    ] {
        let mut raw = server.raw().await;
        raw.bytes(bytes).await;
        assert_eq!(raw.close_code().await, expected, "{bytes:x?}");
        raw.end().await;
    }
    server.sessions(0).await;
}

#[actix_web::test]
async fn subscriptions_rooms_and_requests_have_limits() {
    let mut few = settings();
    (few.subscriptions_max, few.rooms_max, few.in_flight_max) = (2, 2, 2);
    let server = serve_with(few).await;
    let mut client = server.client().await;
    client.subscribe("clock.tick").await;
    let all = json!({"subscribe": ["clock.tick", "blob.grown", "chat.said"]});
    assert_eq!(client.refusal(all).await, "limit");
    server.tick(1).await;
    assert_eq!(client.next().await["payload"]["n"], 1, "what was subscribed stays so");
    client.subscribe("blob.grown").await;
    client.subscribe("blob.grown").await;
    assert_eq!(client.refusal(json!({"subscribe": ["chat.said"]})).await, "limit");
    client.ask(json!({"unsubscribe": ["clock.tick"]})).await;
    client.subscribe("chat.said").await;

    client.join("a").await;
    client.join("b").await;
    client.join("b").await;
    assert_eq!(client.refusal(json!({"join": "c"})).await, "limit");
    client.ask(json!({"leave": "a"})).await;
    client.join("c").await;

    client.send(find("slow", 1)).await;
    client.send(find("slow", 2)).await;
    let answer = client.ask(find("Ada", 3)).await;
    assert_eq!((code(&answer), &answer["id"]), ("limit", &json!(3)));
    server.release.add_permits(2);
    client.next().await;
    client.next().await;
    assert_eq!(client.ask(find("Ada", 4)).await["event_type"], "user.found");
}

#[actix_web::test]
async fn a_client_is_not_read_while_its_event_waits_for_room() {
    let mut short = settings();
    short.idle_timeout = millis(150);
    let server = serve_with(short).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.subscribe("clock.tick").await;
    let put = |id| json!({"event_type": "store.put", "payload": {"n": id}, "id": id});
    // One in work, one in the queue, one waits.
    for id in 1..=3 {
        client.send(put(id)).await;
    }
    client.send(json!({"leave": "later"})).await;
    assert_eq!(client.next().await["id"], 1);
    assert_eq!(client.next().await["id"], 2);
    // Longer than the idle timeout; and what goes out is not held up.
    let start = tokio::time::Instant::now();
    let mut n = 0;
    while start.elapsed() < millis(300) {
        n += 1;
        server.tick(n).await;
        assert_eq!(client.next().await["payload"]["n"], n);
        other.assert_alive().await;
    }
    server.release.add_permits(3);
    assert_eq!(client.next().await["id"], 3);
    assert_eq!(client.next().await, json!({"left": "later"}));
}
