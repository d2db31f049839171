//! The list of schedules: what each is and how it has fared; none that has ended.

use callboard_actors::testing::TestBus;
use callboard_actors::{Runtime, ScheduleInfo, millis, secs};
use tokio::time::sleep;

use crate::play::{Begin, Tick, time};

async fn begin() -> TestBus {
    TestBus::start_at(time("2026-01-01T06:00:00Z"), []).await.unwrap()
}

fn names(bus: &TestBus) -> Vec<String> {
    bus.schedules().into_iter().map(|info| info.name).collect()
}

#[actix::test]
async fn each_schedule_says_what_it_is() {
    let bus = begin().await;
    bus.schedule(Tick { n: 1 }).every(secs(60)).unwrap();
    bus.schedule(Tick { n: 1 }).named("later").after(millis(1_500)).unwrap();
    bus.schedule(Begin { n: 1 }).at(time("2026-01-02T00:00:00Z")).unwrap();
    let scheduling = bus.schedule(Begin { n: 1 }).named("report");
    scheduling.cron("0  7 * * Mon-Fri Europe/Berlin").unwrap();
    let all = bus.schedules();
    let said = |info: &ScheduleInfo| (info.name.clone(), info.event, info.spec.clone());
    let expected = [
        ("clock.tick", "clock.tick", "every 60s"),
        ("later", "clock.tick", "after 1.5s"),
        ("one.begin", "one.begin", "at 2026-01-02T00:00:00.000Z"),
        ("report", "one.begin", "cron 0 7 * * Mon-Fri Europe/Berlin"),
    ];
    let expected = expected.map(|(name, event, spec)| (name.to_owned(), event, spec.to_owned()));
    assert_eq!(all.iter().map(said).collect::<Vec<_>>(), expected);
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(all[0].next_at, Some(time("2026-01-01T06:01:00Z")));
    assert_eq!(all[2].next_at, Some(time("2026-01-02T00:00:00Z")));
    assert_eq!(all[3].next_at, Some(time("2026-01-02T06:00:00Z")));
}

#[actix::test]
async fn a_schedule_is_written_with_times_that_people_read() {
    let bus = begin().await;
    let schedule = bus.schedule(Tick { n: 1 }).named("beat").every(secs(60)).unwrap();
    let written =
        |schedule: &callboard_actors::Schedule| serde_json::to_value(schedule.info()).unwrap();
    assert_eq!(
        written(&schedule),
        serde_json::json!({
            "id": schedule.info().id, "name": "beat", "event": "clock.tick", "spec": "every 60s",
            "next_at": "2026-01-01T06:01:00.000Z", "last_at": null,
            "ticks": 0, "skipped": 0, "missed": 0, "running": false,
        })
    );
    sleep(millis(60_500)).await;
    let after = written(&schedule);
    assert_eq!(after["next_at"], "2026-01-01T06:02:00.000Z");
    assert!(after["last_at"].as_str().unwrap().starts_with("2026-01-01T06:01:00.0"), "{after}");
    assert_eq!(after["ticks"], 1);
}

#[actix::test]
async fn a_schedule_is_found_by_its_name() {
    let bus = begin().await;
    let first = bus.schedule(Tick { n: 1 }).every(secs(1)).unwrap();
    let second = bus.schedule(Tick { n: 2 }).named("report").every(secs(1)).unwrap();
    let third = bus.schedule(Tick { n: 3 }).named("report").every(secs(1)).unwrap();
    let id = |name: &str| bus.find_schedule(name).map(|schedule| schedule.info().id);
    assert_eq!(id("clock.tick"), Some(first.info().id));
    assert_eq!(id("report"), Some(second.info().id), "the oldest");
    assert_eq!(id("absent"), None);
    bus.find_schedule("report").unwrap().cancel();
    assert_eq!(id("report"), Some(third.info().id));
}

#[actix::test]
async fn what_is_cancelled_or_finished_leaves_the_list_at_once() {
    let bus = TestBus::start_with(Runtime::new().schedules_max(3)).await.unwrap();
    let schedule = |name: &str| bus.schedule(Tick { n: 1 }).named(name);
    let beat = schedule("beat").every(secs(1)).unwrap();
    let once = schedule("once").after(secs(5)).unwrap();
    schedule("past").at(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(names(&bus), ["beat", "once", "past"]);
    beat.cancel();
    assert_eq!(names(&bus), ["once", "past"]);
    assert_eq!(beat.info().next_at, None);
    schedule("more").every(secs(60)).unwrap();
    sleep(millis(5_010)).await;
    assert_eq!(names(&bus), ["more"]);
    assert_eq!((once.info().ticks, once.info().next_at), (1, None));
}

#[actix::test]
async fn a_runtime_that_was_stopped_has_no_schedules() {
    let bus = begin().await;
    let schedule = bus.schedule(Tick { n: 1 }).every(secs(1)).unwrap();
    bus.schedule(Tick { n: 1 }).cron("* * * * *").unwrap();
    sleep(millis(1_100)).await;
    bus.runtime().stop().await;
    assert!(bus.schedules().is_empty());
    assert!(bus.find_schedule("clock.tick").is_none());
    sleep(secs(200)).await;
    assert_eq!((schedule.ticks(), schedule.info().next_at), (1, None));
}

#[actix::test]
async fn a_schedule_made_as_the_runtime_stops_is_not_left_on_the_list() {
    let bus = begin().await;
    let stopping = bus.runtime().clone();
    let (_, made) = tokio::join!(stopping.stop(), async {
        bus.schedule(Tick { n: 1 }).every(secs(1)).map(drop)
    });
    sleep(secs(10)).await;
    assert!(bus.schedules().is_empty(), "{made:?}");
    assert_eq!(bus.published::<Tick>().count(), 0);
}
