//! Metrics and the event log: one record per delivery, one row per handler.

use callboard_actors::prelude::*;
use callboard_actors::testing::TestBus;
use callboard_actors::{EventQuery, Runtime, millis};

use crate::play::{Notes, Tick, on, three_links};

/// parity: W14
#[actix::test]
async fn recent_zero_is_empty() {
    let bus = three_links(0).await;
    bus.publish_tracked(crate::play::Begin { n: 1 }).await.unwrap();
    assert!(bus.events(&EventQuery::default().limit(0)).is_empty());
    assert_eq!(bus.events(&EventQuery::default().limit(1)).len(), 1);
    assert_eq!(bus.events(&EventQuery::default()).len(), 4, "one record each, the last is unheard");
}

/// parity: W14
#[actix::test]
async fn handlers_of_one_type_do_not_share_their_metrics() {
    let failing = || {
        on(
            async |event: &Tick, _: &EventContext| {
                if event.n < 0 { Err(HandlerError::reject("negative")) } else { Ok(()) }
            },
        )
    };
    let clock = Domain::new("clock").handler(failing()).handler(failing());
    let other = Domain::new("ears").handler(failing());
    let bus = TestBus::start([clock, other]).await.unwrap();
    bus.publish_tracked(Tick { n: -1 }).await.unwrap();
    let metrics = bus.metrics();
    let names: Vec<_> = metrics.handlers.keys().map(String::as_str).collect();
    assert_eq!(names, ["clock.On", "clock.On#2", "ears.On"]);
    for handler in metrics.handlers.values() {
        assert_eq!((handler.processed, handler.errors), (1, 1));
    }
}

#[actix::test]
async fn a_handler_s_numbers_add_up() {
    let handler = on(async |event: &Tick, _: &EventContext| {
        tokio::time::sleep(millis(event.n.unsigned_abs())).await;
        if event.n < 0 { Err(HandlerError::reject("negative").code("minus")) } else { Ok(()) }
    });
    let bus = TestBus::start([Domain::new("clock").handler(handler)]).await.unwrap();
    for n in [10, 10, 10, -40] {
        bus.publish_tracked(Tick { n }).await.unwrap();
    }
    let metrics = bus.metrics();
    let handler = &metrics.handlers["clock.On"];
    assert_eq!((handler.processed, handler.errors), (4, 1));
    assert!((17.5..20.0).contains(&handler.avg_ms), "{}", handler.avg_ms);
    assert!((10.0..13.0).contains(&handler.p50_ms), "{}", handler.p50_ms);
    assert!((40.0..48.0).contains(&handler.p99_ms), "{}", handler.p99_ms);
    let last_error = handler.last_error.as_ref().unwrap();
    assert_eq!(last_error.code, "minus");
    let json = serde_json::to_value(&metrics).unwrap();
    assert_eq!(json["handlers"]["clock.On"]["queue_depth"], 0);
    assert_eq!(json["handlers"]["clock.On"]["status"], "up");
    assert!(!json.to_string().contains("negative"), "the message is internal");
}

#[actix::test]
async fn the_log_is_queried_by_name_and_trace_and_is_bounded() {
    let notes = Notes::default();
    let builder = Runtime::new().mount(Domain::new("ears").handler(notes.of_ticks()));
    let bus = TestBus::start_with(builder.event_log_max(3)).await.unwrap();
    for n in 0..5 {
        bus.publish_tracked(Tick { n }).await.unwrap();
    }
    bus.publish_tracked(crate::play::Ended { n: 0 }).await.unwrap();
    let all = bus.events(&EventQuery::default());
    let names: Vec<_> = all.iter().map(|record| record.event_type).collect();
    assert_eq!(names, ["clock.tick", "clock.tick", "three.ended"]);
    assert_eq!(all[2].handler, "", "nobody subscribes to it");
    assert_eq!(all[0].handler, "ears.On");
    let ticks = bus.events(&EventQuery::default().event_type("clock.tick").limit(1));
    assert_eq!(ticks[0].trace_id, all[1].trace_id, "the newest one");
    let traced = bus.events(&EventQuery::default().trace_id(all[0].trace_id));
    assert_eq!(traced.len(), 1);
}

#[actix::test]
async fn the_ring_of_dead_letters_is_bounded() {
    let failing = on(async |_: &Tick, _: &EventContext| -> HandlerResult<()> {
        Err(HandlerError::reject("no"))
    });
    let builder = Runtime::new().mount(Domain::new("clock").handler(failing)).dead_letters_max(2);
    let bus = TestBus::start_with(builder).await.unwrap();
    for n in 0..5 {
        bus.publish_tracked(Tick { n }).await.unwrap();
    }
    let kept: Vec<_> = bus
        .dead_letters()
        .all()
        .await
        .unwrap()
        .iter()
        .map(|l| l.envelope.event::<Tick>().unwrap().n)
        .collect();
    assert_eq!(kept, [3, 4]);
    let metrics = bus.metrics();
    assert_eq!((metrics.dead_letters, metrics.dead_letters_lost), (2, 3));
    assert_eq!(metrics.dead_lettered, 5, "those that made room are still counted");
}
