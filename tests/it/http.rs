//! The HTTP edge over real sockets. Here: the server, the client and the events that its tests
//! share.

use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::App;
use actix_web::dev::ServerHandle;
use actix_web::http::header::HeaderMap;
use actix_web::web::{Bytes, ServiceConfig};
use awc::{Client, ClientRequest, http::Method};
use callboard::http::{Routes, not_found, operations};
use callboard::settings::ServerSettings;
use callboard::{
    Domain, Event, EventContext, EventHandler, HandlerResult, Output, Policy, Replies, Runtime,
    RuntimeBuilder,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

mod accepting;
mod binding;
mod bodies;
mod compressing;
mod cors;
mod describing;
#[cfg(feature = "swagger-ui")]
mod docs;
mod embedding;
mod limiting;
mod load;
mod malformed;
mod operating;
mod problems;
mod repeating;
mod replies;
mod resting;
mod restarting;
mod routing;
mod scraping;
mod tracing;
#[cfg(feature = "validate")]
mod validating;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Declares event types: `"name" => Type { fields }`, with `-> Reply` where they have one.
macro_rules! events {
    ($($(#[$attribute:meta])* $name:literal => $event:ident $fields:tt $(-> $reply:ty)?;)*) => {$(
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        $(#[$attribute])*
        struct $event $fields
        impl callboard::Event for $event {
            const NAME: &'static str = $name;
        }
        $(impl callboard::Replies for $event {
            type Reply = $reply;
        })?
    )*};
}
use events;

/// A handler made from a function of the event.
#[derive(Clone)]
struct By<E, O, F>(F, Policy, PhantomData<fn(E) -> O>);

fn by<E, O, F>(handle: F) -> By<E, O, F> {
    by_policy(Policy::default(), handle)
}

fn by_policy<E, O, F>(policy: Policy, handle: F) -> By<E, O, F> {
    By(handle, policy, PhantomData)
}

impl<E, O, F, Fut> EventHandler for By<E, O, F>
where
    E: Event,
    O: Output + Clone,
    F: Fn(E, String) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = HandlerResult<O>>,
{
    type Input = E;
    type Output = O;

    async fn handle(&self, event: &E, ctx: &EventContext) -> HandlerResult<O> {
        (self.0)(event.clone(), ctx.source().to_owned()).await
    }

    fn policy(&self) -> Policy {
        self.1.clone()
    }
}

/// A handler for events whose reply is a plain function of them.
fn answer<E: Replies>(
    reply: impl Fn(E) -> HandlerResult<E::Reply> + Clone + Send + 'static,
) -> impl EventHandler<Input = E, Output = E::Reply> {
    by(move |event: E, _| std::future::ready(reply(event)))
}

/// Serves an actix-web application, whose type has no name.
macro_rules! serve {
    ($runtime:expr, $app:expr) => {{
        let server = actix_web::HttpServer::new(move || $app)
            .workers(1)
            .disable_signals()
            .bind(("127.0.0.1", 0))
            .unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let client = awc::Client::builder().timeout($crate::http::PATIENCE);
        $crate::http::Server { address, runtime: $runtime, client: client.finish(), handle }
    }};
}
use serve;

/// A running server with a runtime behind it.
struct Server {
    address: SocketAddr,
    runtime: Runtime,
    client: Client,
    handle: ServerHandle,
}

impl Server {
    /// Serves the routes, which are sound, with one domain behind them.
    async fn start(domain: Domain, routes: Routes) -> Self {
        routes.check().unwrap();
        let runtime = routes.declare(Runtime::new().mount(domain));
        Self::start_with(runtime, &routes, &ServerSettings::default()).await
    }

    async fn start_with(
        runtime: RuntimeBuilder,
        routes: &Routes,
        settings: &ServerSettings,
    ) -> Self {
        let runtime = runtime.start().await.unwrap();
        let api = routes.install_with(runtime.bus(), settings);
        Self::serve(runtime, api)
    }

    /// Serves what `configure` installs, beside the ready-made routes.
    fn serve(
        runtime: Runtime,
        configure: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        let bus = runtime.bus();
        let watch = operations(bus.clone());
        let app = move || {
            App::new()
                .configure(configure.clone())
                .configure(watch.clone())
                .default_service(not_found(bus.clone()))
        };
        serve!(runtime, app())
    }

    fn request(&self, method: Method, path: &str) -> ClientRequest {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    async fn send(&self, method: Method, path: &str) -> Answer {
        Answer::of(self.request(method, path).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path);
        Answer::of(request.send_json(body).await.unwrap()).await
    }

    /// Sends a body that is what the caller says, whatever it is.
    async fn post_text(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request(Method::POST, path).content_type(content_type);
        Answer::of(request.send_body(body.into()).await.unwrap()).await
    }

    /// Sends bytes as they are and reads until the server closes the connection.
    async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that has refused a body may close before it has read all of it.
        let _ = stream.write_all(request.as_ref()).await;
        let mut response = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut response)).await;
        // It resets the connection then, after the response.
        let _ = read.expect("the server closes the connection");
        String::from_utf8(response).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The order is given by the call; nobody waits for its end.
        drop(self.handle.stop(false));
    }
}

/// A response, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn of<S>(mut response: awc::ClientResponse<S>) -> Self
    where
        S: futures_util::Stream<Item = Result<Bytes, actix_web::error::PayloadError>> + Unpin,
    {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().iter().fold(
                HeaderMap::new(),
                |mut headers, (name, value)| {
                    headers.append(name.clone(), value.clone());
                    headers
                },
            ),
            body: response.body().await.unwrap(),
        }
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The JSON of a success.
    #[track_caller]
    fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        self.json()
    }

    /// The problem, which has the shape of all problems.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], format!("urn:callboard:problem:{code}"));
        let title = problem["title"].as_str().unwrap();
        assert!(!title.is_empty(), "{problem}");
        let trace_id = problem["trace_id"].as_str().unwrap();
        assert_eq!(trace_id.len(), 32, "{problem}");
        assert_eq!(self.header("x-trace-id"), trace_id);
        let known = ["type", "title", "status", "code", "detail", "trace_id", "errors", "details"];
        for member in problem.as_object().unwrap().keys() {
            assert!(known.contains(&member.as_str()), "{problem}");
        }
        problem
    }

    /// The field and the message of the one thing that is wrong with an event.
    #[track_caller]
    fn wrong_field(&self) -> (String, String) {
        let problem = self.problem(422, "invalid");
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{problem}");
        let text = |member: &str| errors[0][member].as_str().unwrap().to_owned();
        (text("field"), text("message"))
    }
}

/// Waits until something holds that no signal tells of.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}
