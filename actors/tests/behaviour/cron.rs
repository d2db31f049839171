//! Cron schedules follow the wall clock of a time zone, also when it is changed or set.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{Missed, Schedule, ScheduleError, secs};
use tokio::time::sleep;

use crate::play::{Notes, Tick, minutes, time};

const HOUR: u64 = 60 * 60;

async fn begin(start: &str, expression: &str) -> (TestBus, Schedule) {
    let domain = Domain::new("ears").handler(Notes::default().of_ticks());
    let bus = TestBus::start_at(time(start), [domain]).await.unwrap();
    let schedule = bus.schedule(Tick { n: 1 }).cron(expression).unwrap();
    (bus, schedule)
}

/// Deliveries at these minutes, and no other, within so many hours.
async fn check(start: &str, expression: &str, hours: u64, expected: &[&str]) {
    let (bus, schedule) = begin(start, expression).await;
    sleep(secs(hours * HOUR)).await;
    assert_eq!(minutes(&bus), expected, "{expression}");
    assert_eq!((schedule.skipped(), schedule.missed()), (0, 0));
}

#[actix::test]
async fn ticks_come_when_the_clock_of_the_zone_shows_the_time() {
    // A Thursday; Berlin is an hour ahead of UTC.
    let (start, days) = ("2026-01-01T12:00:00Z", 6 * 24);
    let working = ["01-02 06:00", "01-05 06:00", "01-06 06:00", "01-07 06:00"];
    check(start, "0 7 * * Mon-Fri Europe/Berlin", days, &working).await;
    check(start, "0 7 * * Mon", days, &["01-05 07:00"]).await;
    check("2026-01-30T12:00:00Z", "30 59 23 L * *", 48, &["01-31 23:59"]).await;
}

#[actix::test]
async fn a_fixed_time_in_the_gap_of_spring_comes_once_after_it() {
    // At 01:00 UTC the clocks of Berlin go from 02:00 to 03:00.
    let start = "2026-03-28T12:00:00Z";
    let after = ["03-29 01:00", "03-30 00:30"];
    check(start, "30 2 * * * Europe/Berlin", 48, &after).await;
}

#[actix::test]
async fn repeated_times_in_the_gap_of_spring_are_left_out() {
    let start = "2026-03-29T00:15:00Z";
    let without = ["03-29 00:30", "03-29 01:00", "03-29 01:30"];
    check(start, "*/30 1-3 * * * Europe/Berlin", 6, &without).await;
}

#[actix::test]
async fn a_fixed_time_that_autumn_repeats_comes_once() {
    // At 01:00 UTC the clocks of Berlin go from 03:00 to 02:00.
    let start = "2026-10-24T12:00:00Z";
    let first = ["10-25 00:30", "10-26 01:30"];
    check(start, "30 2 * * * Europe/Berlin", 48, &first).await;
}

#[actix::test]
async fn repeated_times_that_autumn_repeats_come_both_times() {
    let start = "2026-10-24T23:45:00Z";
    let both = ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30"];
    check(start, "*/30 2 * * * Europe/Berlin", 6, &both).await;
}

#[actix::test]
async fn a_clock_that_is_set_forward_is_noticed_within_a_minute() {
    let (bus, schedule) = begin("2026-01-01T06:00:00Z", "0 7 * * *").await;
    sleep(secs(10)).await;
    bus.set_clock(time("2026-01-01T06:59:30Z"));
    sleep(secs(61)).await;
    assert_eq!((schedule.ticks(), schedule.missed()), (1, 0));
    assert_eq!(schedule.info().next_at, Some(time("2026-01-02T07:00:00Z")));
}

#[actix::test]
async fn ticks_that_a_clock_set_forward_leaves_out_are_missed() {
    let (bus, schedule) = begin("2026-01-01T06:00:00Z", "0 * * * *").await;
    bus.set_clock(time("2026-01-01T09:30:00Z"));
    sleep(secs(61)).await;
    assert_eq!((schedule.ticks(), schedule.missed()), (0, 3));
    sleep(secs(HOUR / 2)).await;
    assert_eq!((schedule.ticks(), schedule.missed()), (1, 3));
}

#[actix::test]
async fn ticks_that_a_clock_set_forward_leaves_out_are_made_up_for_by_one() {
    let (bus, _) = begin("2026-01-01T06:00:00Z", "0 0 1 1 *").await;
    let scheduling = bus.schedule(Tick { n: 2 }).missed(Missed::RunOnce);
    let schedule = scheduling.cron("0 * * * *").unwrap();
    bus.set_clock(time("2026-01-01T09:30:00Z"));
    sleep(secs(61)).await;
    assert_eq!((schedule.ticks(), schedule.missed()), (1, 2));
}

#[actix::test]
async fn a_clock_that_is_set_back_repeats_nothing() {
    let (bus, schedule) = begin("2026-01-01T06:59:50Z", "0 7 * * *").await;
    sleep(secs(20)).await;
    bus.set_clock(time("2026-01-01T06:30:00Z"));
    sleep(secs(HOUR)).await;
    assert_eq!(schedule.ticks(), 1);
}

#[actix::test]
async fn a_clock_that_is_set_back_by_days_begins_anew() {
    let (bus, schedule) = begin("2026-01-09T06:59:50Z", "0 7 * * *").await;
    sleep(secs(20)).await;
    bus.set_clock(time("2026-01-01T06:30:00Z"));
    sleep(secs(HOUR)).await;
    assert_eq!(schedule.ticks(), 2);
}

#[actix::test]
async fn a_bad_expression_is_refused_by_the_event_s_name() {
    let (bus, _) = begin("2026-01-01T06:00:00Z", "0 7 * * *").await;
    let refused = |expression| bus.schedule(Tick { n: 1 }).cron(expression).map(drop).unwrap_err();
    let error = refused("0 7 * * Mon-Fri Europe/Bärlin");
    assert!(matches!(&error, ScheduleError::BadCron { event: "clock.tick", .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("`clock.tick` was not scheduled: `Europe/Bärlin` is not"), "{text}");
    assert!(refused("0 0 30 2 *").to_string().contains("never fires"));
    assert_eq!(bus.schedules().len(), 1, "what is refused is not listed");
}
