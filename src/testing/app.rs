//! An application for one test: it listens on a free port of this machine, and is asked over real
//! sockets.

use std::fmt;

use awc::Client;
use awc::http::Method;
use callboard_actors::{Bus, Runtime};

use super::exchange::{PATIENCE, Sent};
use super::request::TestRequest;
use super::session::TestHandshake;
use crate::app::{App, AppError, Running};

/// A running application and a client of it.
///
/// It speaks plain HTTP on a free port of 127.0.0.1, whatever the settings say about where to
/// listen, so that tests run beside each other, and writes no log: a test that wants one calls
/// [`telemetry::init`](crate::telemetry::init) before. Everything else is as in production. Dropped
/// without [`stop`](Self::stop), it stops at once and lets nothing finish.
///
/// ```
/// use callboard::prelude::*;
/// use callboard::settings::Settings;
/// use callboard::testing::TestApp;
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// # struct CreateUser { name: String }
/// # impl Event for CreateUser { const NAME: &'static str = "user.create"; }
/// # impl Replies for CreateUser { type Reply = UserCreated; }
/// # #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// # struct UserCreated { id: i64, name: String }
/// # impl Event for UserCreated { const NAME: &'static str = "user.created"; }
/// # #[derive(Clone)]
/// # struct Registrar;
/// # impl EventHandler for Registrar {
/// #     type Input = CreateUser;
/// #     type Output = UserCreated;
/// #     async fn handle(&self, event: &CreateUser, _: &EventContext) -> HandlerResult<UserCreated> {
/// #         if event.name.is_empty() {
/// #             return Err(HandlerError::conflict("nobody").code("no_name"));
/// #         }
/// #         Ok(UserCreated { id: 1, name: event.name.clone() })
/// #     }
/// # }
/// # fn domain() -> Domain { Domain::new("user").handler(Registrar) }
/// # fn routes() -> Routes { Routes::new().post::<CreateUser>("/users") }
/// # fn ws() -> callboard::ws::Ws { callboard::ws::Ws::new().listen::<UserCreated>() }
///
/// # #[actix_web::main] // in a test: `#[actix_web::test]`
/// # async fn main() {
/// let app = App::new(Settings::for_tests()).mount(domain()).routes(routes()).ws("/ws", ws());
/// let app = TestApp::start(app).await.unwrap();
///
/// let mut session = app.ws("/ws").await;
/// session.subscribe::<UserCreated>().await;
///
/// let ada = CreateUser { name: "Ada".into() };
/// let created = app.post("/users").json(&ada).await.expect_status(201);
/// assert_eq!(created.json::<UserCreated>().name, "Ada");
/// assert_eq!(session.receive_event::<UserCreated>().await.name, "Ada");
///
/// let nobody = CreateUser { name: String::new() };
/// app.post("/users").json(&nobody).await.expect_problem(409, "no_name");
///
/// session.close().await;
/// app.stop().await;
/// # }
/// ```
pub struct TestApp {
    /// `None` once stopped.
    running: Option<Running>,
    client: Client,
    origin: String,
}

impl TestApp {
    /// Starts the application.
    ///
    /// # Errors
    /// What keeps it from starting.
    ///
    /// # Panics
    /// Outside an actix system.
    pub async fn start(app: App) -> Result<Self, AppError> {
        let running = app.alone().start_silent().await?;
        let origin = running.addresses().iter().map(|address| format!("http://{address}"));
        let origin = origin.take(1).collect();
        let client = Client::builder().timeout(PATIENCE).disable_redirects().finish();
        Ok(Self { running: Some(running), client, origin })
    }

    /// The bus, to publish on it or to look what went over it.
    pub fn bus(&self) -> Bus {
        self.running().bus()
    }

    /// The runtime, with its metrics and its health.
    pub fn runtime(&self) -> &Runtime {
        self.running().runtime()
    }

    /// The whole URL of a path, for other clients.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Begins a GET of a path, with its query string if it has one.
    #[track_caller]
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET.as_str(), path)
    }

    /// Begins a HEAD, whose answer has no body.
    #[track_caller]
    pub fn head(&self, path: &str) -> TestRequest {
        self.request(Method::HEAD.as_str(), path)
    }

    /// Begins a POST.
    #[track_caller]
    pub fn post(&self, path: &str) -> TestRequest {
        self.request(Method::POST.as_str(), path)
    }

    /// Begins a PUT.
    #[track_caller]
    pub fn put(&self, path: &str) -> TestRequest {
        self.request(Method::PUT.as_str(), path)
    }

    /// Begins a PATCH.
    #[track_caller]
    pub fn patch(&self, path: &str) -> TestRequest {
        self.request(Method::PATCH.as_str(), path)
    }

    /// Begins a DELETE.
    #[track_caller]
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE.as_str(), path)
    }

    /// Begins a request with any method.
    ///
    /// # Panics
    /// When the method is no word.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str) -> TestRequest {
        let sent = Sent::new(format!("{method} {path}"));
        let method = Method::try_from(method);
        let method = method.unwrap_or_else(|error| panic!("{sent}: {error}"));
        TestRequest::new(self.client.request(method, self.url(path)), sent)
    }

    /// Begins a WebSocket session.
    #[track_caller]
    pub fn ws(&self, path: &str) -> TestHandshake {
        let sent = Sent::new(format!("handshake {path}"));
        TestHandshake::new(self.client.ws(self.url(path)), sent)
    }

    /// Stops the application as a signal would, and waits until it has.
    ///
    /// # Panics
    /// When something was left unfinished.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take()
            && let Err(error) = running.stop().await
        {
            panic!("{error}");
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs until `stop` has taken it")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abandon();
        }
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp").field("origin", &self.origin).finish_non_exhaustive()
    }
}
