//! Sends spans to a collector of OpenTelemetry: the settings `OTEL_…` enter; logging is set up, with
//! a recorder of spans where there is somebody to send them to.

use crate::settings::Settings;
#[cfg(not(feature = "otel"))]
use crate::telemetry;
use crate::telemetry::TelemetryError;

#[cfg(feature = "otel")]
mod plan;
#[cfg(feature = "otel")]
mod exporter;

/// What sends spans, where something does.
#[derive(Default)]
pub(crate) struct Otlp {
    #[cfg(feature = "otel")]
    exporter: Option<exporter::Exporter>,
}

impl Otlp {
    /// Sets logging up, and what is recorded beside it.
    pub(crate) fn start(settings: &Settings) -> Result<Self, TelemetryError> {
        #[cfg(feature = "otel")]
        {
            exporter::start(settings).map(|exporter| Self { exporter })
        }
        #[cfg(not(feature = "otel"))]
        {
            telemetry::init(&settings.log)?;
            let otel = &settings.otel;
            if otel.traces_endpoint.is_some() || otel.endpoint.is_some() {
                tracing::warn!(
                    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but no spans are sent: callboard was built \
                     without its feature `otel`"
                );
            }
            Ok(Self::default())
        }
    }

    /// Sends what was recorded, within a limit of time.
    #[cfg_attr(not(feature = "otel"), allow(clippy::unused_async))] // nothing is to be sent then
    pub(crate) async fn stop(self) {
        #[cfg(feature = "otel")]
        if let Some(exporter) = self.exporter {
            exporter.stop().await;
        }
    }
}
