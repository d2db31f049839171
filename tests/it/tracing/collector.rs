//! A collector of spans on loopback, and a service whose callers it remembers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use rustls::ServerConfig;

/// What a collector does with an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Takes,
    /// Answers 503.
    Refuses,
    /// Never answers.
    Hangs,
}

#[derive(Clone)]
pub(super) struct Collector {
    is_tls: bool,
    port: u16,
    exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// The headers of each export, and of each call of the service.
    pub(super) heads: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    pub(super) calls: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    asked: Arc<AtomicUsize>,
    manner: Arc<Mutex<Manner>>,
}

impl Collector {
    pub(super) fn start(manner: Manner) -> Self {
        Self::serve(manner, None)
    }

    /// Starts one that speaks TLS.
    #[cfg(feature = "tls")]
    pub(super) fn start_tls(manner: Manner, config: ServerConfig) -> Self {
        Self::serve(manner, Some(config))
    }

    fn serve(manner: Manner, tls: Option<ServerConfig>) -> Self {
        let mut collector = Self {
            is_tls: tls.is_some(),
            port: 0,
            exports: Arc::default(),
            heads: Arc::default(),
            calls: Arc::default(),
            asked: Arc::default(),
            manner: Arc::new(Mutex::new(manner)),
        };
        let own = collector.clone();
        let server = HttpServer::new(move || {
            let (export, call) = (own.clone(), own.clone());
            let export = move |request: HttpRequest, body: web::Bytes| {
                let collector = export.clone();
                async move { collector.export(&request, &body).await }
            };
            let call = move |request: HttpRequest| {
                call.calls.lock().push(head(&request));
                async { HttpResponse::Ok().body("7") }
            };
            App::new()
                .app_data(web::PayloadConfig::new(1 << 24))
                .route("/v1/traces", web::post().to(export))
                .route("/price", web::get().to(call))
        });
        let (server, address) = (server.workers(1).disable_signals(), ("127.0.0.1", 0));
        let server = match tls {
            #[cfg(feature = "tls")]
            Some(config) => server.bind_rustls_0_23(address, config).unwrap(),
            _ => server.bind(address).unwrap(),
        };
        collector.port = server.addrs()[0].port();
        actix_web::rt::spawn(server.run());
        collector
    }

    async fn export(&self, request: &HttpRequest, body: &[u8]) -> HttpResponse {
        self.asked.fetch_add(1, Relaxed);
        let manner = *self.manner.lock();
        match manner {
            Manner::Takes => {
                self.heads.lock().push(head(request));
                self.exports.lock().push(ExportTraceServiceRequest::decode(body).unwrap());
                HttpResponse::Ok().finish()
            }
            Manner::Refuses => HttpResponse::ServiceUnavailable().finish(),
            Manner::Hangs => std::future::pending().await,
        }
    }

    pub(super) fn change(&self, manner: Manner) {
        *self.manner.lock() = manner;
    }

    pub(super) fn url(&self) -> String {
        let host = if self.is_tls { "https://localhost" } else { "http://127.0.0.1" };
        format!("{host}:{}", self.port)
    }

    /// How many exports were tried.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// All spans so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        let exports = self.exports.lock();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// What is said about the service, and how its spans are called.
    pub(super) fn resource(&self) -> (BTreeMap<String, String>, String) {
        let exports = self.exports.lock();
        let resource = &exports[0].resource_spans[0];
        let scope = resource.scope_spans[0].scope.as_ref().unwrap().name.clone();
        (texts(&resource.resource.as_ref().unwrap().attributes), scope)
    }

    /// The only span of this name.
    #[track_caller]
    pub(super) fn span(&self, name: &str) -> Span {
        let mut all = self.spans();
        let names: Vec<_> = all.iter().map(|span| span.name.clone()).collect();
        all.retain(|span| span.name == name);
        assert_eq!(all.len(), 1, "{name} among {names:?}");
        all.remove(0)
    }
}

fn head(request: &HttpRequest) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let headers = request.headers().iter();
    headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

/// The attributes as texts.
pub(super) fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let each = attributes.iter().map(|pair| {
        let value = match pair.value.clone().and_then(|value| value.value).unwrap() {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(truth) => truth.to_string(),
            other => format!("{other:?}"),
        };
        (pair.key.clone(), value)
    });
    each.collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
