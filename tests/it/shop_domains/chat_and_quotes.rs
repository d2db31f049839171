//! Chat puts the sender's name on what is said; quotes compute on threads of their own.

use callboard::{RequestError, millis, secs};
use tokio::time::Instant;

use super::shop::chat::ChatSend;
use super::shop::quotes::RequestQuote;
use super::{Shop, invalid_field};

fn say(room: &str, text: &str) -> ChatSend {
    ChatSend { room: room.into(), text: text.into() }
}

#[actix::test]
async fn the_server_says_who_sent_a_text() {
    let shop = Shop::open().await;
    let sent = shop.bus.request(say("lobby", "hello")).source("ws:17").await.unwrap();
    assert_eq!((&*sent.room, &*sent.text, &*sent.sent_by), ("lobby", "hello", "ws:17"));
    let json = serde_json::to_value(&sent).unwrap();
    assert!(json["sent_at"].as_str().unwrap().ends_with('Z'), "{json}");
    shop.close().await;
}

#[actix::test]
async fn room_and_text_are_checked() {
    let shop = Shop::open().await;
    let (long_room, long_text) = ("r".repeat(101), "ä".repeat(2001));
    let cases = [
        ("", "hello", "room"),
        (&long_room, "hello", "room"),
        ("lobby", "", "text"),
        ("lobby", " \n", "text"),
        ("lobby", &long_text, "text"),
    ];
    for (room, text, field) in cases {
        assert_eq!(invalid_field(shop.bus.request(say(room, text)).await), field);
    }
    let longest = say(&"r".repeat(100), &"ä".repeat(2000));
    assert!(shop.bus.request(longest).await.is_ok(), "characters count, not bytes");
    shop.close().await;
}

#[actix::test]
async fn a_quote_is_the_same_each_time() {
    let shop = Shop::open().await;
    let quote = shop.bus.request(RequestQuote { complexity: 10 }).await.unwrap();
    assert_eq!((quote.complexity, quote.price), (10, 2500));
    assert_eq!(quote, shop.bus.request(RequestQuote { complexity: 10 }).await.unwrap());
    let other = shop.bus.request(RequestQuote { complexity: 11 }).await.unwrap();
    assert_ne!(other.checksum, quote.checksum);
    for complexity in [-1, 0, 41] {
        let field = invalid_field(shop.bus.request(RequestQuote { complexity }).await);
        assert_eq!(field, "complexity");
    }
    shop.close().await;
}

#[actix::test]
async fn a_quote_that_nobody_waits_for_frees_its_thread() {
    let shop = Shop::open().await;
    // Minutes of work, on each of the two threads.
    let endless = || shop.bus.request(RequestQuote { complexity: 40 }).timeout(millis(50));
    let (one, two) = tokio::join!(endless().into_future(), endless().into_future());
    for outcome in [one, two] {
        assert!(matches!(outcome, Err(RequestError::Timeout { .. })), "{outcome:?}");
    }
    let begun = Instant::now();
    shop.bus.request(RequestQuote { complexity: 1 }).timeout(secs(20)).await.unwrap();
    assert!(begun.elapsed() < secs(20));
    shop.close().await;
}

#[actix::test]
async fn quotes_are_computed_on_threads_of_their_own() {
    let shop = Shop::open().await;
    let quote = actix::spawn(shop.bus.request(RequestQuote { complexity: 26 }).into_future());
    shop.order(&[("BOOK", 1)]).await.unwrap();
    let mut turns = 0;
    while !quote.is_finished() {
        turns += 1;
        tokio::task::yield_now().await;
    }
    // On this thread each stretch of the computation would be one turn, and there are 600.
    assert!(turns > 6000, "the bus had {turns} turns meanwhile");
    assert!(quote.await.unwrap().is_ok());
    shop.close().await;
}
