//! Log lines: which handler, event and trace they belong to.

use serde_json::Value;

use super::{TRACE, in_process, order, start};

const CONTINUED: [(&str, &str); 1] =
    [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];

/// Places an order and tells the line that its handler logged.
fn line(log: &str) -> &str {
    log.lines().find(|line| line.contains("placing")).unwrap_or_else(|| panic!("{log}"))
}

#[test]
fn a_line_within_a_handler_names_handler_event_and_trace() {
    let log = in_process(|| async {
        let app = start(&[]).await;
        assert_eq!(order(&app, "tea", &CONTINUED, None).await, 200);
        app.stop().await.unwrap();
    });
    let Some(log) = log else { return };
    let span =
        format!(r#"handle{{handler="order.Placer" event="order.place" trace_id="{TRACE}"}}"#);
    assert!(line(&log).contains(&span), "{log}");
}

#[test]
fn so_does_a_json_line() {
    let log = in_process(|| async {
        let app = start(&[("LOG_FORMAT", "json")]).await;
        assert_eq!(order(&app, "tea", &CONTINUED, None).await, 200);
        app.stop().await.unwrap();
    });
    let Some(log) = log else { return };
    let line: Value = serde_json::from_str(line(&log)).unwrap();
    assert_eq!((&line["message"], &line["sku"]), (&"placing".into(), &"tea".into()));
    let expected = serde_json::json!({
        "name": "handle", "handler": "order.Placer", "event": "order.place", "trace_id": TRACE
    });
    assert_eq!(line["span"], expected);
}

#[test]
fn lines_are_the_same_where_a_filter_names_spans() {
    let log = in_process(|| async {
        let app = start(&[("LOG_LEVEL", "off,[handle]=info")]).await;
        assert_eq!(order(&app, "tea", &CONTINUED, None).await, 200);
        app.stop().await.unwrap();
    });
    let Some(log) = log else { return };
    assert!(line(&log).contains(TRACE), "{log}");
}

#[cfg(not(feature = "otel"))]
#[test]
fn an_endpoint_that_nothing_uses_is_one_warning() {
    let log = in_process(|| async {
        let app = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]).await;
        assert_eq!(order(&app, "tea", &[], None).await, 200);
        app.stop().await.unwrap();
    });
    let Some(log) = log else { return };
    assert_eq!(log.matches("without its feature `otel`").count(), 1, "{log}");
}
