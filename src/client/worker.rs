//! The thread on which calls are made: orders enter over a bounded queue, answers leave to whoever
//! waits.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;
use std::{io, thread};

use actix_http::error::PayloadError;
use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{self, HeaderName, HeaderValue};
use awc::http::{Method, Uri, Version};
use awc::{Client, ClientBuilder, Connector};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::circuits::{Circuits, Pass, Verdict};
use super::error::ClientError;
use super::options::ClientOptions;
use super::pause::{Outcome, is_failure, pause};
use super::places::Places;
use super::redirects::{NoDowngrade, hidden};
use super::response::ClientResponse;
#[cfg(feature = "tls")]
use super::tls::Tls;

/// What is to be sent, and how long that may take.
pub(super) struct Order {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// Scheme, host and port: what messages may show, and what has a circuit.
    pub(super) origin: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    pub(super) timeout: Duration,
    pub(super) body_max: usize,
}

/// An order on its way to the thread.
struct Job {
    order: Order,
    reply: oneshot::Sender<Outcome>,
    /// One of `calls_max`; free again when the job is dropped.
    _place: OwnedSemaphorePermit,
}

/// The callers' side of the thread, which ends when this is dropped.
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    pub(super) options: ClientOptions,
}

impl Worker {
    /// Starts the thread and waits until it runs.
    pub(super) fn start(options: ClientOptions) -> Result<Self, ClientError> {
        let places = options.calls_max.clamp(1, Semaphore::MAX_PERMITS);
        let (jobs, inbox) = mpsc::channel(places);
        let (started, starting) = std_mpsc::sync_channel(1);
        let setup = Setup {
            #[cfg(feature = "tls")]
            tls: Tls::new(options.extra_roots.as_ref())?,
            options: options.clone(),
        };
        let run = move || match actix_rt::Runtime::new() {
            Err(reason) => _ = started.send(Err(reason)),
            Ok(runtime) => {
                // Nobody waits any more only if this is the start of a process that is ending.
                let _ = started.send(Ok(()));
                runtime.block_on(serve(inbox, setup));
            }
        };
        let thread = thread::Builder::new().name("callboard-client".to_owned()).spawn(run);
        let ended = || io::Error::other("its thread ended at once");
        thread
            .and_then(|_| starting.recv().unwrap_or_else(|_| Err(ended())))
            .map_err(|reason| ClientError::Start { reason })?;
        Ok(Self { jobs, places: Arc::new(Semaphore::new(places)), options })
    }

    /// Has the order carried out.
    pub(super) async fn call(&self, order: Order) -> Outcome {
        let busy = || ClientError::Busy { calls_max: self.options.calls_max };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| busy())?;
        let (reply, answer) = oneshot::channel();
        let job = Job { order, reply, _place: place };
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => busy(),
            mpsc::error::TrySendError::Closed(_) => ClientError::Stopped,
        })?;
        answer.await.unwrap_or(Err(ClientError::Stopped))
    }
}

/// Runs until no caller is left.
async fn serve(mut inbox: mpsc::Receiver<Job>, setup: Setup) {
    let options = &setup.options;
    let circuits = Circuits::new(options.breaker_failures, options.breaker_open_for);
    let (client, places) = (setup.client(), Places::new(options.connections_max));
    let bench = Rc::new(Bench { client, circuits: RefCell::new(circuits), places, setup });
    while let Some(job) = inbox.recv().await {
        let bench = Rc::clone(&bench);
        actix_rt::spawn(async move {
            let Job { order, mut reply, _place } = job;
            // By the clock of this thread: the caller's may be paused.
            let deadline = Instant::now() + order.timeout;
            let outcome = tokio::select! {
                biased;
                // Whoever called has gone: what is on its way is dropped with its connection.
                () = reply.closed() => return,
                outcome = bench.carry_out(&order, deadline) => outcome,
            };
            // Gone in this very moment: nobody wants the answer.
            let _ = reply.send(outcome);
        });
    }
}

/// What the thread is given.
struct Setup {
    options: ClientOptions,
    #[cfg(feature = "tls")]
    tls: Tls,
}

impl Setup {
    fn client(&self) -> Client {
        let options = &self.options;
        let connector = Connector::new()
            .timeout(options.connect_timeout)
            // Those to one origin have a limit of their own.
            .limit(options.calls_max.max(1))
            .conn_keep_alive(options.keep_alive);
        #[cfg(feature = "tls")]
        let connector = connector
            .handshake_timeout(options.connect_timeout)
            .rustls_0_23(Arc::clone(&self.tls.config));
        // The whole call has a timeout of its own.
        let builder = ClientBuilder::new().connector(connector).disable_timeout();
        match options.redirects_max {
            0 => builder.disable_redirects().finish(),
            max => builder.wrap(NoDowngrade).max_redirects(max).finish(),
        }
    }

    /// Why there is no connection, and whether another attempt would fail as well.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self))] // only TLS has more to say
    fn refusal(&self, error: &ConnectError) -> (String, bool) {
        match error {
            #[cfg(feature = "tls")]
            ConnectError::Io(error) => {
                self.tls.refusal(error).unwrap_or_else(|| (error.to_string(), false))
            }
            ConnectError::SslIsNotSupported => {
                let reason = "it redirects to https://, which needs the feature `tls` of callboard";
                (reason.to_owned(), true)
            }
            error => (error.to_string(), false),
        }
    }
}

/// What the thread works with.
struct Bench {
    client: Client,
    circuits: RefCell<Circuits>,
    places: Places,
    setup: Setup,
}

impl Bench {
    async fn carry_out(&self, order: &Order, deadline: Instant) -> Outcome {
        let mut attempt = 1;
        loop {
            let outcome = self.attempt(order, deadline).await;
            let random = fastrand::f64();
            let pause = pause(&self.setup.options, &order.method, attempt, &outcome, random);
            match pause.map(|pause| (pause, Instant::now() + pause)) {
                Some((pause, next)) if next < deadline => {
                    tracing::debug!(
                        origin = %order.origin, method = %order.method, attempt, ?pause,
                        "an HTTP call failed and is tried again"
                    );
                    sleep(pause).await;
                    attempt += 1;
                }
                _ => return outcome,
            }
        }
    }

    /// Makes one attempt, when there is a place for it and if the origin's circuit lets it pass.
    async fn attempt(&self, order: &Order, deadline: Instant) -> Outcome {
        let origin = &order.origin;
        // Many calls from here say nothing about the origin's health.
        let place = timeout_at(deadline, self.places.take(origin)).await;
        let _place = place.map_err(|_| order.late())?;
        let admitted = self.circuits.borrow_mut().admit(origin, Instant::now());
        let pass = admitted.map_err(|retry_after| ClientError::CircuitOpen {
            origin: origin.clone(),
            retry_after,
        })?;
        let mut trial = Trial { bench: self, origin, pass, verdict: Verdict::Neutral };
        let exchange = timeout_at(deadline, self.exchange(order)).await;
        let outcome = exchange.unwrap_or_else(|_| Err(order.late()));
        trial.verdict = if is_failure(&outcome) { Verdict::Failure } else { Verdict::Success };
        outcome
    }

    async fn exchange(&self, order: &Order) -> Outcome {
        let mut request = self.client.request(order.method.clone(), order.uri.clone());
        request = request.no_decompress();
        for (name, value) in &order.headers {
            request = request.append_header((name.clone(), value.clone()));
        }
        let sent = if order.body.is_empty() && order.method.is_safe() {
            request.send().await
        } else {
            request.send_body(order.body.clone()).await
        };
        let mut answer = sent.map_err(|error| order.failure(&self.setup, error))?;
        let status = answer.status().as_u16();
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            answer.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.extend(hidden(&answer).map(|location| (header::LOCATION, location)));
        let length = order.announced(answer.version(), status, &headers)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.next().await {
            let chunk = chunk.map_err(|error| order.broken_body(&error))?;
            if body.len() + chunk.len() > order.body_max {
                return Err(order.too_large());
            }
            body.extend_from_slice(&chunk);
        }
        // The library below ends a body quietly when the connection ends.
        if length.is_some_and(|length| length != body.len() as u64) {
            return Err(order.broken("the body is shorter than its Content-Length"));
        }
        Ok(ClientResponse { origin: order.origin.clone(), status, headers, body: body.freeze() })
    }
}

impl Order {
    /// The length that the body of the answer must have, if it is known.
    fn announced(
        &self,
        version: Version,
        status: u16,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Option<u64>, ClientError> {
        let has_body = self.method != Method::HEAD && status != 204 && status != 304;
        let value = |name: HeaderName| headers.iter().find(|(known, _)| *known == name);
        if !has_body || value(header::TRANSFER_ENCODING).is_some() {
            return Ok(None);
        }
        let length = value(header::CONTENT_LENGTH).and_then(|(_, value)| value.to_str().ok());
        let length: Option<u64> = length.and_then(|length| length.parse().ok());
        match length {
            Some(length) if length > self.body_max as u64 => Err(self.too_large()),
            // The library below would read nothing and say so to nobody.
            None if version == Version::HTTP_11 => {
                Err(self.broken("its head does not say how long the body is"))
            }
            length => Ok(length),
        }
    }

    fn failure(&self, setup: &Setup, error: SendRequestError) -> ClientError {
        match error {
            SendRequestError::Connect(error) => {
                let (reason, is_lasting) = setup.refusal(&error);
                ClientError::Connect { origin: self.origin.clone(), reason, is_lasting }
            }
            SendRequestError::Url(_) => self.broken("it redirects to something that is no URL"),
            SendRequestError::Send(error) => self.broken(&error.to_string()),
            SendRequestError::Response(_) => self.broken("the answer is no HTTP"),
            error => self.broken(&error.to_string()),
        }
    }

    fn late(&self) -> ClientError {
        ClientError::Timeout { origin: self.origin.clone(), timeout: self.timeout }
    }

    fn broken_body(&self, error: &PayloadError) -> ClientError {
        self.broken(&format!("the body is not whole: {error}"))
    }

    fn broken(&self, reason: &str) -> ClientError {
        ClientError::Broken { origin: self.origin.clone(), reason: reason.to_owned() }
    }

    fn too_large(&self) -> ClientError {
        ClientError::BodyTooLarge { origin: self.origin.clone(), body_max: self.body_max }
    }
}

/// An attempt on its way. However it ends, its pass is settled.
struct Trial<'a> {
    bench: &'a Bench,
    origin: &'a str,
    pass: Pass,
    verdict: Verdict,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let mut circuits = self.bench.circuits.borrow_mut();
        if circuits.settle(self.origin, self.pass, self.verdict, Instant::now()) {
            let open_for = self.bench.setup.options.breaker_open_for;
            tracing::warn!(
                origin = self.origin,
                ?open_for,
                "HTTP calls to an origin are suspended"
            );
        }
    }
}
