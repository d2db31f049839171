//! Clients that take nothing, and clients that say nothing.

use awc::ws::Frame;
use callboard::millis;

use super::peer::{Client, FIN, Raw, TEXT, soon};
use super::server::{Blob, Say, Server, say, serve, serve_with, settings};

/// Floods the sessions that listen until one of them is cut, while `client` reads.
async fn flood(server: &Server, client: &mut Client) -> usize {
    let data = "x".repeat(16_384);
    let mut sent = 0;
    soon("a slow consumer to be cut", async {
        while server.ws.stats().slow_consumers == 0 {
            let data = data.clone();
            server.bus().publish(Blob { data }).await.unwrap();
            assert_eq!(client.next().await["event_type"], "blob.grown");
            sent += 1;
        }
    })
    .await;
    sent
}

#[actix_web::test]
async fn a_slow_consumer_is_cut_while_others_go_on() {
    let mut short = settings();
    short.queue_max = 16;
    let server = serve_with(short).await;
    let mut client = server.client().await;
    let mut slow = Raw::listen(server.addr, "blob.grown").await;
    client.subscribe("blob.grown").await;
    flood(&server, &mut client).await;
    // Its place is given back although it still reads nothing.
    server.sessions(1).await;
    assert_eq!(server.ws.stats().slow_consumers, 1);
    client.assert_alive().await;
    // When it reads again, it finds the end.
    slow.end().await;
    soon("the connection to end", server.hung_up.notified()).await;
}

#[actix_web::test]
async fn a_slow_consumer_that_can_still_be_told_is_told() {
    let mut short = settings();
    short.queue_max = 4;
    let server = serve_with(short).await;
    let mut client = server.client().await;
    client.subscribe("clock.tick").await;
    let release = server.block().await;
    for n in 0..20 {
        server.tick(n).await;
    }
    soon("a slow consumer", async {
        while server.ws.stats().slow_consumers == 0 {
            tokio::time::sleep(millis(1)).await;
        }
    })
    .await;
    drop(release);
    for n in 0..4 {
        assert_eq!(client.next().await["payload"]["n"], n, "what waited is sent");
    }
    assert_eq!(client.close_code().await, 1013);
    server.sessions(0).await;
}

#[actix_web::test]
async fn a_frozen_client_is_cut_by_its_silence() {
    let mut short = settings();
    (short.queue_max, short.idle_timeout) = (1_000_000, millis(300));
    let server = serve_with(short).await;
    let _frozen = Raw::listen(server.addr, "blob.grown").await;
    // More than sockets buffer: the pump stands still, with room in the queue.
    let data = "x".repeat(8 << 20);
    server.bus().publish(Blob { data }).await.unwrap();
    server.sessions(0).await;
    assert_eq!(server.ws.stats().slow_consumers, 0);
    // It goes on reading nothing: the operating system ends what the server cannot.
    #[cfg(target_os = "linux")]
    soon("the connection to end", server.hung_up.notified()).await;
}

#[actix_web::test]
async fn a_silent_client_is_closed_and_one_that_answers_pings_is_not() {
    let mut short = settings();
    short.idle_timeout = millis(200);
    let server = serve_with(short).await;
    let (mut client, mut silent) = (server.client().await, server.raw().await);
    client.subscribe("chat.said").await;
    client.join("lobby").await;
    let bus = server.bus();
    let reading = async {
        assert_eq!(silent.close_code().await, 1008);
        // It does not answer that, and what it says now is said too late.
        let late = say("lobby", "late").to_string();
        silent.frame(FIN | TEXT, late.as_bytes()).await;
        silent.end().await;
        server.sessions(1).await;
        let (room, text) = ("lobby".into(), "in time".into());
        bus.publish(Say { room, text }).await.unwrap();
    };
    let (heard, ()) = tokio::join!(client.next(), reading);
    assert_eq!(heard["payload"]["text"], "in time");
}

#[actix_web::test]
async fn pings_come_with_the_heartbeat() {
    let server = serve().await;
    let mut client = server.client().await;
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        assert!(matches!(client.any().await, Frame::Ping(_)));
    }
    let took = start.elapsed();
    assert!(took >= millis(100), "{took:?} for three pings, one each 50 ms");
}
