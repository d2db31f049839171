//! What ends a call: time, size, number, a broken exchange, and a caller that goes away.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use callboard::client::ClientError;
use callboard::{millis, secs};
use futures_util::future::join_all;

use super::{Cut, Drip, Hold, Peer, answer, client, options};

#[actix_web::test]
async fn a_silent_peer_is_given_up() {
    let peer = Peer::start(|_, _| Hold).await;
    let client = client(options().timeout(millis(150)));
    for call in [client.get(peer.url("/a?b")), client.get(peer.url("/")).timeout(millis(50))] {
        let begun = Instant::now();
        let error = call.send().await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&format!("{} did not answer", peer.url(""))));
        assert!(begun.elapsed() < secs(5));
    }
    // Time is over for the call as a whole, so there is no other attempt.
    assert_eq!(peer.requests().len(), 2);
}

#[actix_web::test]
async fn a_slow_body_is_within_the_time_of_the_call() {
    let start = || "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n".to_owned();
    let letters = "0123456789012345678901234567890123456789";
    let peer = Peer::start(move |_, _| Drip(start(), letters, millis(20))).await;
    let client = client(options());
    let error = client.get(peer.url("/")).timeout(millis(200)).send().await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    let whole = client.get(peer.url("/")).send().await.unwrap();
    assert_eq!(whole.text(), letters);
}

#[actix_web::test]
async fn a_large_body_is_refused() {
    let body = "x".repeat(2000);
    let whole = body.clone();
    let peer = Peer::start(move |number, _| match number % 3 {
        0 => answer("200 OK", &whole),
        1 => Cut(format!("HTTP/1.0 200 OK\r\n\r\n{whole}")),
        _ => Cut(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{whole}\r\n0\r\n\r\n"
        )),
    })
    .await;
    let client = client(options().body_max(1999));
    for _ in 0..3 {
        let error = client.get(peer.url("/")).send().await.unwrap_err();
        let text =
            format!("the answer of {} has more than 1999 bytes: raise `body_max`", peer.url(""));
        assert_eq!(error.to_string(), text);
    }
    for _ in 0..3 {
        let whole = client.get(peer.url("/")).body_max(2000).send().await.unwrap();
        assert_eq!(whole.text(), body);
    }
}

#[actix_web::test]
async fn a_broken_answer_is_no_answer() {
    let answers = [
        "",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nof any length",
        "HTTP/1.1 200",
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 302 Found\r\nlocation: https://a:b:c/\r\ncontent-length: 0\r\n\r\n",
    ];
    let peer = Peer::start(move |number, _| Cut(answers[number].to_owned())).await;
    let client = client(options().attempts_max(1).breaker_failures(0));
    for answer in answers {
        let error = client.get(peer.url("/")).send().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Broken { .. } | ClientError::Connect { .. }),
            "{answer:?}: {error:?}"
        );
    }
}

#[actix_web::test]
async fn nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(options());
    let error = client.get(format!("http://{address}/hunter2")).send().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot connect to http://{address}: ")), "{text}");
    assert!(!text.contains("hunter2"));
    let error = client.get("http://nobody.invalid/").send().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
}

#[actix_web::test]
async fn so_many_calls_at_once() {
    let peer = Peer::start(|_, _| Hold).await;
    let client = client(options().calls_max(2).timeout(millis(300)));
    let calls = join_all((0..4).map(|_| client.get(peer.url("/")).send())).await;
    let busy = calls.iter().filter(|call| matches!(call, Err(ClientError::Busy { calls_max: 2 })));
    assert_eq!(busy.count(), 2);
    assert_eq!(peer.requests().len(), 2);
    // A place is free again when its call is over.
    let again = client.get(peer.url("/")).send().await.unwrap_err();
    assert!(matches!(again, ClientError::Timeout { .. }), "{again:?}");
}

#[actix_web::test]
async fn so_many_connections_at_once() {
    let peer = Peer::start(|_, _| {
        Drip("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n".into(), "x", millis(50))
    })
    .await;
    let client = client(options().connections_max(2));
    let calls = join_all((0..6).map(|_| client.get(peer.url("/")).send())).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!((peer.requests().len(), peer.connections()), (6, 2));
}

#[actix_web::test]
async fn a_peer_that_does_not_answer_takes_no_connections_from_the_others() {
    let (silent, sound) =
        (Peer::start(|_, _| Hold).await, Peer::start(|_, _| answer("200 OK", "ok")).await);
    let client = client(options().connections_max(2).breaker_failures(1));
    let waiting = (0..3).map(|_| client.get(silent.url("/")).timeout(secs(3600)).send());
    let mut waiting = Box::pin(join_all(waiting));
    let others = join_all((0..9).map(|_| client.get(sound.url("/")).send()));
    let others = tokio::select! {
        _ = &mut waiting => panic!("nobody answers"),
        others = others => others,
    };
    assert!(others.iter().all(Result::is_ok));
    // For want of a connection, which is no failure of the peer.
    let late = client.get(silent.url("/")).timeout(millis(20)).send().await;
    assert!(matches!(late, Err(ClientError::Timeout { .. })), "{late:?}");
    let late = client.get(silent.url("/")).timeout(millis(20)).send().await;
    assert!(matches!(late, Err(ClientError::Timeout { .. })), "{late:?}");
}

#[actix_web::test]
async fn a_caller_that_goes_away_breaks_the_call_off() {
    let peer = Peer::start(|_, _| Hold).await;
    let client = client(options().timeout(secs(3600)).calls_max(1));
    let call = client.get(peer.url("/")).send();
    assert!(tokio::time::timeout(millis(100), call).await.is_err());
    let gone = async {
        while peer.closed.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(secs(10), gone).await.expect("its connection stays open");
    let again = client.get(peer.url("/")).timeout(Duration::from_millis(1)).send().await;
    assert!(matches!(again, Err(ClientError::Timeout { .. })), "its place stays taken: {again:?}");
}
