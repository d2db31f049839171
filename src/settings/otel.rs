//! The settings of OpenTelemetry, which all programs of a machine share: a reader enters, a group
//! leaves. Nothing in it is refused.

use std::path::PathBuf;

use secrecy::SecretString;

use super::reader::Reader;

/// Where spans are sent, by the variables of the OpenTelemetry specification. Without an endpoint
/// nothing is recorded; the feature `otel` is what records.
///
/// Other programs read the same variables, so a blank value means that one is not set, a value that
/// makes no sense is one warning at the start, after which its default counts, and unknown variables
/// that start with `OTEL_` are ignored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OtelSettings {
    /// `OTEL_SDK_DISABLED`: `true` switches everything off; none.
    pub disabled: Option<String>,
    /// `OTEL_TRACES_EXPORTER`: `otlp`, or `none`, which switches spans off; none, which means
    /// `otlp`.
    pub traces_exporter: Option<String>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the base URL of the collector, such as
    /// `http://127.0.0.1:4318`, to which `/v1/traces` is added; `https://` needs the feature `tls`;
    /// none.
    pub endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: the whole URL for spans, before the base URL; none.
    pub traces_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: the headers of each export as `key=value`, separated by commas,
    /// with what they cannot hold escaped by `%`; none.
    pub headers: Option<SecretString>,
    /// `OTEL_EXPORTER_OTLP_TRACES_HEADERS`: the same for spans, instead; none.
    pub traces_headers: Option<SecretString>,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`: the PEM file of root certificates that the collector's may
    /// lead to, beside those of the operating system; none.
    pub certificate: Option<PathBuf>,
    /// `OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE`: the same for spans, instead; none.
    pub traces_certificate: Option<PathBuf>,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`: `http/protobuf`, the only one that is spoken; none.
    pub protocol: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: the time of one export, in milliseconds; none, which means
    /// 10000.
    pub timeout: Option<String>,
    /// `OTEL_BSP_SCHEDULE_DELAY`: the time between two exports, in milliseconds; none, which means
    /// 5000.
    pub schedule_delay: Option<String>,
    /// `OTEL_SERVICE_NAME`: the name of the service; none, which means `service.name` of the
    /// resource, or `unknown_service:` and the name of the program.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`: what else is said about the service, in the form of the headers;
    /// none.
    pub resource_attributes: Option<String>,
    /// `OTEL_TRACES_SAMPLER`: which traces are recorded: `always_on`, `always_off`, `traceidratio`,
    /// or one of them after `parentbased_`, so that the caller's decision comes first; none, which
    /// means `parentbased_always_on`.
    pub traces_sampler: Option<String>,
    /// `OTEL_TRACES_SAMPLER_ARG`: the part of the traces for `traceidratio`, 0 to 1; none, which
    /// means 1.
    pub traces_sampler_arg: Option<String>,
}

impl OtelSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            disabled: reader.shared("OTEL_SDK_DISABLED", "whether OpenTelemetry is off"),
            traces_exporter: reader.shared("OTEL_TRACES_EXPORTER", "otlp, or none for no spans"),
            endpoint: reader.shared("OTEL_EXPORTER_OTLP_ENDPOINT", "base URL of the collector"),
            traces_endpoint: reader
                .shared("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "URL that spans are sent to"),
            headers: reader
                .shared("OTEL_EXPORTER_OTLP_HEADERS", "headers of each export")
                .map(SecretString::from),
            traces_headers: reader
                .shared("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "headers of each export of spans")
                .map(SecretString::from),
            certificate: reader
                .shared(
                    "OTEL_EXPORTER_OTLP_CERTIFICATE",
                    "file of the collector's root certificate",
                )
                .map(PathBuf::from),
            traces_certificate: reader
                .shared("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "the same for spans, instead")
                .map(PathBuf::from),
            protocol: reader.shared("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            timeout: reader
                .shared("OTEL_EXPORTER_OTLP_TIMEOUT", "time of one export, in milliseconds"),
            schedule_delay: reader
                .shared("OTEL_BSP_SCHEDULE_DELAY", "time between two exports, in milliseconds"),
            service_name: reader.shared("OTEL_SERVICE_NAME", "name of the service"),
            resource_attributes: reader
                .shared("OTEL_RESOURCE_ATTRIBUTES", "what else is said about the service"),
            traces_sampler: reader.shared("OTEL_TRACES_SAMPLER", "which traces are recorded"),
            traces_sampler_arg: reader
                .shared("OTEL_TRACES_SAMPLER_ARG", "part of the traces that is recorded, 0 to 1"),
        }
    }
}

impl Default for OtelSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
