//! Spans that are sent over TLS.

use std::fs;
use std::path::Path;

use super::collector::{Collector, Manner};
use super::spans::traced;
use super::{in_process, order};
use crate::authority::Authority;

/// Starts a collector, places an order and stops; the spans that came.
async fn sent(authority: &Authority, certificate: (&str, &Path)) -> usize {
    let collector = Collector::start_tls(Manner::Takes, authority.server("localhost"));
    let (variable, path) = certificate;
    let app = traced(&collector, &[(variable, path.to_str().unwrap())]).await;
    assert_eq!(order(&app, "tea", &[], None).await, 200);
    app.stop().await.unwrap();
    collector.spans().len()
}

#[test]
fn a_collector_whose_root_is_named_gets_spans() {
    let log = in_process(|| async {
        let folder = tempfile::tempdir().unwrap();
        let (authority, path) = (Authority::new("private"), folder.path().join("root.pem"));
        fs::write(&path, &authority.root).unwrap();
        assert!(sent(&authority, ("OTEL_EXPORTER_OTLP_CERTIFICATE", &path)).await > 0);
    });
    let Some(log) = log else { return };
    assert_eq!(log.matches("WARN").count(), 0, "{log}");
}

#[test]
fn a_root_that_cannot_be_used_is_one_warning_and_nobody_else_gets_spans() {
    let log = in_process(|| async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere.pem");
        let variable = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE";
        assert_eq!(sent(&Authority::new("private"), (variable, &path)).await, 0);
    });
    let Some(log) = log else { return };
    let warning = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE names a file that cannot be used";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    assert!(log.contains("nowhere.pem: it cannot be read: No such file or directory"), "{log}");
    assert_eq!(log.matches("the collector takes no spans").count(), 1, "{log}");
    assert_eq!(log.matches("WARN").count(), 2, "{log}");
}
