//! The servers: the name of one enters, its port leaves on standard output, and it serves until its
//! process is killed.
#![allow(clippy::print_stdout)] // the port is for the process that started this one

use std::collections::HashMap;
use std::future::pending;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_cors::Cors;
use actix_web::error::{
    ErrorForbidden, ErrorTooManyRequests, ErrorUnauthorized, ErrorUnprocessableEntity,
};
use actix_web::http::header;
use actix_web::middleware::DefaultHeaders;
use actix_web::{App as WebApp, Error, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;
use bytestring::ByteString;
use callboard::db::Db;
use callboard::http::{Route, Routes};
use callboard::prelude::*;
use callboard::settings::Settings;
use callboard::ws::Ws;
use callboard::{Runtime, Subscriber};
use garde::Validate;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::machine;
use crate::peers::callboard::SYSTEM;
use crate::wire::{News, ORIGIN, PERMISSION, Purchase, Receipt, SECRET, sell};

/// How many handlers wait for something in the figure of idle subscriptions.
pub(crate) const SUBSCRIPTIONS: usize = 100_000;

/// Serves until the process ends.
pub(crate) fn serve(what: &str) -> Result<(), Failure> {
    machine::pin(machine::AWAY);
    actix_rt::System::new().block_on(async {
        match what {
            "http-bare" => bare(|config| {
                config.route("/purchases", web::post().to(purchase));
            })?,
            "ws-bare" => {
                let crowd = Crowd::default();
                bare(move |config| {
                    config.app_data(web::Data::new(crowd.clone()));
                    config.route("/ws", web::get().to(connect));
                })?;
            }
            "guarded-bare" => guarded()?,
            "guarded-ours" => ours(everything_on()?).await?,
            "http-ours" => ours(App::new(settings()?).mount(shop(None)).routes(routes())).await?,
            "ws-ours" => {
                let permits = Ws::new().request::<Purchase>().publish::<News>().listen::<News>();
                let app = App::new(settings()?).mount(shop(None)).ws("/ws", permits);
                ours(app).await?;
            }
            "db-ours" => with_db().await?,
            "subscriptions" => subscriptions().await?,
            _ => return Err(Failure::Usage("serve http-ours|http-bare|ws-ours|ws-bare|…")),
        }
        pending().await
    })
}

fn announce(address: Option<&SocketAddr>) -> Result<(), Failure> {
    let address = address.ok_or_else(|| Failure::Answer("no address".to_owned()))?;
    println!("{}", address.port());
    Ok(stdout().flush()?)
}

// ---- ours ----

/// The defaults, on any free port.
fn settings() -> Result<Settings, Failure> {
    Settings::from_vars([("SERVER_PORT", "0")]).map_err(|error| Failure::of(SYSTEM)(&error))
}

fn routes() -> Routes {
    Routes::new().post::<Purchase>("/purchases")
}

/// With everything at the edge that can be switched on.
fn everything_on() -> Result<App, Failure> {
    let settings = Settings::from_vars([
        ("SERVER_PORT", "0"),
        ("SERVER_COMPRESSION", "on"),
        ("SERVER_RATE_LIMIT", "1000000"),
        ("AUTH_SECRET", SECRET),
        ("CORS_ORIGINS", ORIGIN),
    ]);
    let settings = settings.map_err(|error| Failure::of(SYSTEM)(&error))?;
    let route = Route::post::<Purchase>("/purchases").permissions_all([PERMISSION]);
    let routes = Routes::new().route(route).validate::<Purchase>();
    Ok(App::new(settings).mount(shop(None)).routes(routes))
}

fn shop(db: Option<Db>) -> Domain {
    Domain::new("bench").handler(Shop { db })
}

async fn ours(app: App) -> Result<(), Failure> {
    let running = app.start().await.map_err(|error| Failure::of(SYSTEM)(&error))?;
    announce(running.addresses().first())
}

#[derive(Clone)]
struct Shop {
    /// Asked whether it is there, where there is one.
    db: Option<Db>,
}

impl EventHandler for Shop {
    type Input = Purchase;
    type Output = Receipt;

    async fn handle(&self, purchase: &Purchase, _: &EventContext) -> HandlerResult<Receipt> {
        if let Some(db) = &self.db {
            db.ping().await?;
        }
        Ok(sell(purchase).await)
    }
}

/// With a database in the working folder, which is the default.
async fn with_db() -> Result<(), Failure> {
    let settings = settings()?;
    let db = Db::connect(&settings.db).await.map_err(|error| Failure::of(SYSTEM)(&error))?;
    ours(App::new(settings).mount(shop(Some(db))).routes(routes())).await
}

/// Many handlers that wait for one event, and a port at which nobody listens.
async fn subscriptions() -> Result<(), Failure> {
    let domain = (0..SUBSCRIPTIONS).fold(Domain::new("bench"), |domain, n| {
        let idler = Subscriber::new(|| Idler).on::<News, ()>();
        domain.actor(idler.named(format!("Idler{n}")))
    });
    let runtime = Runtime::new().mount(domain).start().await;
    runtime.map_err(|error| Failure::of(SYSTEM)(&error))?;
    announce(Some(&([127, 0, 0, 1], 0).into()))
}

struct Idler;

impl actix::Actor for Idler {
    type Context = actix::Context<Self>;
}

impl actix::Handler<callboard::Delivery<News>> for Idler {
    type Result = HandlerResult<()>;

    fn handle(
        &mut self,
        _: callboard::Delivery<News>,
        _: &mut actix::Context<Self>,
    ) -> Self::Result {
        Ok(())
    }
}

// ---- bare actix-web ----

fn bare(
    configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> Result<(), Failure> {
    let server = HttpServer::new(move || WebApp::new().configure(configure.clone()));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0))?;
    announce(server.addrs().first())?;
    actix_rt::spawn(server.run());
    Ok(())
}

/// The same by hand, as far as clients can see: tokens, rules of content, other origins, safe headers,
/// a limit by client and trace ids.
fn guarded() -> Result<(), Failure> {
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let server = HttpServer::new(move || {
        let cors = Cors::default().allowed_origin(ORIGIN).allow_any_method().allow_any_header();
        let exposed = ["x-trace-id", "x-correlation-id", "ratelimit", "ratelimit-policy"];
        let safe = DefaultHeaders::new()
            .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .add((header::X_FRAME_OPTIONS, "DENY"))
            .add((header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"))
            .add((header::REFERRER_POLICY, "no-referrer"));
        let desk = Desk {
            key: key.clone(),
            validation: Validation::new(Algorithm::HS256),
            seen: Mutex::default(),
        };
        WebApp::new()
            .wrap(cors.expose_headers(exposed))
            .wrap(safe)
            .app_data(web::Data::new(desk))
            .route("/purchases", web::post().to(known_purchase))
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0))?;
    announce(server.addrs().first())?;
    actix_rt::spawn(server.run());
    Ok(())
}

/// Who may come in, and how often.
struct Desk {
    key: DecodingKey,
    validation: Validation,
    /// When a client was seen first in the second that is counted, and how often since.
    seen: Mutex<HashMap<String, (Instant, u32)>>,
}

/// The requests of one client in a second.
const RATE_LIMIT: u32 = 1_000_000;

impl Desk {
    /// What is left to the client.
    fn count(&self, client: String) -> Option<u32> {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, count) = seen.entry(client).or_insert((now, 0));
        if now.duration_since(*begun) >= Duration::from_secs(1) {
            (*begun, *count) = (now, 0);
        }
        *count += 1;
        RATE_LIMIT.checked_sub(*count)
    }
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    permissions: Vec<String>,
}

async fn known_purchase(
    request: HttpRequest,
    desk: web::Data<Desk>,
    purchase: web::Json<Purchase>,
) -> Result<HttpResponse, Error> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let shown = text(header::AUTHORIZATION);
    let token = shown.and_then(|shown| shown.strip_prefix("Bearer ")).unwrap_or_default();
    let known = jsonwebtoken::decode::<Claims>(token, &desk.key, &desk.validation);
    let known = known.map_err(ErrorUnauthorized)?;
    let left = desk.count(known.claims.sub).ok_or_else(|| ErrorTooManyRequests("too many"))?;
    if !known.claims.permissions.iter().any(|permission| permission == PERMISSION) {
        return Err(ErrorForbidden(PERMISSION));
    }
    purchase.validate().map_err(ErrorUnprocessableEntity)?;
    let parent = text(header::HeaderName::from_static("traceparent"));
    let trace_id = parent.and_then(|parent| parent.split('-').nth(1)).unwrap_or_default();
    Ok(HttpResponse::Ok()
        .insert_header(("x-trace-id", trace_id))
        .insert_header(("x-correlation-id", trace_id))
        .insert_header(("ratelimit", format!("\"server\";r={left};t=1")))
        .insert_header(("ratelimit-policy", format!("\"server\";q={RATE_LIMIT};w=1")))
        .json(sell(&purchase).await))
}

async fn purchase(purchase: web::Json<Purchase>) -> web::Json<Receipt> {
    web::Json(sell(&purchase).await)
}

/// The addresses of all sessions.
#[derive(Clone, Default)]
struct Crowd(Arc<Mutex<Vec<actix::Recipient<Told>>>>);

/// A frame for a session.
#[derive(Clone)]
struct Told(ByteString);

impl actix::Message for Told {
    type Result = ();
}

struct Session {
    crowd: Crowd,
}

#[derive(Deserialize)]
struct Asked<'t> {
    event_type: &'t str,
    #[serde(borrow)]
    payload: &'t RawValue,
    id: Option<u64>,
}

#[derive(Serialize)]
struct Answered<T> {
    event_type: &'static str,
    payload: T,
    id: Option<u64>,
    error: Option<()>,
}

async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    crowd: web::Data<Crowd>,
) -> Result<HttpResponse, Error> {
    ws::start(Session { crowd: (**crowd).clone() }, &request, payload)
}

impl actix::Actor for Session {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        use actix::AsyncContext;
        let address = ctx.address().recipient();
        self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner).push(address);
    }
}

impl actix::Handler<Told> for Session {
    type Result = ();

    fn handle(&mut self, Told(text): Told, ctx: &mut Self::Context) {
        ctx.text(text);
    }
}

impl actix::StreamHandler<Result<ws::Message, ws::ProtocolError>> for Session {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => self.answer(&text, ctx),
            Ok(ws::Message::Ping(data)) => ctx.pong(&data),
            _ => {}
        }
    }
}

impl Session {
    fn answer(&self, text: &str, ctx: &mut ws::WebsocketContext<Self>) {
        use actix::{ActorContext, AsyncContext, WrapFuture};
        let Ok(asked) = serde_json::from_str::<Asked<'_>>(text) else { return ctx.stop() };
        if asked.event_type == News::NAME {
            return self.tell(asked.payload.get());
        }
        let Ok(purchase) = serde_json::from_str(asked.payload.get()) else { return ctx.stop() };
        let id = asked.id;
        let answer = async move { sell(&purchase).await }.into_actor(self);
        ctx.wait(actix::ActorFutureExt::map(
            answer,
            move |payload, _, ctx: &mut ws::WebsocketContext<Self>| {
                let answer = Answered { event_type: Receipt::NAME, payload, id, error: None };
                ctx.text(serde_json::to_string(&answer).unwrap_or_default());
            },
        ));
    }

    /// Reads the news, and writes it once for all.
    fn tell(&self, payload: &str) {
        let Ok(payload) = serde_json::from_str::<News>(payload) else { return };
        let told = Answered { event_type: News::NAME, payload, id: None, error: None };
        let told = Told(serde_json::to_string(&told).unwrap_or_default().into());
        for session in self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // One whose mailbox is full has not read the last news either.
            let _ = session.try_send(told.clone());
        }
    }
}
