//! How sessions begin and end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use callboard::millis;
use callboard::settings::WsSettings;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::peer::{self, CLOSE, CONTINUATION, Client, FIN, TEXT, code, soon};
use super::server::{Server, find, serve, serve_with, settings};

async fn problem(head: &str, mut stream: TcpStream) -> Value {
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; len.unwrap().parse().unwrap()];
    soon("a body", stream.read_exact(&mut body)).await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    let trace_id = problem["trace_id"].as_str().unwrap();
    assert!(trace_id.len() == 32 && head.contains(&format!("x-trace-id: {trace_id}")), "{head}");
    problem
}

async fn refused(server: &Server, headers: &str, status: u16) -> String {
    let (head, stream) = peer::handshake(server.addr, headers).await;
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    let problem = problem(&head, stream).await;
    assert_eq!(problem["status"], status);
    problem["code"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_foreign_page_may_not_connect() {
    let server = serve().await;
    for origin in
        ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
    {
        let code = refused(&server, &format!("Origin: {origin}\r\n"), 403).await;
        assert_eq!(code, "origin_not_allowed");
    }
    let own = format!("http://{}", server.addr);
    Client::connect_with(server.addr, &[("origin", &own)]).await.assert_alive().await;

    let mut listed = settings();
    listed.origins = vec!["https://shop.example".to_owned()];
    let server = serve_with(listed).await;
    let shop = [("origin", "https://shop.example")];
    Client::connect_with(server.addr, &shop).await.assert_alive().await;
    refused(&server, &format!("Origin: {own}\r\n"), 403).await;
    server.client().await.assert_alive().await;
}

#[actix_web::test]
async fn what_is_no_handshake_is_told_what_is_missing() {
    let server = serve().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let no_key = format!("{upgrade}Sec-WebSocket-Version: 13\r\n");
    let old = format!("{upgrade}Sec-WebSocket-Version: 6\r\nSec-WebSocket-Key: x\r\n");
    for (method, headers, status, header) in [
        ("GET", "", 426, "upgrade: websocket"),
        ("POST", "", 405, "allow: GET"),
        ("GET", &old, 400, "sec-websocket-version: 13"),
        ("GET", &no_key, 400, ""),
    ] {
        let request = format!("{method} /ws HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.addr);
        let (head, stream) = peer::exchange(server.addr, &request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains(header), "{head}");
        assert_eq!(problem(&head, stream).await["code"], "no_handshake");
    }
    server.sessions(0).await;
}

#[actix_web::test]
async fn there_are_only_so_many_sessions() {
    let mut few = settings();
    few.sessions_max = 2;
    let server = serve_with(few).await;
    let (first, mut second) = (server.client().await, server.client().await);
    let (head, stream) = peer::handshake(server.addr, "").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: "), "{head}");
    assert_eq!(problem(&head, stream).await["code"], "sessions_max");
    assert_eq!(server.ws.stats().sessions, 2);
    first.leave().await;
    server.sessions(1).await;
    server.client().await.assert_alive().await;
    second.assert_alive().await;
}

#[actix_web::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let server = serve().await;
    let mut raw = server.raw().await;
    raw.frame(FIN | TEXT, find("slow", 1).to_string().as_bytes()).await;
    server.sessions(1).await;
    drop(raw);
    server.sessions(0).await;
    soon("the connection to end", server.hung_up.notified()).await;
}

/// Heartbeats so far apart that a client that does not answer a goodbye has two seconds for it.
fn patient() -> WsSettings {
    let mut patient = settings();
    patient.heartbeat = Duration::from_secs(10);
    patient
}

/// Shorter than those two seconds, and longer than anything here should take.
const AT_ONCE: Duration = millis(1500);

#[actix_web::test]
async fn the_close_code_of_a_client_is_echoed_and_ends_it_at_once() {
    let server = serve_with(patient()).await;
    let mut raw = server.raw().await;
    let start = Instant::now();
    raw.frame(FIN | CLOSE, &1001_u16.to_be_bytes()).await;
    assert_eq!(raw.close_code().await, 1001);
    raw.end().await;
    server.sessions(0).await;
    assert!(start.elapsed() < AT_ONCE);
}

#[actix_web::test]
async fn who_leaves_after_a_breach_of_the_protocol_is_not_waited_for() {
    let server = serve_with(patient()).await;
    let mut raw = server.raw().await;
    let start = Instant::now();
    raw.frame(FIN | CONTINUATION, b"").await;
    assert_eq!(raw.close_code().await, 1002);
    drop(raw);
    server.sessions(0).await;
    assert!(start.elapsed() < AT_ONCE);
}

impl Server {
    /// Waits until a request has reached its handler.
    async fn is_asked(&self) {
        soon("the request", async {
            while self.asked.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(millis(1)).await;
            }
        })
        .await;
    }
}

#[actix_web::test]
async fn sessions_end_with_the_runtime() {
    let server = serve().await;
    let mut client = server.client().await;
    client.send(find("slow", 1)).await;
    server.is_asked().await;
    let (report, ()) = tokio::join!(server.runtime.stop(), async {
        // The last request is answered before the goodbye, and no new one is taken.
        assert_eq!(client.refusal(find("Ada", 2)).await, "shutdown");
        server.release.add_permits(1);
    });
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(client.next().await["payload"]["name"], "slow");
    assert_eq!(client.close_code().await, 1001);
    assert_eq!(refused(&server, "", 503).await, "shutdown");
    server.sessions(0).await;
}

#[actix_web::test]
async fn a_request_that_the_end_of_the_runtime_overtakes_is_told_so() {
    let server = serve_with(patient()).await;
    let mut client = server.client().await;
    client.send(find("slow", 1)).await;
    server.is_asked().await;
    assert!(!server.runtime.stop().await.is_clean());
    let start = Instant::now();
    let answer = client.next().await;
    assert_eq!((code(&answer), &answer["id"]), ("shutdown", &json!(1)));
    assert_eq!(client.close_code().await, 1001);
    assert!(start.elapsed() < AT_ONCE);
}
