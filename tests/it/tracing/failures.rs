//! Collectors that are down, ill or slow: nobody else feels it.

use super::collector::{Collector, Manner};
use super::spans::traced;
use super::{Running, in_process, order, start, until};

/// Has as many events handled, with a span for each.
async fn pack(app: &Running, count: usize) {
    for n in 0..count {
        let pack = super::Pack { sku: n.to_string() };
        app.bus().publish(pack).await.unwrap();
    }
}

#[test]
fn a_collector_that_is_down_is_one_warning() {
    let log = in_process(|| async {
        let collector = Collector::start(Manner::Refuses);
        let url = collector.url();
        let vars = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
        let app = start(&vars).await;
        for export in 1..=7 {
            assert_eq!(order(&app, "tea", &[], None).await, 200);
            until("another export", || collector.asked() >= export).await;
        }
        collector.change(Manner::Takes);
        assert_eq!(order(&app, "last", &[], None).await, 200);
        until("the last is there", || !collector.spans().is_empty()).await;
        app.stop().await.unwrap();
    });
    let Some(log) = log else { return };
    assert_eq!(log.matches("the collector takes no spans").count(), 1, "{log}");
    assert_eq!(log.matches("the collector takes spans again").count(), 1, "{log}");
}

#[test]
fn nobody_at_the_endpoint_is_one_warning_too() {
    let log = in_process(|| async {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let app = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &*url)]).await;
        assert_eq!(order(&app, "tea", &[], None).await, 200);
        app.stop().await.unwrap();
    });
    let Some(log) = log else { return };
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains("the collector takes no spans") && log.contains("stopped"), "{log}");
}

#[test]
fn a_collector_that_hangs_holds_up_no_stop() {
    let log = in_process(|| async {
        let collector = Collector::start(Manner::Hangs);
        let app = traced(&collector, &[]).await;
        pack(&app, 600).await;
        until("an export hangs", || collector.asked() > 0).await;
        app.stop().await.unwrap();
    });
    let Some(log) = log else { return };
    assert!(log.contains("the collector did not take the last spans in time"), "{log}");
}

#[test]
fn spans_for_which_there_is_no_room_are_counted() {
    let log = in_process(|| async {
        let collector = Collector::start(Manner::Refuses);
        // The first batch is not sent again before the stop.
        let app = traced(&collector, &[]).await;
        pack(&app, 512).await;
        until("the first batch is refused", || collector.asked() == 1).await;
        pack(&app, 2048 + 40).await;
        app.stop().await.unwrap();
    });
    let Some(log) = log else { return };
    let told = log.matches("spans were dropped, their queue is full dropped=40").count();
    assert_eq!(told, 1, "{log}");
}
