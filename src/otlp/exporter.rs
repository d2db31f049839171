//! The thread that sends spans: ended spans enter over a bounded queue, exports leave by HTTP.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::plan::Plan;
use crate::client::{ClientError, ClientOptions, HttpClient};
use crate::settings::Settings;
use crate::telemetry::{self, Recorder, TelemetryError};

/// The spans that wait to be sent; more are dropped and counted.
const QUEUE_MAX: usize = 2048;
/// The spans of one export.
const BATCH_MAX: usize = 512;
/// How often one batch is sent before it is dropped.
const ATTEMPTS_MAX: u32 = 5;
/// The time that the last exports have when the application stops.
const LAST_EXPORTS_MAX: Duration = Duration::from_secs(2);

/// Sets logging up, and starts to record and to send where the settings say so.
pub(super) fn start(settings: &Settings) -> Result<Option<Exporter>, TelemetryError> {
    let (plan, faults) = Plan::from_settings(&settings.otel);
    let (spans, ended) = mpsc::channel(QUEUE_MAX);
    let dropped = Arc::<AtomicU64>::default();
    let plan = match plan {
        None => {
            telemetry::init(&settings.log)?;
            None
        }
        Some(plan) => {
            let recorder = Recorder::new(plan.sampler, spans, &dropped);
            let is_installed = telemetry::init_with(&settings.log, recorder)?;
            if !is_installed {
                tracing::warn!(
                    "no spans are sent: the program has a tracing subscriber of its own"
                );
            }
            is_installed.then_some(plan)
        }
    };
    for fault in faults {
        tracing::warn!("{fault}");
    }
    Ok(plan.and_then(|plan| Exporter::start(plan, ended, dropped)))
}

/// The thread, which ends when this is dropped.
pub(super) struct Exporter {
    stop: oneshot::Sender<oneshot::Sender<()>>,
}

impl Exporter {
    fn start(plan: Plan, ended: mpsc::Receiver<Span>, dropped: Arc<AtomicU64>) -> Option<Self> {
        let options = ClientOptions::default()
            .timeout(plan.timeout)
            .attempts_max(1)
            .breaker_failures(0)
            // A header may hold a secret.
            .redirects_max(0);
        #[cfg(feature = "tls")]
        let options = ClientOptions { extra_roots: plan.extra_roots.clone(), ..options };
        let (stop, stopping) = oneshot::channel();
        let url = plan.url.clone();
        let started =
            HttpClient::new(options).map_err(|error| error.to_string()).and_then(|client| {
                let sender =
                    Sender { client, plan, dropped, lost: 0, is_failing: false, told: None };
                let run = move || match tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                {
                    Ok(runtime) => runtime.block_on(sender.serve(ended, stopping)),
                    Err(error) => tracing::error!(%error, "no spans are sent"),
                };
                let thread = thread::Builder::new().name("callboard-otlp".to_owned()).spawn(run);
                thread.map_err(|error| error.to_string())
            });
        match started {
            Ok(_) => {
                tracing::info!(url, "spans are sent to a collector");
                Some(Self { stop })
            }
            Err(error) => {
                tracing::error!(error, "no spans are sent");
                None
            }
        }
    }

    /// Has the rest sent, within [`LAST_EXPORTS_MAX`].
    pub(super) async fn stop(self) {
        let (done, is_done) = oneshot::channel();
        if self.stop.send(done).is_err() {
            return;
        }
        if timeout(LAST_EXPORTS_MAX, is_done).await.is_err() {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

/// What the thread works with.
struct Sender {
    client: HttpClient,
    plan: Plan,
    /// The spans for which the queue had no room since somebody looked.
    dropped: Arc<AtomicU64>,
    /// The spans that the collector did not take, since it last took some.
    lost: usize,
    is_failing: bool,
    /// When it was said that the queue is full.
    told: Option<Instant>,
}

/// What came of an export.
enum Sent {
    Taken,
    /// Another attempt may succeed.
    Later(String),
    Refused(String),
}

/// How often it is said that the queue is full.
const TOLD_EVERY: Duration = Duration::from_mins(1);

impl Sender {
    async fn serve(
        mut self,
        mut ended: mpsc::Receiver<Span>,
        mut stopping: oneshot::Receiver<oneshot::Sender<()>>,
    ) {
        let mut ticks = interval_at(Instant::now() + self.plan.delay, self.plan.delay);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut batch, mut attempts) = (Vec::new(), 0);
        loop {
            // A batch that was refused waits for its time; what follows waits in the queue.
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                biased;
                done = &mut stopping => {
                    let Ok(done) = done else { return };
                    self.send_rest(batch, &mut ended).await;
                    // Whoever stops may have stopped to wait.
                    let _ = done.send(());
                    return;
                }
                _ = ticks.tick() => {}
                count = ended.recv_many(&mut batch, room), if room > 0 => {
                    if count == 0 {
                        return;
                    }
                    if batch.len() < BATCH_MAX || attempts > 0 {
                        continue;
                    }
                }
            }
            self.tell_dropped(TOLD_EVERY);
            attempts = self.send(&mut batch, attempts).await;
        }
    }

    async fn send_rest(&mut self, mut batch: Vec<Span>, ended: &mut mpsc::Receiver<Span>) {
        ended.close();
        loop {
            while batch.len() < BATCH_MAX
                && let Ok(span) = ended.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                break;
            }
            // There is no time for another attempt.
            self.send(&mut batch, ATTEMPTS_MAX).await;
        }
        self.tell_dropped(Duration::ZERO);
    }

    /// Sends a batch and empties it, unless it is worth another attempt; says how often it was
    /// tried.
    async fn send(&mut self, batch: &mut Vec<Span>, attempts: u32) -> u32 {
        if batch.is_empty() {
            return 0;
        }
        let (count, attempts) = (batch.len(), attempts + 1);
        let reason = match self.export(batch).await {
            Sent::Taken => {
                batch.clear();
                if mem::take(&mut self.is_failing) {
                    let lost = mem::take(&mut self.lost);
                    tracing::info!(lost, "the collector takes spans again");
                }
                return 0;
            }
            Sent::Later(reason) | Sent::Refused(reason) if attempts >= ATTEMPTS_MAX => reason,
            Sent::Later(reason) => {
                self.tell_failure(&reason);
                return attempts;
            }
            Sent::Refused(reason) => reason,
        };
        self.tell_failure(&reason);
        self.lost += count;
        batch.clear();
        0
    }

    async fn export(&self, batch: &mut Vec<Span>) -> Sent {
        let scope = InstrumentationScope {
            name: "callboard".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let spans = mem::take(batch);
        let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
        let mut export = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.plan.resource.clone()),
                scope_spans: vec![scope_spans],
                ..ResourceSpans::default()
            }],
        };
        let mut call = self.client.post(&self.plan.url).body(export.encode_to_vec());
        for (name, value) in &self.plan.headers {
            call = call.header(name, value.expose_secret());
        }
        let sent = call.header("content-type", "application/x-protobuf").send().await;
        let spans = export.resource_spans.pop().and_then(|mut all| all.scope_spans.pop());
        *batch = spans.map(|spans| spans.spans).unwrap_or_default();
        match sent.map(|answer| answer.status()) {
            Ok(200..300) => Sent::Taken,
            Ok(status @ (429 | 502..=504)) => Sent::Later(format!("it answered {status}")),
            Ok(status) => Sent::Refused(format!("it answered {status}")),
            Err(error @ ClientError::BadRequest { .. }) => Sent::Refused(error.to_string()),
            Err(error) => Sent::Later(error.to_string()),
        }
    }

    /// Once, until it takes spans again.
    fn tell_failure(&mut self, reason: &str) {
        if !mem::replace(&mut self.is_failing, true) {
            let url = &self.plan.url;
            tracing::warn!(url, reason, "the collector takes no spans");
        }
    }

    fn tell_dropped(&mut self, every: Duration) {
        if self.told.is_some_and(|told| told.elapsed() < every) {
            return;
        }
        let dropped = self.dropped.swap(0, Relaxed);
        if dropped > 0 {
            self.told = Some(Instant::now());
            tracing::warn!(dropped, "spans were dropped, their queue is full");
        }
    }
}
