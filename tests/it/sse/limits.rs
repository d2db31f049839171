//! Clients that take nothing, and clients that are too many.

use awc::http::Method;

use super::{Blob, Server, Stream, serve_with, soon};

/// Floods the streams until one of them is cut, while `client` reads; says how many it were.
async fn flood(server: &Server, client: &mut Stream) -> usize {
    let data = "x".repeat(16_384);
    let mut sent = 0;
    soon("a slow consumer to be cut", async {
        while server.sse.stats().slow_consumers == 0 {
            let data = data.clone();
            server.running.bus().publish(Blob { data }).await.unwrap();
            assert_eq!(client.next().await.name, "blob.grown");
            sent += 1;
        }
    })
    .await;
    sent
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_cut_while_others_go_on_and_can_come_back() {
    let vars = [("SSE_QUEUE_MAX", "16"), ("SSE_REPLAY_MAX", "100000"), ("SSE_HEARTBEAT", "0.5")];
    let server = serve_with(&vars).await;
    let mut client = server.open("?type=blob.grown").await;
    client.begin().await;
    let mut slow = server.open("?type=blob.grown").await;
    slow.begin().await;
    let sent = flood(&server, &mut client).await;
    // Its place is given back although it still reads nothing.
    server.streams(1).await;
    assert_eq!(server.sse.stats().slow_consumers, 1);
    server.place(1).await;
    server.running.bus().publish(Blob { data: "last".to_owned() }).await.unwrap();
    assert_eq!(client.next().await.json()["data"], "last");
    // When it reads again it finds whole events and the end, and comes back for the rest.
    let early = slow.end().await.len();
    assert!(early < sent, "{early} of {sent}");
    let mut back = server.come_back("?type=blob.grown", &slow.last_id).await;
    for _ in early..sent {
        assert_eq!(back.next().await.json()["data"].as_str().unwrap().len(), 16_384);
    }
    assert_eq!(back.next().await.json()["data"], "last");
}

#[actix_web::test]
async fn there_are_only_so_many_streams() {
    let server = serve_with(&[("SSE_STREAMS_MAX", "2")]).await;
    let (first, mut second) = (server.open("").await, server.open("").await);
    let refused = server.ask(Method::GET, "", &[]).await;
    refused.refused(503, "streams_max");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(server.sse.stats().streams, 2);
    drop(first);
    server.streams(1).await;
    server.open("").await.begin().await;
    server.place(1).await;
    assert_eq!(second.next().await.order().1, 1);
}

#[actix_web::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let server = serve_with(&[("SSE_STREAMS_MAX", "50")]).await;
    for _ in 0..3 {
        let mut streams = Vec::new();
        for _ in 0..50 {
            streams.push(server.open("?room=a").await);
        }
        server.streams(50).await;
        drop(streams);
        server.streams(0).await;
    }
    assert_eq!(server.sse.stats().slow_consumers, 0);
}

#[actix_web::test]
async fn an_event_is_written_once_for_all_streams() {
    let server = serve_with(&[("SSE_HEARTBEAT", "60")]).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        let mut stream = server.open("?type=order.placed").await;
        stream.begin().await;
        streams.push(stream);
    }
    server.place(1).await;
    let mut ids = Vec::new();
    for stream in &mut streams {
        let heard = stream.next().await;
        assert_eq!(heard.order().1, 1);
        ids.push(heard.id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}
