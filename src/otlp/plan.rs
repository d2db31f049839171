//! What is to be sent where: the settings enter, a plan and what is wrong with them leave.

use std::env;
use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::resource::v1::Resource;
#[cfg(feature = "tls")]
use rustls::RootCertStore;
use secrecy::{ExposeSecret, SecretString};

#[cfg(feature = "tls")]
use crate::client::ExtraRoots;
use crate::settings::OtelSettings;
use crate::telemetry::{Sampler, pair, text};

/// The time of one export, unless a setting says something else, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// The time between two exports, unless a setting says something else, in milliseconds.
const DELAY_MS: u64 = 5_000;
/// The longest of these times: an hour.
const MS_MAX: u64 = 60 * 60 * 1000;

/// How spans are sent.
pub(super) struct Plan {
    pub(super) url: String,
    pub(super) headers: Vec<(String, SecretString)>,
    pub(super) timeout: Duration,
    pub(super) delay: Duration,
    pub(super) sampler: Sampler,
    pub(super) resource: Resource,
    #[cfg(feature = "tls")]
    pub(super) extra_roots: Option<ExtraRoots>,
}

impl Plan {
    /// `None` where nothing is to be sent. The texts say what is wrong.
    pub(super) fn from_settings(settings: &OtelSettings) -> (Option<Self>, Vec<String>) {
        let mut faults = Vec::new();
        if is_off(settings) {
            return (None, faults);
        }
        let url = match (&settings.traces_endpoint, &settings.endpoint) {
            (Some(url), _) => url.clone(),
            (None, Some(base)) => format!("{}/v1/traces", base.trim_end_matches('/')),
            (None, None) => return (None, faults),
        };
        if let Err(fault) = check_scheme(&url) {
            faults.push(fault.to_owned());
            return (None, faults);
        }
        if let Some(protocol) = settings.protocol.as_deref().filter(|p| *p != "http/protobuf") {
            faults.push(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is \"{protocol}\", but spans are sent by http/protobuf"
            ));
        }
        let (name, argument) = (&settings.traces_sampler, &settings.traces_sampler_arg);
        let (sampler, fault) = Sampler::parse(name.as_deref(), argument.as_deref());
        faults.extend(fault);
        let headers = settings.traces_headers.as_ref().or(settings.headers.as_ref());
        let headers = headers.and_then(|headers| pairs(headers.expose_secret()));
        if headers.is_none() && (settings.traces_headers.is_some() || settings.headers.is_some()) {
            faults.push(
                "OTEL_EXPORTER_OTLP_HEADERS is not key=value,key=value and is ignored".to_owned(),
            );
        }
        let headers = headers.unwrap_or_default().into_iter();
        let mut time = |name, text: &Option<String>, default| {
            let text = text.as_deref()?;
            let time = text.parse().ok().filter(|ms| (1..=MS_MAX).contains(ms));
            if time.is_none() {
                faults
                    .push(format!("{name} is \"{text}\", expected milliseconds such as {default}"));
            }
            time
        };
        let timeout = time("OTEL_EXPORTER_OTLP_TIMEOUT", &settings.timeout, TIMEOUT_MS);
        let delay = time("OTEL_BSP_SCHEDULE_DELAY", &settings.schedule_delay, DELAY_MS);
        let plan = Self {
            headers: headers.map(|(name, value)| (name, SecretString::from(value))).collect(),
            timeout: Duration::from_millis(timeout.unwrap_or(TIMEOUT_MS)),
            delay: Duration::from_millis(delay.unwrap_or(DELAY_MS)),
            sampler,
            #[cfg(feature = "tls")]
            extra_roots: extra_roots(settings, &url, &mut faults),
            resource: resource(settings, &mut faults),
            url,
        };
        (Some(plan), faults)
    }
}

fn is_off(settings: &OtelSettings) -> bool {
    let is = |setting: &Option<String>, value| {
        setting.as_ref().is_some_and(|setting| setting.eq_ignore_ascii_case(value))
    };
    is(&settings.disabled, "true") || is(&settings.traces_exporter, "none")
}

fn check_scheme(url: &str) -> Result<(), &'static str> {
    match url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
        Some("http") => Ok(()),
        Some("https") if cfg!(feature = "tls") => Ok(()),
        Some("https") => Err(
            "the endpoint in OTEL_EXPORTER_OTLP_ENDPOINT begins with https://, but callboard was \
             built without its feature `tls`: no spans are sent",
        ),
        _ => Err(
            "the endpoint in OTEL_EXPORTER_OTLP_ENDPOINT does not begin with http:// or https://: \
             no spans are sent",
        ),
    }
}

/// The file that is named, if it can be used and is needed.
#[cfg(feature = "tls")]
fn extra_roots(settings: &OtelSettings, url: &str, faults: &mut Vec<String>) -> Option<ExtraRoots> {
    let (name, path) = match (&settings.traces_certificate, &settings.certificate) {
        (Some(path), _) => ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", path),
        (None, Some(path)) => ("OTEL_EXPORTER_OTLP_CERTIFICATE", path),
        (None, None) => return None,
    };
    if url.to_ascii_lowercase().starts_with("http://") {
        return None;
    }
    let roots = ExtraRoots::File(path.clone());
    let Err(reason) = roots.add_to(&mut RootCertStore::empty()) else { return Some(roots) };
    faults.push(format!(
        "{name} names a file that cannot be used and is ignored: {reason}; set it to a PEM file of \
         the collector's root certificate"
    ));
    None
}

/// What is said about the service.
fn resource(settings: &OtelSettings, faults: &mut Vec<String>) -> Resource {
    let mut attributes = vec![
        pair("telemetry.sdk.name", text("callboard")),
        pair("telemetry.sdk.language", text("rust")),
        pair("telemetry.sdk.version", text(env!("CARGO_PKG_VERSION"))),
    ];
    let given = settings.resource_attributes.as_deref().map(pairs);
    if matches!(given, Some(None)) {
        faults
            .push("OTEL_RESOURCE_ATTRIBUTES is not key=value,key=value and is ignored".to_owned());
    }
    let (mut name, given) = (settings.service_name.clone(), given.flatten().unwrap_or_default());
    for (key, value) in given {
        if key != "service.name" {
            attributes.push(pair(&key, text(&value)));
        } else if name.is_none() {
            name = Some(value);
        }
    }
    let name = name.unwrap_or_else(|| {
        let program = env::current_exe().ok();
        let program =
            program.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
        program.map_or("unknown_service".to_owned(), |name| format!("unknown_service:{name}"))
    });
    attributes.push(pair("service.name", text(&name)));
    Resource { attributes, ..Resource::default() }
}

/// Reads `key=value,key=value` with `%` escapes, as W3C Baggage has it; `None` if it is something
/// else.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let each = list.split(',').map(str::trim).filter(|each| !each.is_empty());
    each.map(|each| {
        let (key, value) = each.split_once('=')?;
        let key = unescaped(key.trim())?;
        (!key.is_empty()).then_some((key, unescaped(value.trim())?))
    })
    .collect()
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        plain.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::settings::Settings;

    fn plan<const N: usize>(vars: [(&str, &str); N]) -> (Option<Plan>, Vec<String>) {
        Plan::from_settings(&Settings::from_vars(vars).unwrap().otel)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn nothing_is_sent_without_an_endpoint_or_where_it_is_switched_off() {
        for vars in [
            [("OTEL_SERVICE_NAME", "shop"), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            [ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            [ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            let (plan, faults) = plan(vars);
            assert!(plan.is_none() && faults.is_empty(), "{vars:?}");
        }
        let (plan, faults) = plan([("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector")]);
        assert!(plan.is_none() && faults[0].contains("does not begin with http:// or https://"));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_the_feature_nothing_is_sent_over_tls() {
        let (plan, faults) = plan([("OTEL_EXPORTER_OTLP_ENDPOINT", "HTTPS://collector")]);
        assert!(plan.is_none() && faults[0].contains("without its feature `tls`"), "{faults:?}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_root_certificate_counts_where_tls_is_spoken() {
        let named = |endpoint| {
            plan([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "nowhere.pem"),
                ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "src/otlp/plan.rs"),
            ])
        };
        let (plan, faults) = named("http://collector");
        assert!(plan.is_some_and(|plan| plan.extra_roots.is_none()) && faults.is_empty());
        let (plan, faults) = named("HTTPS://collector");
        assert!(plan.is_some_and(|plan| plan.extra_roots.is_none()));
        let start = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE names a file that cannot be used and is \
                     ignored: src/otlp/plan.rs: it holds no certificate";
        assert!(faults.len() == 1 && faults[0].starts_with(start), "{faults:?}");
    }

    #[test]
    fn the_variables_say_where_and_how() {
        let (plan, faults) = plan([
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20aGk=, x-tenant = a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,service.version=1%2C2"),
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ]);
        let plan = plan.unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(plan.url, "http://collector:4318/v1/traces");
        assert_eq!((plan.timeout.as_millis(), plan.delay.as_millis()), (250, 5000));
        let headers = plan.headers.iter().map(|(name, value)| (&**name, value.expose_secret()));
        let expected = [("authorization", "Basic aGk="), ("x-tenant", "a")];
        assert_eq!(headers.collect::<Vec<_>>(), expected);
        let of = |key: &str| {
            let mut all = plan.resource.attributes.iter().filter(|pair| pair.key == key);
            let value = all.next()?.value.clone()?.value?;
            assert!(all.next().is_none());
            Some(value)
        };
        assert_eq!(of("service.name"), Some(Value::StringValue("shop".to_owned())));
        assert_eq!(of("service.version"), Some(Value::StringValue("1,2".to_owned())));
        assert!(of("telemetry.sdk.name").is_some());
    }

    #[test]
    fn what_makes_no_sense_is_told_and_its_default_counts() {
        let (plan, faults) = plan([
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://spans/all"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz"),
            ("OTEL_TRACES_SAMPLER", "mine"),
        ]);
        let plan = plan.unwrap();
        assert_eq!((&*plan.url, plan.timeout.as_millis()), ("http://spans/all", 10_000));
        assert_eq!(faults.len(), 5, "{faults:?}");
        assert!(!faults.concat().contains("hunter2"), "{faults:?}");
        let name = format!("{:?}", plan.resource);
        assert!(name.contains("unknown_service:"), "{name}");
    }
}
