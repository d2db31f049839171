//! Which calls are tried again and when, and when an origin is left alone.

use std::time::{Duration, Instant};

use callboard::client::{ClientError, ClientOptions, HttpClient};
use callboard::{millis, secs};

use super::{Cut, Deed, Hold, Peer, Say, answer, client, options};

fn unavailable(retry_after: &str) -> Deed {
    Say(format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {retry_after}\r\ncontent-length: 0\r\n\r\n"
    ))
}

async fn status(client: &HttpClient, peer: &Peer) -> u16 {
    client.get(peer.url("/")).send().await.unwrap().status()
}

#[actix_web::test]
async fn idempotent_calls_are_tried_again() {
    let peer = Peer::start(|number, _| match number % 3 {
        0 => unavailable("0"),
        1 => Cut(String::new()),
        _ => answer("200 OK", "body"),
    })
    .await;
    let client = client(options());
    let url = peer.url("/");
    for call in [client.get(&url), client.put(&url).body("x"), client.delete(&url)] {
        let before = peer.requests().len();
        assert_eq!(call.send().await.unwrap().status(), 200);
        let requests = peer.requests().split_off(before);
        assert_eq!(requests.len(), 3);
        // A second may have gone by.
        let undated = |request: &str| {
            let lines = request.lines().filter(|line| !line.starts_with("date: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(undated(&requests[0]), undated(&requests[2]));
    }
}

#[actix_web::test]
async fn other_calls_are_made_once() {
    let peer = Peer::start(|_, _| unavailable("0")).await;
    let client = client(options());
    for call in [client.post(peer.url("/")), client.patch(peer.url("/"))] {
        let before = peer.requests().len();
        assert_eq!(call.body("x").send().await.unwrap().status(), 503);
        assert_eq!(peer.requests().len() - before, 1);
    }
}

#[actix_web::test]
async fn attempts_have_an_end() {
    let peer = Peer::start(|_, _| unavailable("0")).await;
    for attempts_max in [0, 1, 4] {
        let before = peer.requests().len();
        let options = options().attempts_max(attempts_max).breaker_failures(0);
        assert_eq!(status(&client(options), &peer).await, 503);
        assert_eq!(peer.requests().len() - before, attempts_max.max(1) as usize);
    }
}

#[actix_web::test]
async fn a_peer_says_when_to_come_again() {
    let peer = Peer::start(|number, _| match number {
        0 => unavailable("1"),
        1 => answer("200 OK", ""),
        _ => unavailable("3600"),
    })
    .await;
    let client = client(options());
    let begun = Instant::now();
    assert_eq!(status(&client, &peer).await, 200);
    assert!(begun.elapsed() >= secs(1));
    // Too long to wait for: the answer is what came.
    assert_eq!(status(&client, &peer).await, 503);
    assert_eq!(peer.requests().len(), 3);
}

#[actix_web::test]
async fn no_pause_goes_beyond_the_time_of_the_call() {
    let peer = Peer::start(|_, _| unavailable("2")).await;
    let client = client(options().timeout(secs(1)));
    let begun = Instant::now();
    assert_eq!(status(&client, &peer).await, 503);
    assert!(begun.elapsed() < secs(1));
    assert_eq!(peer.requests().len(), 1);
}

fn guarded(open_for: Duration) -> ClientOptions {
    options().attempts_max(1).breaker_failures(2).breaker_open_for(open_for)
}

#[actix_web::test]
async fn a_failing_origin_is_left_alone() {
    let peer = Peer::start(|_, _| answer("500 Internal Server Error", "")).await;
    let well = Peer::start(|_, _| answer("200 OK", "")).await;
    let client = client(guarded(secs(60)));
    assert_eq!([status(&client, &peer).await, status(&client, &peer).await], [500, 500]);
    let error = client.get(peer.url("/")).send().await.unwrap_err();
    let ClientError::CircuitOpen { origin, retry_after: Some(after) } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*origin, peer.url(""));
    assert!(*after > secs(50) && *after <= secs(60), "{after:?}");
    assert_eq!(peer.requests().len(), 2);
    assert_eq!(status(&client, &well).await, 200);
}

#[actix_web::test]
async fn an_origin_that_is_well_again_is_called_again() {
    let peer = Peer::start(|number, _| match number {
        0 => answer("500 Internal Server Error", ""),
        1 => Hold,
        2 => answer("502 Bad Gateway", ""),
        _ => answer("200 OK", ""),
    })
    .await;
    let client = client(guarded(millis(100)));
    assert_eq!(status(&client, &peer).await, 500);
    assert!(client.get(peer.url("/")).timeout(millis(50)).send().await.is_err());
    let mut seen = Vec::new();
    while seen.last() != Some(&200) {
        match client.get(peer.url("/")).send().await {
            Ok(answer) => seen.push(answer.status()),
            Err(error) => {
                assert!(matches!(error, ClientError::CircuitOpen { .. }), "{error:?}");
                tokio::time::sleep(millis(5)).await;
            }
        }
    }
    // The first probe failed and opened the circuit once more, the second closed it.
    assert_eq!(seen, [502, 200]);
    assert_eq!(status(&client, &peer).await, 200);
    assert_eq!(peer.requests().len(), 5);
}

#[actix_web::test]
async fn nothing_is_tried_again_while_the_circuit_is_open() {
    let peer = Peer::start(|_, _| Cut(String::new())).await;
    let client = client(guarded(secs(60)).attempts_max(10));
    let error = client.get(peer.url("/")).send().await.unwrap_err();
    assert!(matches!(error, ClientError::CircuitOpen { .. }), "{error:?}");
    assert_eq!(peer.requests().len(), 2);
}
