//! Schedules: they begin after start too, end when cancelled, and never overlap.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{DeadReason, PublishError, Ran, Runtime, ScheduleError, millis, secs};
use tokio::time::sleep;

use crate::play::{Notes, Tick, on, time};

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

/// Each tick takes 25 s to handle.
async fn slow() -> (TestBus, Notes) {
    let notes = Notes::default();
    let write = notes.clone();
    let slow = on(async move |event: &Tick, _: &EventContext| {
        write.add(event.n);
        sleep(secs(25)).await;
        Ok(())
    });
    (TestBus::start([Domain::new("ears").handler(slow)]).await.unwrap(), notes)
}

/// parity: W8
#[actix::test]
async fn a_tick_is_left_out_while_the_last_one_is_in_work() {
    let (bus, notes) = slow().await;
    let schedule = bus.schedule(Tick { n: 1 }).every(secs(10)).unwrap();
    // Ticks at 10 and 40; those at 20 and 30 fall into the first one's 25 seconds.
    sleep(secs(41)).await;
    assert_eq!(notes.all().len(), 2);
    assert_eq!((schedule.ticks(), schedule.skipped()), (2, 2));
}

#[actix::test]
async fn ticks_that_may_overlap_are_not_left_out() {
    let (bus, notes) = slow().await;
    let schedule = bus.schedule(Tick { n: 1 }).overlapping().every(secs(10)).unwrap();
    sleep(secs(41)).await;
    assert_eq!(notes.all().len(), 4);
    assert_eq!((schedule.ticks(), schedule.skipped()), (4, 0));
    assert!(schedule.info().running);
    schedule.cancel();
    sleep(secs(26)).await;
    assert!(!schedule.info().running);
}

#[actix::test]
async fn a_failure_does_not_end_what_other_handlers_do_with_a_tick() {
    let failing = on(async |_: &Tick, _: &EventContext| {
        Err::<(), _>(HandlerError::reject("it broke").code("broken"))
    });
    let slow = on(async |_: &Tick, _: &EventContext| {
        sleep(secs(25)).await;
        Ok(())
    });
    let domains = [Domain::new("ears").handler(slow), Domain::new("mouths").handler(failing)];
    let bus = TestBus::start(domains).await.unwrap();
    let schedule = bus.schedule(Tick { n: 1 }).every(secs(10)).unwrap();
    sleep(secs(31)).await;
    assert_eq!((schedule.ticks(), schedule.skipped()), (1, 2));
}

#[actix::test]
async fn a_tick_that_is_rejected_is_a_dead_letter() {
    let failing = on(async |_: &Tick, _: &EventContext| {
        Err::<(), _>(HandlerError::reject("it broke").code("broken"))
    });
    let bus = TestBus::start([Domain::new("ears").handler(failing)]).await.unwrap();
    bus.schedule(Tick { n: 1 }).after(secs(10)).unwrap();
    sleep(secs(11)).await;
    let letters = bus.dead_letters().all().await.unwrap();
    assert!(matches!(&letters[..], [one] if matches!(one.reason, DeadReason::Failed(_))));
}

#[actix::test]
async fn once_is_once() {
    let (bus, notes) = listening().await;
    bus.schedule(Tick { n: 5 }).after(secs(3)).unwrap();
    sleep(secs(100)).await;
    assert_eq!(notes.all(), [5]);
}

#[actix::test]
async fn once_at_a_time_is_once() {
    let notes = Notes::default();
    let domain = Domain::new("ears").handler(notes.of_ticks());
    let bus = TestBus::start_at(time("2026-01-01T06:00:00Z"), [domain]).await.unwrap();
    bus.schedule(Tick { n: 5 }).at(time("2026-01-01T06:10:00Z")).unwrap();
    sleep(millis(599_999)).await;
    assert!(notes.all().is_empty());
    sleep(millis(2)).await;
    assert_eq!(notes.all(), [5]);
    sleep(secs(100_000)).await;
    assert_eq!(notes.all(), [5]);
}

#[actix::test]
async fn a_time_that_is_past_is_at_once() {
    let (bus, notes) = listening().await;
    bus.schedule(Tick { n: 5 }).at(time("2020-01-01T00:00:00Z")).unwrap();
    bus.schedule(Tick { n: 6 }).at(time("1960-01-01T00:00:00Z")).unwrap();
    sleep(millis(2)).await;
    assert_eq!(notes.all(), [5, 6]);
}

#[actix::test]
async fn a_time_follows_a_clock_that_is_set() {
    let notes = Notes::default();
    let domain = Domain::new("ears").handler(notes.of_ticks());
    let bus = TestBus::start_at(time("2026-01-01T06:00:00Z"), [domain]).await.unwrap();
    bus.schedule(Tick { n: 7 }).at(time("2026-01-01T07:00:00Z")).unwrap();
    bus.schedule(Tick { n: 9 }).at(time("2026-01-01T09:00:00Z")).unwrap();
    sleep(secs(90)).await;
    bus.set_clock(time("2026-01-01T08:00:00Z"));
    sleep(secs(60)).await;
    assert_eq!(notes.all(), [7], "late is better than never");
    bus.set_clock(time("2026-01-01T07:00:00Z"));
    sleep(secs(7_100)).await;
    assert_eq!(notes.all(), [7]);
    sleep(secs(110)).await;
    assert_eq!(notes.all(), [7, 9]);
}

#[actix::test]
async fn a_set_clock_does_not_concern_intervals_and_delays() {
    let (bus, notes) = listening().await;
    bus.schedule(Tick { n: 1 }).every(secs(100)).unwrap();
    bus.schedule(Tick { n: 2 }).after(secs(150)).unwrap();
    bus.set_clock(time("2040-01-01T00:00:00Z"));
    assert_eq!(bus.now(), time("2040-01-01T00:00:00Z"));
    sleep(secs(99)).await;
    assert!(notes.all().is_empty());
    assert!(bus.now() >= time("2040-01-01T00:01:39Z"));
    sleep(secs(52)).await;
    assert_eq!(notes.all(), [1, 2]);
}

#[actix::test]
async fn times_and_intervals_without_end_are_waited_for() {
    let (bus, notes) = listening().await;
    let never = std::time::Duration::MAX;
    bus.schedule(Tick { n: 1 }).every(never).unwrap();
    bus.schedule(Tick { n: 1 }).after(never).unwrap();
    let far = std::time::SystemTime::UNIX_EPOCH + secs(u64::MAX / 4);
    bus.schedule(Tick { n: 1 }).at(far).unwrap();
    sleep(secs(1_000)).await;
    assert!(notes.all().is_empty());
    let written = serde_json::to_value(bus.schedules()).unwrap();
    assert_eq!(written[0]["next_at"], serde_json::Value::Null);
    assert_eq!(written[2]["next_at"], serde_json::Value::Null);
    assert_eq!(written[2]["spec"], "at 4611686018427387903 s after 1970");
}

#[actix::test]
async fn a_tick_by_hand_comes_beside_the_plan() {
    let (bus, notes) = slow().await;
    let schedule = bus.schedule(Tick { n: 1 }).every(secs(60)).unwrap();
    assert_eq!(schedule.run_now().await, Ok(Ran::Published));
    sleep(secs(1)).await;
    assert_eq!(notes.all().len(), 1);
    assert_eq!(schedule.run_now().await, Ok(Ran::StillRunning));
    assert_eq!((schedule.ticks(), schedule.skipped()), (1, 1));
    sleep(secs(60)).await;
    assert_eq!((schedule.ticks(), schedule.skipped()), (2, 1), "the plan stays as it is");
}

#[actix::test]
async fn a_tick_by_hand_fails_as_publishing_does() {
    let full = on(async |_: &Tick, _: &EventContext| {
        sleep(secs(100)).await;
        Ok(())
    })
    .with(
        Policy::default().concurrency(1).queue_max(1).overflow(callboard_actors::Overflow::Reject),
    );
    let bus = TestBus::start([Domain::new("ears").handler(full)]).await.unwrap();
    let schedule = bus.schedule(Tick { n: 1 }).overlapping().every(secs(1_000)).unwrap();
    for _ in 0..2 {
        assert_eq!(schedule.run_now().await, Ok(Ran::Published));
        sleep(millis(1)).await;
    }
    assert!(matches!(schedule.run_now().await, Err(PublishError::Full { queue_max: 1, .. })));
    bus.runtime().stop().await;
    let stopped = schedule.run_now().await;
    assert_eq!(stopped, Err(PublishError::Shutdown { event: "clock.tick" }));
}

#[actix::test]
async fn cancelling_gives_up_a_tick_that_waits_for_room() {
    let notes = Notes::default();
    let write = notes.clone();
    let busy = on(async move |event: &Tick, _: &EventContext| {
        write.add(event.n);
        sleep(secs(20)).await;
        Ok(())
    })
    .with(Policy::default().concurrency(1).queue_max(1));
    let bus = TestBus::start([Domain::new("ears").handler(busy)]).await.unwrap();
    for n in [7, 8] {
        bus.publish(Tick { n }).await.unwrap();
        sleep(millis(1)).await;
    }
    let schedule = bus.schedule(Tick { n: 1 }).after(secs(5)).unwrap();
    sleep(secs(6)).await;
    assert!(schedule.info().running);
    schedule.cancel();
    sleep(secs(100)).await;
    assert_eq!(notes.all(), [7, 8]);
    assert!(!schedule.info().running);
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
