//! Ticks whose time went by are left out, made up for by one, or by each: as was asked.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Missed, Schedule, millis, secs};
use tokio::time::{advance, sleep};

use crate::play::{Notes, Tick, on};

/// Each tick takes so many seconds to handle.
async fn begin(takes: u64, missed: Missed) -> (TestBus, Notes, Schedule) {
    let notes = Notes::default();
    let write = notes.clone();
    let slow = on(async move |event: &Tick, _: &EventContext| {
        write.add(event.n);
        sleep(secs(takes)).await;
        Ok(())
    });
    let bus = TestBus::start([Domain::new("ears").handler(slow)]).await.unwrap();
    let schedule = bus.schedule(Tick { n: 1 }).missed(missed).every(secs(10)).unwrap();
    sleep(millis(1)).await;
    (bus, notes, schedule)
}

/// What came of standing still from 0 to `still` seconds: handled, ticks and missed, right after.
async fn check(missed: Missed, still: u64, expected: (usize, u64, u64)) {
    let (_bus, notes, schedule) = begin(0, missed).await;
    advance(secs(still)).await;
    sleep(millis(100)).await;
    assert_eq!((notes.all().len(), schedule.ticks(), schedule.missed()), expected, "{missed:?}");
    sleep(secs(10)).await;
    assert_eq!(schedule.ticks(), expected.1 + 1, "it goes on as planned");
}

#[actix::test]
async fn skipped_ticks_are_counted_and_not_made_up_for() {
    check(Missed::Skip, 35, (0, 0, 3)).await;
    check(Missed::default(), 15, (0, 0, 1)).await;
}

#[actix::test]
async fn a_tick_that_is_a_little_late_is_not_missed() {
    check(Missed::Skip, 30, (1, 1, 2)).await;
}

#[actix::test]
async fn one_tick_makes_up_for_all() {
    check(Missed::RunOnce, 35, (1, 1, 2)).await;
    check(Missed::RunOnce, 30, (1, 1, 2)).await;
}

#[actix::test]
async fn each_tick_is_made_up_for() {
    check(Missed::RunAll, 35, (3, 3, 0)).await;
    check(Missed::RunAll, 30, (3, 3, 0)).await;
}

#[actix::test]
async fn ticks_to_make_up_for_come_in_turn() {
    let (_bus, notes, schedule) = begin(2, Missed::RunAll).await;
    advance(secs(32)).await;
    for handled in [1, 2, 3, 3] {
        sleep(millis(100)).await;
        assert_eq!(notes.all().len(), handled);
        sleep(millis(1_950)).await;
    }
    assert_eq!((schedule.ticks(), schedule.skipped(), schedule.missed()), (4, 0, 0));
}

#[actix::test]
async fn no_more_are_made_up_for_than_the_limit() {
    let (_bus, _, schedule) = begin(0, Missed::RunAll).await;
    advance(secs(10 * 1_500 + 5)).await;
    sleep(secs(1)).await;
    assert_eq!((schedule.ticks(), schedule.missed()), (Missed::RUN_ALL_MAX, 500));
}

#[actix::test]
async fn a_tick_that_waits_for_room_lets_the_next_ones_go_by() {
    let notes = Notes::default();
    let write = notes.clone();
    let slow = on(async move |event: &Tick, _: &EventContext| {
        write.add(event.n);
        sleep(secs(20)).await;
        Ok(())
    })
    .with(Policy::default().concurrency(1).queue_max(1));
    let bus = TestBus::start([Domain::new("ears").handler(slow)]).await.unwrap();
    // One in work and one in the queue: there is room again at 20.
    for n in [7, 8] {
        bus.publish(Tick { n }).await.unwrap();
        sleep(millis(1)).await;
    }
    let schedule = bus.schedule(Tick { n: 1 }).overlapping().every(secs(4)).unwrap();
    sleep(secs(19)).await;
    assert_eq!((schedule.ticks(), schedule.missed()), (1, 0), "it waits since 4");
    sleep(millis(3_000)).await;
    // Those of 8, 12 and 16 have gone by; that of 20 is a little late.
    assert_eq!((schedule.ticks(), schedule.missed()), (2, 3));
}
