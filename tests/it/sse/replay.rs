//! Clients that come back: what they missed they get, once and in order, or they are told that they
//! cannot have it.

use serde_json::json;

use super::{Stream, serve, serve_with};

/// The numbers of the next orders.
async fn orders<const N: usize>(stream: &mut Stream) -> [u64; N] {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = stream.next().await.order().1;
    }
    numbers
}

#[actix_web::test]
async fn who_comes_back_has_missed_nothing_and_hears_nothing_twice() {
    let server = serve().await;
    let mut other = server.open("").await;
    let mut stream = server.open("?type=order.placed").await;
    stream.begin().await;
    server.place(1).await;
    let first = stream.next().await;
    drop(stream);
    for id in 2..=4 {
        server.place(id).await;
        server.ship(id).await;
    }
    assert_eq!(orders::<7>(&mut other).await, [1, 2, 2, 3, 3, 4, 4], "all are kept by now");
    let mut back = server.come_back("?type=order.placed", &first.id).await;
    back.begin().await;
    assert_eq!(back.last_id, "", "lost here, it comes back with the id that it had");
    assert_eq!(orders::<2>(&mut back).await, [2, 3]);
    // Again in the middle of it.
    let id = back.last_id.clone();
    assert_eq!(back.next().await.order().1, 4);
    drop(back);
    let mut back = server.come_back("?type=order.placed", &id).await;
    assert_eq!(orders::<1>(&mut back).await, [4]);
    server.place(5).await;
    assert_eq!(orders::<1>(&mut back).await, [5]);
    // Who wants more than before gets more.
    let mut all = server.come_back("", &first.id).await;
    assert_eq!(orders::<7>(&mut all).await, [2, 2, 3, 3, 4, 4, 5]);
}

#[actix_web::test]
async fn who_has_heard_nothing_yet_can_come_back_too() {
    let server = serve().await;
    let mut stream = server.open("?type=order.placed").await;
    stream.begin().await;
    let id = stream.last_id.clone();
    drop(stream);
    server.place(1).await;
    let mut back = server.come_back("?type=order.placed", &id).await;
    assert_eq!(orders::<1>(&mut back).await, [1]);
    let mut back = server.come_back("?type=order.placed", &back.last_id).await;
    back.begin().await;
    server.place(2).await;
    assert_eq!(orders::<1>(&mut back).await, [2]);
}

#[actix_web::test]
async fn the_id_may_stand_in_the_query_and_the_header_goes_before() {
    let server = serve().await;
    let mut stream = server.open("").await;
    stream.begin().await;
    let zero = stream.last_id.clone();
    server.place(1).await;
    server.place(2).await;
    let first = stream.next().await.id;
    stream.next().await;
    let mut back = server.open(&format!("?lastEventId={zero}")).await;
    assert_eq!(orders::<2>(&mut back).await, [1, 2]);
    let mut back = server.come_back(&format!("?lastEventId={zero}"), &first).await;
    assert_eq!(orders::<1>(&mut back).await, [2]);
    // None is as good as an empty one.
    let mut new = server.open("?lastEventId=").await;
    new.begin().await;
    server.place(3).await;
    assert_eq!(orders::<1>(&mut new).await, [3]);
}

#[actix_web::test]
async fn what_is_kept_no_more_is_a_gap_and_the_stream_goes_on_from_now() {
    let server = serve_with(&[("SSE_REPLAY_MAX", "3")]).await;
    let mut stream = server.open("").await;
    stream.begin().await;
    let zero = stream.last_id.clone();
    server.ship(1).await;
    for id in 2..=5 {
        server.place(id).await;
    }
    orders::<1>(&mut stream).await;
    let first = stream.last_id.clone();
    orders::<4>(&mut stream).await;
    // 1 and 2 are gone.
    let mut back = server.come_back("?type=order.placed", &first).await;
    let gap = back.next().await;
    assert_eq!((gap.name.as_str(), gap.json()), ("gap", json!({ "reason": "too_old" })));
    server.place(6).await;
    assert_eq!(orders::<1>(&mut back).await, [6]);
    // The id of the gap is one to go on from.
    let mut back = server.come_back("?type=order.placed", &gap.id).await;
    assert_eq!(orders::<1>(&mut back).await, [6]);
    // Nobody is told of a gap in what it does not want.
    let mut shipped = server.come_back("?type=order.shipped", &first).await;
    shipped.begin().await;
    let mut shipped = server.come_back("?type=order.shipped", &zero).await;
    assert_eq!(shipped.next().await.name, "gap");
}

#[actix_web::test]
async fn an_id_of_another_life_is_a_gap() {
    let (earlier, server) = (serve().await, serve().await);
    let mut stream = earlier.open("").await;
    stream.begin().await;
    earlier.place(1).await;
    let foreign = stream.next().await.id;
    earlier.running.stop().await.unwrap();
    let mut witness = server.open("").await;
    server.place(1).await;
    let own = witness.next().await.id;
    assert_ne!(own, foreign);
    let never_given = own.replace("-1", "-2");
    for id in [&*foreign, &never_given, "1", "x", "é", &"x".repeat(5000)] {
        let mut back = server.come_back("?type=order.placed", id).await;
        let gap = back.next().await;
        assert_eq!((gap.name.as_str(), gap.json()), ("gap", json!({ "reason": "unknown_id" })));
        assert_eq!(gap.id, own, "from here it can go on");
    }
}

#[actix_web::test]
async fn while_many_come_and_go_each_hears_each_event_once() {
    let server = serve_with(&[("SSE_QUEUE_MAX", "1000")]).await;
    let total: u64 = 300;
    let reading = async |pause: usize| {
        let mut stream = server.open("").await;
        stream.begin().await;
        let (mut last, mut heard) = (stream.last_id.clone(), Vec::new());
        loop {
            for _ in 0..pause {
                let event = stream.next().await;
                heard.push(event.order().1);
                last = event.id;
                if heard.last() == Some(&total) {
                    return heard;
                }
            }
            stream = server.come_back("", &last).await;
        }
    };
    let publishing = async {
        server.streams(3).await;
        for id in 1..=u32::try_from(total).unwrap() {
            server.place(id).await;
            if id % 10 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let (one, seven, all, ()) = tokio::join!(reading(1), reading(7), reading(1000), publishing);
    let expected: Vec<_> = (1..=total).collect();
    assert_eq!(one, expected);
    assert_eq!(seven, expected);
    assert_eq!(all, expected);
}
