//! A server with some handlers behind it, and frames for them.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actix_web::dev::{ServerHandle, Service, ServiceRequest};
use actix_web::{App, HttpMessage, HttpResponse, HttpServer, web};
use callboard::settings::WsSettings;
use callboard::ws::{self, Ws};
use callboard::{
    Bus, Domain, Event, EventContext, EventHandler, HandlerError, HandlerResult, Identity,
    Overflow, Policy, Replies, Runtime, millis,
};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use super::peer::{Client, Raw, exchange, soon};

/// Declares events: their names and fields.
macro_rules! events {
    ($($event:ident = $name:literal { $($field:ident: $type:ty),* })*) => {$(
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        pub(super) struct $event { $(pub(super) $field: $type),* }
        impl Event for $event {
            const NAME: &'static str = $name;
        }
    )*};
}

events! {
    Say = "chat.say" { room: String, text: String }
    Said = "chat.said" { room: String, text: String, by: Option<String> }
    Find = "user.find" { name: String, age: Option<u32> }
    Found = "user.found" { name: String, trace_id: String, source: String, subject: Option<String> }
    Purge = "user.purge" {}
    Tick = "clock.tick" { n: u32 }
    Blob = "blob.grown" { data: String }
    Store = "store.put" { n: u32 }
}

/// An event that cannot even be read.
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct Curse {}

impl Event for Curse {
    const NAME: &'static str = "curse.cast";
}

impl<'de> Deserialize<'de> for Curse {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a curse");
    }
}

impl Replies for Find {
    type Reply = Found;
}

/// Says again what was said.
#[derive(Clone)]
struct Repeat;

impl EventHandler for Repeat {
    type Input = Say;
    type Output = Said;

    async fn handle(&self, said: &Say, ctx: &EventContext) -> HandlerResult<Said> {
        let (room, text) = (said.room.clone(), said.text.clone());
        let by = ctx.identity().map(|identity| identity.subject.clone());
        Ok(Said { room, text, by })
    }
}

/// Finds whom it is asked for, and tells what it knows about the request.
#[derive(Clone)]
struct Finder {
    /// Released for those who ask for `slow`.
    release: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
}

impl EventHandler for Finder {
    type Input = Find;
    type Output = Found;

    async fn handle(&self, find: &Find, ctx: &EventContext) -> HandlerResult<Found> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match &*find.name {
            "nobody" => {
                return Err(HandlerError::not_found("nobody is called so")
                    .code("no_such_user")
                    .details(json!({"tried": 3})));
            }
            "broken" => return Err(HandlerError::retry("password=hunter2")),
            "panic" => panic!("password=hunter2"),
            "slow" => self.release.acquire().await?.forget(),
            _ => {}
        }
        Ok(Found {
            name: find.name.clone(),
            trace_id: ctx.trace_id().to_string(),
            source: ctx.source().to_owned(),
            subject: ctx.identity().map(|identity| identity.subject.clone()),
        })
    }
}

/// A handler that exists, and that no client may reach.
#[derive(Clone)]
struct Purger(Arc<AtomicUsize>);

impl EventHandler for Purger {
    type Input = Purge;
    type Output = ();

    async fn handle(&self, _: &Purge, _: &EventContext) -> HandlerResult<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Takes one event at a time, each when it is released.
#[derive(Clone)]
struct Keeper {
    release: Arc<Semaphore>,
    overflow: Overflow,
}

impl EventHandler for Keeper {
    type Input = Store;
    type Output = ();

    async fn handle(&self, _: &Store, _: &EventContext) -> HandlerResult<()> {
        self.release.acquire().await?.forget();
        Ok(())
    }

    fn policy(&self) -> Policy {
        let policy = Policy::default().concurrency(1).queue_max(1);
        policy.overflow(self.overflow)
    }
}

/// A server with everything above behind it.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    pub(super) ws: Ws,
    pub(super) runtime: Runtime,
    handle: ServerHandle,
    pub(super) release: Arc<Semaphore>,
    pub(super) asked: Arc<AtomicUsize>,
    pub(super) purged: Arc<AtomicUsize>,
    /// While it holds something, the thread that serves the clients does nothing.
    blocked: Blocked,
    /// Told whenever a connection has ended.
    pub(super) hung_up: Arc<Notify>,
}

/// Lives as long as its connection.
struct HungUp(Arc<Notify>);

impl Drop for HungUp {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

pub(super) fn permits() -> Ws {
    Ws::new()
        .publish::<Say>()
        .publish::<Store>()
        .publish::<Curse>()
        .request::<Find>()
        .listen::<Tick>()
        .listen::<Blob>()
        .listen_in_room::<Said>(|said| {
            assert_ne!(said.room, "cursed");
            &said.room
        })
}

/// How long a runtime that stops waits for what is in work.
pub(super) const DRAIN_TIMEOUT: Duration = millis(300);

/// Short times, and limits that are only reached on purpose.
pub(super) fn settings() -> WsSettings {
    let mut settings = WsSettings::default();
    settings.heartbeat = millis(50);
    settings.idle_timeout = Duration::from_secs(30);
    settings
}

pub(super) async fn serve() -> Server {
    serve_with(settings()).await
}

pub(super) async fn serve_with(settings: WsSettings) -> Server {
    serve_overflowing(settings, Overflow::Wait).await
}

pub(super) async fn serve_overflowing(settings: WsSettings, overflow: Overflow) -> Server {
    let (release, asked) = (Arc::new(Semaphore::new(0)), Arc::default());
    let purged = Arc::default();
    let finder = Finder { release: Arc::clone(&release), asked: Arc::clone(&asked) };
    let keeper = Keeper { release: Arc::clone(&release), overflow };
    let runtime = Runtime::new()
        .mount(Domain::new("chat").handler(Repeat))
        .mount(Domain::new("store").handler(keeper))
        .mount(Domain::new("user").handler(finder).handler(Purger(Arc::clone(&purged))));
    let ws = permits();
    let runtime = runtime.drain_timeout(DRAIN_TIMEOUT);
    let runtime = ws.declare(runtime).unwrap().start().await.unwrap();
    let (blocked, hung_up) = (Blocked::default(), Arc::default());
    let (addr, handle) = listen(&ws, &runtime.bus(), &settings, &blocked, &hung_up);
    Server { addr, ws, runtime, handle, release, asked, purged, blocked, hung_up }
}

fn listen(
    ws: &Ws,
    bus: &Bus,
    settings: &WsSettings,
    blocked: &Blocked,
    hung_up: &Arc<Notify>,
) -> (SocketAddr, ServerHandle) {
    let (route, patience) = (ws.install("/ws", bus, settings), ws::on_connect(settings));
    let (blocked, hung_up) = (Arc::clone(blocked), Arc::clone(hung_up));
    let server = HttpServer::new(move || {
        let authenticate = |request: ServiceRequest, next: &_| {
            // Stands for a middleware that has verified a token.
            let user = request.headers().get("x-user");
            if let Some(identity) = user.map(|user| Identity::new(user.to_str().unwrap())) {
                request.extensions_mut().insert(identity);
            }
            Service::call(next, request)
        };
        let blocked = Arc::clone(&blocked);
        let block = web::get().to(move || ready(block_thread(&blocked)));
        App::new().wrap_fn(authenticate).configure(route.clone()).route("/block", block)
    })
    .on_connect(move |socket, extensions| {
        extensions.insert(HungUp(Arc::clone(&hung_up)));
        patience(socket, extensions);
        let socket = socket.downcast_ref::<actix_web::rt::net::TcpStream>();
        assert!(socket.unwrap().nodelay().unwrap());
    })
    .workers(1)
    .disable_signals()
    // Otherwise a connection that the server ends takes a second to end.
    .client_disconnect_timeout(Duration::ZERO)
    .bind(("127.0.0.1", 0))
    .unwrap();
    let addr = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    (addr, handle)
}

type Blocked = Arc<Mutex<Option<mpsc::Receiver<()>>>>;

/// Stops the thread until the sender of what it finds is gone.
fn block_thread(blocked: &Blocked) -> HttpResponse {
    let released = blocked.lock().take();
    if let Some(released) = released {
        // An error is the expected end.
        let _ = released.recv();
    }
    HttpResponse::Ok().finish()
}

impl Server {
    pub(super) async fn client(&self) -> Client {
        Client::connect(self.addr).await
    }

    pub(super) async fn raw(&self) -> Raw {
        Raw::connect(self.addr).await
    }

    pub(super) fn bus(&self) -> Bus {
        self.runtime.bus()
    }

    pub(super) async fn tick(&self, n: u32) {
        self.bus().publish(Tick { n }).await.unwrap();
    }

    /// Stops the thread that serves the clients until the sender is dropped.
    pub(super) async fn block(&self) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        *self.blocked.lock() = Some(released);
        let request = format!("GET /block HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr);
        let addr = self.addr;
        actix_web::rt::spawn(async move { exchange(addr, &request).await });
        soon("the thread to stop", async {
            while self.blocked.lock().is_some() {
                tokio::time::sleep(millis(1)).await;
            }
        })
        .await;
        release
    }

    /// Waits until this many sessions are open.
    pub(super) async fn sessions(&self, expected: usize) {
        soon("the right number of sessions", async {
            while self.ws.stats().sessions != expected {
                tokio::time::sleep(millis(1)).await;
            }
        })
        .await;
    }
}

pub(super) fn find(name: &str, id: impl Into<Value>) -> Value {
    json!({"event_type": "user.find", "payload": {"name": name}, "id": id.into()})
}

pub(super) fn say(room: &str, text: &str) -> Value {
    json!({"event_type": "chat.say", "payload": {"room": room, "text": text}})
}
