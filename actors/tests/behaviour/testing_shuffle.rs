//! A shuffled bus runs ready handlers in an order that its seed decides, and keeps what policies
//! promise.

use std::borrow::Cow;
use std::collections::HashSet;
use std::panic::catch_unwind;
use std::sync::Arc;

use callboard_actors::prelude::*;
use callboard_actors::testing::{TestBus, explore};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::play::{Begin, Begun, Notes, Tick, WentOn, on};

type Order = Arc<Mutex<Vec<(u8, i64)>>>;

/// Two handlers make three events each; three handlers hear those.
fn fan_out(order: &Order) -> Vec<Domain> {
    let first = |who: u8| {
        let order = Arc::clone(order);
        on(async move |event: &Begin, _: &EventContext| {
            order.lock().push((who, event.n));
            Ok((0..3)
                .map(|n| Begun { n: event.n * 100 + i64::from(who) * 10 + n })
                .collect::<Vec<_>>())
        })
    };
    let hearing = |who: u8| {
        let order = Arc::clone(order);
        on(async move |event: &Begun, _: &EventContext| {
            order.lock().push((who, event.n));
            Ok(())
        })
    };
    vec![
        Domain::new("one").handler(first(1)).handler(first(2)),
        Domain::new("ears").handler(hearing(3)).handler(hearing(4)).handler(hearing(5)),
    ]
}

/// The order in which everything is handled under a seed, in a system of its own.
fn order_under(seed: u64) -> Vec<(u8, i64)> {
    let order = Order::default();
    explore(seed..seed + 1, async |seed| {
        let bus = TestBus::shuffled(seed, fan_out(&order)).await.unwrap();
        for n in 0..3 {
            bus.publish(Begin { n }).await.unwrap();
        }
        bus.quiet().await;
    });
    Arc::into_inner(order).map_or_else(Vec::new, Mutex::into_inner)
}

#[test]
fn one_seed_has_one_order_and_many_have_many() {
    let mut orders = HashSet::new();
    for seed in 0..50 {
        let order = order_under(seed);
        assert_eq!(order.len(), 3 * 2 + 3 * 2 * 3 * 3, "everything was handled");
        assert_eq!(order, order_under(seed), "seed {seed} has two orders");
        orders.insert(order);
    }
    assert!(orders.len() > 25, "only {} orders under 50 seeds", orders.len());
}

#[test]
fn a_handler_that_works_on_one_event_at_a_time_keeps_its_order_under_every_seed() {
    explore(0..50, async |seed| {
        let (one, other) = (Notes::default(), Notes::default());
        let clock = Domain::new("clock").handler(one.of_ticks()).handler(other.of_ticks());
        let bus = TestBus::shuffled(seed, [clock]).await.unwrap();
        let publish = |n| bus.publish(Tick { n }).into_future();
        futures_util::future::join_all((0..20).map(publish)).await;
        bus.quiet().await;
        let expected: Vec<i64> = (0..20).collect();
        assert_eq!(one.all(), expected);
        assert_eq!(other.all(), expected);
    });
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Moved {
    piece: String,
    n: i64,
}

impl Event for Moved {
    const NAME: &'static str = "board.moved";

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.piece))
    }
}

#[test]
fn the_events_of_one_key_keep_their_order_and_those_of_others_do_not() {
    let mixed = Mutex::new(0);
    explore(0..50, async |seed| {
        let moves = Arc::new(Mutex::new(Vec::new()));
        let write = Arc::clone(&moves);
        let handler = on(async move |event: &Moved, _: &EventContext| {
            write.lock().push((event.piece.clone(), event.n));
            Ok(())
        });
        let policy = Policy::default().ordered_by_key().concurrency(8);
        let board = Domain::new("board").handler(handler.with(policy));
        let bus = TestBus::shuffled(seed, [board]).await.unwrap();
        for n in 0..20 {
            let piece = ["king", "queen", "rook"][usize::try_from(n % 3).unwrap()].to_owned();
            bus.publish(Moved { piece, n }).await.unwrap();
        }
        bus.quiet().await;
        let moves = moves.lock();
        for piece in ["king", "queen", "rook"] {
            let of_piece = moves.iter().filter(|(of, _)| of == piece).map(|(_, n)| *n);
            assert!(of_piece.is_sorted(), "{piece} under seed {seed}: {moves:?}");
        }
        *mixed.lock() += usize::from(!moves.iter().map(|(_, n)| *n).is_sorted());
    });
    assert!(*mixed.lock() > 25, "different keys are hardly ever mixed");
}

/// One handler must not come before the other, and nothing but luck keeps it from that.
async fn lucky_order(bus: TestBus, opened: Arc<Mutex<bool>>) {
    let tracked = bus.publish_tracked(Begin { n: 1 }).await.unwrap();
    tracked.assert_clean();
    assert!(*opened.lock());
}

fn door(opened: &Arc<Mutex<bool>>) -> Vec<Domain> {
    let (write, read) = (Arc::clone(opened), Arc::clone(opened));
    let opens = on(async move |_: &Begin, _: &EventContext| {
        *write.lock() = true;
        Ok(WentOn { n: 0 })
    });
    let enters =
        on(
            async move |_: &Begin, _: &EventContext| {
                if *read.lock() { Ok(()) } else { Err(HandlerError::reject("the door is closed")) }
            },
        );
    vec![Domain::new("two").handler(opens), Domain::new("ears").handler(enters)]
}

#[test]
fn a_bug_that_depends_on_the_order_is_found_and_its_seed_is_named() {
    explore(0..1, async |_| {
        let opened = Arc::default();
        lucky_order(TestBus::start(door(&opened)).await.unwrap(), opened).await;
    });
    let shuffled = async |seed| {
        let opened = Arc::default();
        lucky_order(TestBus::shuffled(seed, door(&opened)).await.unwrap(), opened).await;
    };
    let found = |seeds| {
        let panic = catch_unwind(|| explore(seeds, shuffled)).expect_err("no seed found it");
        *panic.downcast::<String>().unwrap()
    };
    let text = found(0..50);
    assert!(text.contains("the door is closed"), "{text}");
    let seed: u64 = text["under seed ".len()..].split(':').next().unwrap().parse().unwrap();
    assert_eq!(found(seed..seed + 1), text, "alone it fails in the same way");
}
