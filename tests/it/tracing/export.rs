//! Which spans are sent, and to whom.

use super::collector::{Collector, Manner};
use super::spans::traced;
use super::{CALLER, TRACE, in_process, order, start, until};

#[test]
fn what_the_caller_does_not_record_is_not_sent() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let app = traced(&collector, &[("LOG_LEVEL", "off")]).await;
        let price = format!("{}/price", collector.url());
        let off = format!("00-{TRACE}-{CALLER}-00");
        assert_eq!(order(&app, "tea", &[("traceparent", &*off)], Some(&price)).await, 200);
        let told = collector.calls.lock().pop().unwrap().remove("traceparent").unwrap();
        assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
        app.stop().await.unwrap();
        assert_eq!((collector.spans(), collector.asked()), (Vec::new(), 0));
    });
}

#[test]
fn the_sampler_decides_on_traces_that_begin_here() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let sampler =
            [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
        let app = traced(&collector, &sampler).await;
        let price = format!("{}/price", collector.url());
        assert_eq!(order(&app, "tea", &[], Some(&price)).await, 200);
        let told = collector.calls.lock().pop().unwrap().remove("traceparent").unwrap();
        assert!(told.ends_with("-00"), "{told}");
        let on = format!("00-{TRACE}-{CALLER}-01");
        assert_eq!(order(&app, "tea", &[("traceparent", &*on)], None).await, 200);
        app.stop().await.unwrap();
        let all = collector.spans();
        assert_eq!(all.len(), 4, "{all:#?}");
        assert!(all.iter().all(|span| super::collector::hex(&span.trace_id) == TRACE));
    });
}

#[test]
fn spans_are_sent_as_the_variables_say() {
    let log = in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let url = collector.url();
        let vars = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2"),
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
            ("OTEL_TRACES_SAMPLER", "mine"),
        ];
        let app = start(&vars).await;
        assert_eq!(order(&app, "tea", &[], None).await, 200);
        until("they are sent before the stop", || !collector.spans().is_empty()).await;
        app.stop().await.unwrap();
        let (resource, scope) = collector.resource();
        assert_eq!((&*resource["service.name"], &*scope), ("shop", "callboard"));
        assert_eq!(resource["deployment.environment.name"], "test");
        let head = collector.heads.lock()[0].clone();
        assert_eq!(
            (&*head["x-key"], &*head["content-type"]),
            ("hunter2", "application/x-protobuf")
        );
        assert!(!head.contains_key("traceparent"), "{head:?}");
    });
    let Some(log) = log else { return };
    assert_eq!(log.matches("OTEL_TRACES_SAMPLER is").count(), 1, "{log}");
    assert!(log.contains("spans are sent") && !log.contains("hunter2"), "{log}");
}

#[test]
fn nothing_is_recorded_where_it_is_switched_off() {
    in_process(|| async {
        let collector = Collector::start(Manner::Takes);
        let app = traced(&collector, &[("OTEL_SDK_DISABLED", "true")]).await;
        assert_eq!(order(&app, "tea", &[], None).await, 200);
        app.stop().await.unwrap();
        assert_eq!(collector.asked(), 0);
    });
}
