//! The spans of a chain: who is whose parent, and what they say.

use callboard::DeadLetterQuery;
use callboard::sse::Sse;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::collector::{Collector, Manner, hex, texts};
use super::{App, CALLER, OrderPlaced, Running, Settings, TRACE, in_process, order, start, until};

/// The application, which sends its spans when it stops.
pub(super) async fn traced(collector: &Collector, vars: &[(&str, &str)]) -> Running {
    start(&[&exporting(&collector.url()), vars].concat()).await
}

fn exporting(url: &str) -> [(&str, &str); 2] {
    [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "600000")]
}

#[track_caller]
fn is_child(child: &Span, parent: &Span) {
    assert_eq!(hex(&child.trace_id), hex(&parent.trace_id), "{}", child.name);
    assert_eq!(hex(&child.parent_span_id), hex(&parent.span_id), "{}", child.name);
    assert!(child.end_time_unix_nano >= child.start_time_unix_nano);
    assert!(child.start_time_unix_nano >= parent.start_time_unix_nano, "{}", child.name);
}

fn has_failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == i32::from(StatusCode::Error))
}

#[track_caller]
fn says(span: &Span, attributes: &[(&str, &str)]) {
    let said = texts(&span.attributes);
    for (key, value) in attributes {
        assert_eq!(said.get(*key).map(String::as_str), Some(*value), "{key} in {said:#?}");
    }
}

/// The request and its event; the span of the latter.
fn was_placed(collector: &Collector) -> Span {
    let server = collector.span("POST /orders/{sku}");
    assert_eq!(hex(&server.trace_id), TRACE);
    assert_eq!(hex(&server.parent_span_id), CALLER);
    assert_eq!((server.kind(), &*server.trace_state), (SpanKind::Server, "a=1,b=2"));
    says(
        &server,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/orders/{sku}"),
            ("http.response.status_code", "200"),
            ("url.path", "/orders/tea"),
            ("url.scheme", "http"),
            ("server.address", "127.0.0.1"),
        ],
    );
    let placing = collector.span("process order.place");
    is_child(&placing, &server);
    assert_eq!((placing.kind(), &*placing.trace_state), (SpanKind::Consumer, "a=1,b=2"));
    says(
        &placing,
        &[
            ("messaging.system", "callboard"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "order.place"),
            ("callboard.handler", "order.Placer"),
            ("callboard.attempt", "1"),
        ],
    );
    assert_eq!(placing.events.len(), 1);
    assert_eq!(placing.events[0].name, "placing");
    says(
        &Span { attributes: placing.events[0].attributes.clone(), ..Span::default() },
        &[("sku", "tea"), ("level", "INFO")],
    );
    placing
}

/// The call to another service, within a span of the handler's own.
fn was_priced(collector: &Collector, placing: &Span) {
    let price = collector.span("price");
    is_child(&price, placing);
    says(&price, &[("currency", "EUR")]);
    let call = collector.span("GET");
    is_child(&call, placing);
    assert_eq!(call.kind(), SpanKind::Client);
    says(&call, &[("http.response.status_code", "200"), ("server.address", "127.0.0.1")]);
    let told = collector.calls.lock().pop().unwrap();
    let expected = format!("00-{TRACE}-{}-01", hex(&call.span_id));
    assert_eq!((&told["traceparent"], &*told["tracestate"]), (&expected, "a=1,b=2"));
}

/// What follows from the reply, at an actor and at a thread of its own.
fn was_shipped(collector: &Collector, placing: &Span) {
    let shipping = collector.span("process order.placed");
    is_child(&shipping, placing);
    says(&shipping, &[("callboard.handler", "parcel.Shipper")]);
    let packing = collector.span("process parcel.pack");
    is_child(&packing, &shipping);
    says(&packing, &[("callboard.handler", "parcel.Packer")]);
    let all = collector.spans();
    assert_eq!(all.len(), 6, "{all:#?}");
    assert!(all.iter().all(|span| !has_failed(span)), "{all:#?}");
}

#[test]
fn a_trace_goes_through_request_handlers_and_call() {
    let log = in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let app = traced(&collector, &[("LOG_FORMAT", "json")]).await;
        let traceparent = format!("00-{TRACE}-{CALLER}-01");
        let headers =
            [("traceparent", &*traceparent), ("tracestate", "a=1"), ("tracestate", "b=2")];
        let price = format!("{}/price", collector.url());
        assert_eq!(order(&app, "tea", &headers, Some(&price)).await, 200);
        app.stop().await.unwrap();

        let placing = was_placed(&collector);
        was_priced(&collector, &placing);
        was_shipped(&collector, &placing);
    });
    let Some(log) = log else { return };
    let line = log.lines().find(|line| line.contains("placing")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let expected = serde_json::json!({
        "name": "handle", "handler": "order.Placer", "event": "order.place", "trace_id": TRACE
    });
    assert_eq!(line["span"], expected);
}

#[test]
fn a_trace_begins_where_nobody_began_it() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let app = traced(&collector, &[("LOG_LEVEL", "error")]).await;
        assert_eq!(order(&app, "tea", &[], None).await, 200);
        let nowhere = format!("http://{}/nowhere", app.addresses()[0]);
        let answer = awc::Client::new().get(nowhere).send().await.unwrap();
        let trace_id = answer.headers().get("x-trace-id").unwrap().to_str().unwrap().to_owned();
        app.bus().publish(super::Pack { sku: "tea".to_owned() }).await.unwrap();
        app.stop().await.unwrap();

        let server = collector.span("POST /orders/{sku}");
        assert_eq!(hex(&server.parent_span_id), "");
        is_child(&collector.span("process order.place"), &server);
        let unknown = collector.span("GET");
        assert_eq!(hex(&unknown.trace_id), trace_id);
        says(&unknown, &[("http.response.status_code", "404")]);
        let all = collector.spans();
        let roots = all.iter().filter(|span| span.parent_span_id.is_empty());
        let mut roots: Vec<_> = roots.map(|span| &*span.name).collect();
        roots.sort_unstable();
        assert_eq!(roots, ["GET", "POST /orders/{sku}", "process parcel.pack"]);
    });
}

#[test]
fn what_fails_says_so() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let app = traced(&collector, &[("LOG_LEVEL", "error")]).await;
        for (sku, status) in [("lost", 500), ("none", 422), ("slow", 504), ("panic", 500)] {
            assert_eq!(order(&app, sku, &[], None).await, status, "{sku}");
        }
        app.stop().await.unwrap();
        let mut all = collector.spans();
        all.sort_by_key(|span| span.start_time_unix_nano);
        let of = |name: &str| {
            let all = all.iter().filter(|span| span.name == name);
            let all = all.map(|span| {
                let error = texts(&span.attributes).remove("error.type");
                assert_eq!(error.is_some(), has_failed(span));
                error.unwrap_or_default()
            });
            all.collect::<Vec<_>>()
        };
        assert_eq!(of("POST /orders/{sku}"), ["500", "", "504", "500"]);
        let errors = [
            "handler_error",
            "handler_error",
            "invalid",
            "cancelled",
            "cancelled",
            "panic",
            "panic",
        ];
        assert_eq!(of("process order.place"), errors);
    });
}

#[test]
fn a_message_of_a_session_is_linked_with_its_beginning() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let app = traced(&collector, &[("LOG_LEVEL", "error")]).await;
        let url = format!("ws://{}/ws", app.addresses()[0]);
        let traceparent = format!("00-{TRACE}-{CALLER}-01");
        let client = awc::Client::new().ws(url).set_header("traceparent", traceparent);
        let (_, mut connection) = client.connect().await.unwrap();
        for sku in ["tea", "none"] {
            let frame =
                format!(r#"{{"event_type":"order.place","id":1,"payload":{{"sku":"{sku}"}}}}"#);
            let frame = awc::ws::Message::Text(frame.into());
            futures_util::SinkExt::send(&mut connection, frame).await.unwrap();
            futures_util::StreamExt::next(&mut connection).await.unwrap().unwrap();
        }
        app.stop().await.unwrap();
        let mut all = collector.spans();
        all.sort_by_key(|span| span.start_time_unix_nano);
        let handshake = collector.span("GET /ws");
        assert_eq!((&*hex(&handshake.trace_id), &*hex(&handshake.parent_span_id)), (TRACE, CALLER));
        assert_eq!(handshake.kind(), SpanKind::Server);
        says(
            &handshake,
            &[
                ("http.request.method", "GET"),
                ("http.route", "/ws"),
                ("http.response.status_code", "101"),
                ("url.path", "/ws"),
            ],
        );
        let messages: Vec<_> = all.iter().filter(|span| span.name == "ws order.place").collect();
        let handled: Vec<_> =
            all.iter().filter(|span| span.name == "process order.place").collect();
        assert_eq!((messages.len(), handled.len()), (2, 2));
        for (message, handled) in messages.iter().zip(handled) {
            is_child(handled, message);
            assert_ne!(hex(&message.trace_id), TRACE);
            let link = &message.links[0];
            assert_eq!((&*hex(&link.trace_id), &link.span_id), (TRACE, &handshake.span_id));
            // Of however long a session, only the beginning is a span.
            assert!(handshake.end_time_unix_nano <= message.start_time_unix_nano);
        }
        assert_eq!((has_failed(messages[0]), has_failed(messages[1])), (false, true));
    });
}

#[test]
fn a_handshake_that_is_refused_says_so() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let app = traced(&collector, &[("LOG_LEVEL", "error")]).await;
        let url = format!("http://{}/ws", app.addresses()[0]);
        assert_eq!(awc::Client::new().get(url).send().await.unwrap().status().as_u16(), 426);
        app.stop().await.unwrap();
        says(&collector.span("GET /ws"), &[("http.response.status_code", "426")]);
    });
}

#[test]
fn the_span_of_a_stream_ends_with_its_head() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let url = collector.url();
        let vars = exporting(&url).into_iter().chain([("SERVER_PORT", "0")]);
        let settings = Settings::from_vars(vars).unwrap();
        let stream = Sse::new().listen::<OrderPlaced>();
        let app = App::new(settings).sse("/placed", stream).start().await.unwrap();
        let url = format!("http://{}/placed", app.addresses()[0]);
        let traceparent = format!("00-{TRACE}-{CALLER}-01");
        let opening = awc::Client::new().get(url).insert_header(("traceparent", traceparent));
        let mut stream = opening.send().await.unwrap();
        app.bus().publish(OrderPlaced { sku: "tea".to_owned() }).await.unwrap();
        let mut told = String::new();
        while !told.contains("order.placed") {
            let part = futures_util::StreamExt::next(&mut stream).await.unwrap().unwrap();
            told.push_str(std::str::from_utf8(&part).unwrap());
        }
        drop(stream);
        app.stop().await.unwrap();
        let opening = collector.span("GET /placed");
        assert_eq!((&*hex(&opening.trace_id), &*hex(&opening.parent_span_id)), (TRACE, CALLER));
        assert_eq!(opening.kind(), SpanKind::Server);
        says(&opening, &[("http.route", "/placed"), ("http.response.status_code", "200")]);
        let event = collector.span("process order.placed");
        assert!(opening.end_time_unix_nano <= event.start_time_unix_nano);
    });
}

/// It has the same parent, and the same event.
#[test]
fn a_replay_stands_beside_the_delivery_that_failed() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let app = traced(&collector, &[("LOG_LEVEL", "error")]).await;
        assert_eq!(order(&app, "lost", &[], None).await, 500);
        let letters = app.bus().dead_letters();
        until("a dead letter", || letters.count() == 1).await;
        let report = letters.replay(&DeadLetterQuery::default()).await.unwrap();
        assert_eq!((report.handled, report.failed, report.skipped), (0, 1, 0));
        app.stop().await.unwrap();
        let server = collector.span("POST /orders/{sku}");
        let all = collector.spans();
        let attempts: Vec<_> =
            all.iter().filter(|span| span.name == "process order.place").collect();
        assert_eq!(attempts.len(), 4, "two of the delivery, two of its replay");
        let message = |span: &Span| texts(&span.attributes).remove("messaging.message.id").unwrap();
        for attempt in &attempts {
            is_child(attempt, &server);
            assert_eq!(message(attempt), message(attempts[0]));
        }
    });
}
