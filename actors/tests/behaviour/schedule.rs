//! Schedules: they begin after start too, end when cancelled, and never overlap.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Runtime, ScheduleError, millis, secs};
use tokio::time::sleep;

use crate::play::{Notes, Tick, on};

async fn listening() -> (TestBus, Notes) {
    let notes = Notes::default();
    let bus = TestBus::start([Domain::new("ears").handler(notes.of_ticks())]).await.unwrap();
    (bus, notes)
}

/// parity: W8
#[actix::test]
async fn a_schedule_after_start_ticks_until_it_is_cancelled() {
    let (bus, notes) = listening().await;
    let schedule = bus.schedule(Tick { n: 1 }).every(secs(10)).unwrap();
    sleep(millis(9_999)).await;
    assert!(notes.all().is_empty(), "the first tick comes after one interval");
    sleep(millis(20_002)).await;
    assert_eq!(notes.all().len(), 3);
    schedule.cancel();
    sleep(secs(100)).await;
    assert_eq!(notes.all().len(), 3);
    assert_eq!((schedule.ticks(), schedule.skipped()), (3, 0));
}

/// parity: W8
#[actix::test]
async fn a_tick_is_left_out_while_the_last_one_is_in_work() {
    let notes = Notes::default();
    let write = notes.clone();
    let slow = on(async move |event: &Tick, _: &EventContext| {
        write.add(event.n);
        sleep(secs(25)).await;
        Ok(())
    });
    let bus = TestBus::start([Domain::new("ears").handler(slow)]).await.unwrap();
    let schedule = bus.schedule(Tick { n: 1 }).every(secs(10)).unwrap();
    // Ticks at 10 and 40; those at 20 and 30 fall into the first one's 25 seconds.
    sleep(secs(41)).await;
    assert_eq!(notes.all().len(), 2);
    assert_eq!((schedule.ticks(), schedule.skipped()), (2, 2));
}

#[actix::test]
async fn once_is_once() {
    let (bus, notes) = listening().await;
    bus.schedule(Tick { n: 5 }).after(secs(3)).unwrap();
    sleep(secs(100)).await;
    assert_eq!(notes.all(), [5]);
}

#[actix::test]
async fn each_tick_is_a_trace_of_its_own() {
    let (bus, _) = listening().await;
    bus.schedule(Tick { n: 5 }).every(secs(1)).unwrap();
    sleep(millis(2_500)).await;
    let events = bus.events(&callboard_actors::EventQuery::default());
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].source, "scheduler");
    assert_ne!(events[0].trace_id, events[1].trace_id);
}

#[actix::test]
async fn impossible_schedules_are_refused() {
    let (bus, _) = listening().await;
    let error = bus.schedule(Tick { n: 1 }).every(secs(0)).map(drop).unwrap_err();
    assert_eq!(error, ScheduleError::ZeroInterval { event: "clock.tick" });
    bus.runtime().stop().await;
    let error = bus.schedule(Tick { n: 1 }).every(secs(1)).map(drop).unwrap_err();
    assert_eq!(error, ScheduleError::Shutdown { event: "clock.tick" });
}

#[actix::test]
async fn the_number_of_schedules_is_limited() {
    let bus = TestBus::start_with(Runtime::new().schedules_max(3)).await.unwrap();
    let schedule = || bus.schedule(Tick { n: 1 }).every(secs(1));
    let kept: Vec<_> = (0..3).map(|_| schedule().unwrap()).collect();
    assert_eq!(
        schedule().map(drop).unwrap_err(),
        ScheduleError::Full { event: "clock.tick", schedules_max: 3 }
    );
    kept[0].cancel();
    sleep(millis(1)).await;
    assert!(schedule().is_ok(), "a cancelled one makes room");
}

#[actix::test]
async fn stopping_the_runtime_cancels_its_schedules() {
    let (bus, notes) = listening().await;
    bus.schedule(Tick { n: 1 }).every(secs(1)).unwrap();
    sleep(millis(1_500)).await;
    let report = bus.runtime().stop().await;
    assert!(report.is_clean());
    sleep(secs(10)).await;
    assert_eq!(notes.all().len(), 1);
}
