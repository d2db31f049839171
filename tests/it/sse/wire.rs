//! What is on the wire: headers, fields, signs of life.

use awc::http::Method;
use callboard::Event;
use callboard::sse::Sse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, App, Server, Stream, serve, serve_with, settings};

#[actix_web::test]
async fn an_event_is_a_block_with_an_id_a_name_and_json() {
    let server = serve_with(&[("SSE_RETRY", "1.5"), ("SSE_HEARTBEAT", "60")]).await;
    let mut stream = server.open("?type=order.placed").await;
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store\r\n",
        "x-accel-buffering: no\r\n",
        "content-encoding: identity\r\n",
        "transfer-encoding: chunked\r\n",
        "x-content-type-options: nosniff\r\n",
        "x-trace-id: ",
    ] {
        assert!(stream.head.contains(header), "{header} in {}", stream.head);
    }
    let beginning = stream.block().await.unwrap();
    let id = beginning.strip_prefix("retry: 1500\nid: ").unwrap().strip_suffix("-0\n").unwrap();
    assert_eq!(id.len(), 32, "{beginning}");
    server.place(7).await;
    let expected = format!("id: {id}-1\nevent: order.placed\ndata: {{\"id\":7}}\n");
    assert_eq!(stream.block().await.unwrap(), expected);
}

/// An event with a part that was JSON before, on several lines.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Copied {
    #[schemars(with = "Value")]
    raw: Box<RawValue>,
    text: String,
}

impl Event for Copied {
    const NAME: &'static str = "text.copied";
}

#[actix_web::test]
async fn line_breaks_stay_within_their_event() {
    let server = Server::start(App::new(settings(&[])), Sse::new().listen::<Copied>()).await;
    let mut stream = server.open("").await;
    stream.begin().await;
    let raw = RawValue::from_string("{\n\"a\":\r\n1,\r\"b\": 2\n\n}".to_owned()).unwrap();
    let text = "x\n\ndata: y\r\nid: 1\r\u{2028}".to_owned();
    server.running.bus().publish(Copied { raw, text: text.clone() }).await.unwrap();
    let heard = stream.next().await;
    assert_eq!(heard.json(), json!({ "raw": { "a": 1, "b": 2 }, "text": text }));
    assert_eq!(heard.name, "text.copied");
}

#[actix_web::test]
async fn a_quiet_stream_shows_that_it_lives() {
    let server = serve().await;
    let mut stream = server.open("").await;
    stream.begin().await;
    for _ in 0..3 {
        assert_eq!(stream.block().await.unwrap(), ":\n");
    }
}

#[actix_web::test]
async fn only_get_opens_a_stream() {
    let server = serve().await;
    let head = server.ask(Method::HEAD, "?type=order.placed", &[]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-type"), "text/event-stream");
    assert_eq!(head.header("cache-control"), "no-store");
    let refused = server.ask(Method::HEAD, "?type=order.purged", &[]).await;
    assert_eq!(refused.status, 403);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = server.ask(method, "", &[]).await;
        answer.refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
    assert_eq!(server.ask(Method::OPTIONS, "", &[]).await.status, 204);
    assert_eq!(server.sse.stats().streams, 0);
}

#[actix_web::test]
async fn a_client_that_does_not_take_streams_gets_none() {
    let server = serve().await;
    for accept in ["application/json", "text/html, text/*;q=0", "*/*, text/event-stream;q=0"] {
        let answer = server.ask(Method::GET, "", &[("accept", accept)]).await;
        answer.refused(406, "not_acceptable");
    }
    for accept in ["text/event-stream", "text/*", "application/json, */*;q=0.1"] {
        server.open_with("", &[("accept", accept)]).await.begin().await;
    }
}

#[actix_web::test]
async fn streams_are_measured_and_not_described() {
    let server = serve().await;
    let mut streams = [server.open("").await, server.open("").await];
    for stream in &mut streams {
        stream.begin().await;
    }
    let get = |path| Answer::of(server.address(), Method::GET, path, &[("accept", "text/plain")]);
    let metrics = get("/metrics").await.body;
    for line in [
        "callboard_sse_streams{path=\"/events/stream\"} 2",
        "callboard_sse_slow_consumers_total{path=\"/events/stream\"} 0",
        "callboard_http_request_duration_seconds_count{method=\"GET\",route=\"/events/stream\",\
         status=\"2xx\"} 2",
    ] {
        assert!(metrics.lines().any(|written| written == line), "{line} in {metrics}");
    }
    let address = server.address();
    let document = Answer::of(address, Method::GET, "/openapi.json", &[]).await.body;
    assert!(!document.contains("/events/stream"), "{document}");
    drop(streams);
    server.streams(0).await;
    let metrics = get("/metrics").await.body;
    assert!(metrics.contains("callboard_sse_streams{path=\"/events/stream\"} 0\n"), "{metrics}");
}

#[actix_web::test]
async fn a_stream_is_part_of_the_trace_that_its_client_names() {
    let server = serve().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let path = super::PATH;
    let stream = Stream::open(server.address(), path, &[("traceparent", &parent)]).await;
    assert!(stream.head.contains(&format!("x-trace-id: {trace}\r\n")), "{}", stream.head);
}
