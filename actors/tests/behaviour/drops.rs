//! What a full queue drops is counted, logged once in a while, and told to who asked.

use std::sync::Arc;

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Overflow, RequestError, secs};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::play::{Log, Order, Receipt, Warnings, metrics, order, send, settle, shop};

/// A shop with room for two, whose first order is in work until the gate opens.
async fn full(overflow: Overflow) -> (TestBus, Arc<Mutex<Vec<i64>>>, Arc<Semaphore>) {
    let (handled, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let (write, open) = (Arc::clone(&handled), Arc::clone(&gate));
    let policy = Policy::default().queue_max(2).overflow(overflow).concurrency(1);
    let bus = shop(policy.timeout(secs(600)), async move |event: &Order, _: &EventContext| {
        open.acquire().await?.forget();
        write.lock().push(event.n);
        Ok(Receipt { n: event.n })
    })
    .await;
    bus.publish(order("", 0)).await.unwrap();
    settle().await;
    (bus, handled, gate)
}

#[actix::test]
async fn a_stream_of_drops_is_one_line_in_each_interval_with_their_number() {
    let log = Log::default();
    let _warnings = Warnings::written_to(&log);
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let before = log.len();
        let (bus, _, gate) = full(overflow).await;
        for n in 1..=52 {
            bus.publish(order("", n)).await.unwrap();
        }
        sleep(secs(11)).await;
        for n in 53..=54 {
            bus.publish(order("", n)).await.unwrap();
        }
        let lines = log.all()[before..].to_vec();
        let told: Vec<_> = lines.iter().filter(|line| line.contains("dropped")).collect();
        assert_eq!(told.len(), 2, "{lines:?}");
        assert!(told[0].contains("events=1 ") && told[1].contains("events=50 "), "{told:?}");
        assert!(told[0].contains("shop.On"), "{told:?}");
        assert!(told[0].contains(&format!("overflow={overflow}")), "{told:?}");
        assert_eq!(metrics(&bus, "shop.On").dropped, 52);
        gate.add_permits(10);
        bus.quiet().await;
    }
}

#[actix::test]
async fn the_oldest_or_the_newest_goes_and_its_requester_is_told() {
    for (overflow, kept) in [(Overflow::DropOldest, [0, 3, 4]), (Overflow::DropNewest, [0, 1, 2])] {
        let (bus, handled, gate) = full(overflow).await;
        let mut sent = Vec::new();
        for n in 1..=4 {
            sent.push((n, send(&bus, "", n)));
            settle().await;
        }
        gate.add_permits(10);
        for (n, sent) in sent {
            match sent.await.unwrap() {
                Ok(receipt) => assert!(receipt.n == n && kept.contains(&n)),
                Err(RequestError::Full { queue_max: 2, handler, .. }) => {
                    assert!(handler == "shop.On" && !kept.contains(&n));
                }
                Err(other) => panic!("{other}"),
            }
        }
        bus.quiet().await;
        assert_eq!(*handled.lock(), kept);
        assert_eq!(metrics(&bus, "shop.On").dropped, 2);
        assert!(bus.letters().await.is_empty(), "by the policy, so no dead letter");
    }
}

#[actix::test]
async fn a_queue_that_waits_or_rejects_drops_nothing() {
    for overflow in [Overflow::Wait, Overflow::Reject] {
        let (bus, handled, gate) = full(overflow).await;
        let sent: Vec<_> = (1..=4).map(|n| send(&bus, "", n)).collect();
        settle().await;
        gate.add_permits(10);
        for sent in sent {
            let _ = sent.await.unwrap();
        }
        bus.quiet().await;
        let expected = if overflow == Overflow::Wait { 5 } else { 3 };
        assert_eq!((handled.lock().len(), metrics(&bus, "shop.On").dropped), (expected, 0));
    }
}
