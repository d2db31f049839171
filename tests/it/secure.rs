//! Who may come in, over real sockets: an application with a provider, the clients that knock, and
//! tokens for them.

mod application;
mod embedding;
mod example;
mod operating;
mod routes;
mod sessions;

use std::marker::PhantomData;
use std::time::SystemTime;

use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use awc::ClientRequest;
use callboard::auth::{JwtIssuer, JwtKey, JwtProvider};
use callboard::http::{Route, Routes};
use callboard::settings::Settings;
use callboard::ws::{Permit, Ws};
use callboard::{
    App, Domain, Event, EventContext, EventHandler, HandlerResult, Identity, Replies, Running, secs,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const SECRET: &str = "a secret of the tests, long enough";
const FOREIGN_SECRET: &str = "another secret of the tests, long enough";

/// Declares events: `"name" => Type { fields }`, with `-> Reply` where they have one.
macro_rules! events {
    ($($name:literal => $event:ident $fields:tt $(-> $reply:ty)?;)*) => {$(
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        struct $event $fields
        impl Event for $event {
            const NAME: &'static str = $name;
        }
        $(impl Replies for $event {
            type Reply = $reply;
        })?
    )*};
}

events! {
    "who.ask" => Ask { id: Option<i64> } -> Answered;
    "who.answered" => Answered { subject: Option<String>, permissions: Vec<String>, id: Option<i64> };
    "who.enter" => Enter { id: Option<i64> } -> Answered;
    "who.note" => Note { text: String };
    "who.noted" => Noted { text: String, by: Option<String> };
}

/// Tells whom the context names.
#[derive(Clone)]
struct Tell<E>(PhantomData<fn(E)>);

impl<E: Replies<Reply = Answered> + HasId> EventHandler for Tell<E> {
    type Input = E;
    type Output = Answered;

    async fn handle(&self, event: &E, ctx: &EventContext) -> HandlerResult<Answered> {
        let identity = ctx.identity().cloned();
        let (subject, permissions) = match identity {
            Some(Identity { subject, permissions, .. }) => (Some(subject), permissions),
            None => (None, Vec::new()),
        };
        Ok(Answered { subject, permissions, id: event.id() })
    }
}

trait HasId {
    fn id(&self) -> Option<i64>;
}
impl HasId for Ask {
    fn id(&self) -> Option<i64> {
        self.id
    }
}
impl HasId for Enter {
    fn id(&self) -> Option<i64> {
        self.id
    }
}

/// Notes who said something; what follows from it has the same identity.
#[derive(Clone)]
struct Write;

impl EventHandler for Write {
    type Input = Note;
    type Output = Noted;

    async fn handle(&self, note: &Note, ctx: &EventContext) -> HandlerResult<Noted> {
        let by = ctx.identity().map(|identity| identity.subject.clone());
        Ok(Noted { text: note.text.clone(), by })
    }
}

/// Hands on whom the context of the following event names.
#[derive(Clone)]
struct Follow(UnboundedSender<(String, Option<String>)>);

impl EventHandler for Follow {
    type Input = Noted;
    type Output = ();

    async fn handle(&self, noted: &Noted, ctx: &EventContext) -> HandlerResult<()> {
        let by = ctx.identity().map(|identity| identity.subject.clone());
        assert_eq!(noted.by, by);
        self.0.send((noted.text.clone(), by))?;
        Ok(())
    }
}

fn domain() -> (Domain, UnboundedReceiver<(String, Option<String>)>) {
    let (sender, notes) = unbounded_channel();
    let domain =
        Domain::new("who").handler(Tell::<Ask>(PhantomData)).handler(Tell::<Enter>(PhantomData));
    (domain.handler(Write).handler(Follow(sender)), notes)
}

fn routes() -> Routes {
    Routes::new()
        .get::<Ask>("/private")
        .post::<Ask>("/private")
        .route(Route::get::<Ask>("/public").public())
        .route(Route::post::<Enter>("/all").permissions_all(["a", "b"]))
        .route(Route::get::<Enter>("/any").permissions_any(["a", "c"]))
        .publish::<Note>("/notes")
}

fn ws() -> Ws {
    Ws::new()
        .publish::<Note>()
        .request::<Ask>()
        .permit(Permit::request::<Enter>().permissions_all(["a"]))
        .permit(Permit::listen::<Noted>().permissions_any(["b", "c"]))
}

/// No leeway, so that an expired token has expired.
fn provider() -> JwtProvider {
    JwtProvider::new([JwtKey::hs256(SECRET).unwrap()]).unwrap().leeway(secs(0))
}

fn issuer() -> JwtIssuer {
    JwtIssuer::hs256(SECRET).unwrap()
}

/// A good token of Ada's.
fn token(permissions: &[&str]) -> String {
    let issuer = issuer();
    issuer.token("ada").permissions(permissions.iter().copied()).sign().unwrap()
}

/// Everything that is no good token, and the code of its refusal.
fn bad_tokens() -> [(String, &'static str); 4] {
    let foreign = JwtIssuer::hs256(FOREIGN_SECRET).unwrap().token("ada").sign();
    let long_ago = SystemTime::now() - secs(7200);
    let expired = issuer().token("ada").issued_at(long_ago).sign();
    let early = issuer().token("ada").not_before(SystemTime::now() + secs(3600)).sign();
    [
        ("wrong".to_owned(), "invalid_token"),
        (foreign.unwrap(), "invalid_token"),
        (expired.unwrap(), "token_expired"),
        (early.unwrap(), "token_not_yet_valid"),
    ]
}

/// An application on a free port.
fn settings(vars: &[(&str, &str)]) -> Settings {
    let fixed = [("SERVER_PORT", "0"), ("LOG_LEVEL", "off")];
    Settings::from_vars(fixed.iter().chain(vars).copied()).unwrap()
}

fn app() -> App {
    App::new(settings(&[])).mount(domain().0).routes(routes()).ws("/ws", ws())
}

async fn serve() -> Server {
    Server(app().auth(provider()).start().await.unwrap())
}

struct Server(Running);

impl Server {
    fn address(&self) -> std::net::SocketAddr {
        self.0.addresses()[0]
    }

    fn request(&self, method: Method, path: &str, token: Option<&str>) -> ClientRequest {
        request(self.address(), method, path, token)
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Response {
        Response::of(self.request(Method::GET, path, token).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Response {
        let request = self.request(Method::POST, path, token);
        Response::of(request.send_json(body).await.unwrap()).await
    }
}

fn request(
    address: std::net::SocketAddr,
    method: Method,
    path: &str,
    token: Option<&str>,
) -> ClientRequest {
    let client = awc::Client::builder().timeout(secs(10)).finish();
    let request = client.request(method, format!("http://{address}{path}"));
    match token {
        Some(token) => request.insert_header((AUTHORIZATION, format!("Bearer {token}"))),
        None => request,
    }
}

/// A response, read to its end.
#[derive(Debug)]
struct Response {
    status: u16,
    headers: HeaderMap,
    json: Value,
}

impl Response {
    async fn of<S>(mut response: awc::ClientResponse<S>) -> Self
    where
        S: futures_util::Stream<
                Item = Result<actix_web::web::Bytes, actix_web::error::PayloadError>,
            > + Unpin,
    {
        let body = response.body().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().iter().fold(HeaderMap::new(), |mut headers, (name, v)| {
                headers.append(name.clone(), v.clone());
                headers
            }),
            json: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    /// Reads one as it is written.
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            headers.append(name.parse().unwrap(), value.parse().unwrap());
        }
        Self { status, headers, json: serde_json::from_str(body).unwrap() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Whom a handler saw.
    #[track_caller]
    fn subject(&self) -> &Value {
        assert_eq!(self.status, 200, "{self:?}");
        &self.json["subject"]
    }

    /// Checks that it is a refusal in the shape of all problems.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["status"], status);
        let trace_id = self.json["trace_id"].as_str().unwrap();
        assert_eq!((trace_id.len(), trace_id), (32, self.header("x-trace-id")));
        let challenge = self.header("www-authenticate");
        match (status, code) {
            (401, "unauthorized") => assert_eq!(challenge, "Bearer"),
            (401, _) => assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_d")),
            (403, _) => assert!(challenge.starts_with("Bearer error=\"insufficient_scope\"")),
            _ => assert_eq!(challenge, ""),
        }
    }
}

fn nobody() -> Value {
    json!(null)
}
