//! Streams of server-sent events over real sockets. Here: the application, the events and the client
//! that its tests share.

mod auth;
mod embedding;
mod ends;
mod limits;
mod names;
mod replay;
mod wire;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use awc::http::Method;
use callboard::settings::Settings;
use callboard::sse::Sse;
use callboard::{App, Event, Running, millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far longer than anything here takes: when it is over, the test has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the streams are.
const PATH: &str = "/events/stream";

/// Declares events: their names and fields.
macro_rules! events {
    ($($event:ident = $name:literal { $($field:ident: $type:ty),* })*) => {$(
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        struct $event { $($field: $type),* }
        impl Event for $event {
            const NAME: &'static str = $name;
        }
    )*};
}

events! {
    Placed = "order.placed" { id: u32 }
    Shipped = "order.shipped" { id: u32 }
    Purged = "order.purged" { id: u32 }
    Said = "chat.said" { room: String, text: String }
    Blob = "blob.grown" { data: String }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: nothing came"))
}

fn list() -> Sse {
    Sse::new()
        .listen::<Placed>()
        .listen::<Shipped>()
        .listen::<Blob>()
        .listen_in_room::<Said>(|said| &said.room)
}

/// Short times, on a free port.
fn settings(vars: &[(&str, &str)]) -> Settings {
    let fixed = [("SERVER_PORT", "0"), ("LOG_LEVEL", "off"), ("SSE_HEARTBEAT", "0.05")];
    Settings::from_vars(fixed.iter().chain(vars).copied()).unwrap()
}

struct Server {
    running: Running,
    sse: Sse,
}

async fn serve() -> Server {
    serve_with(&[]).await
}

async fn serve_with(vars: &[(&str, &str)]) -> Server {
    Server::start(App::new(settings(vars)), list()).await
}

impl Server {
    async fn start(app: App, sse: Sse) -> Self {
        let running = app.sse(PATH, sse.clone()).start().await.unwrap();
        Self { running, sse }
    }

    fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    async fn open(&self, query: &str) -> Stream {
        self.open_with(query, &[]).await
    }

    async fn open_with(&self, query: &str, headers: &[(&str, &str)]) -> Stream {
        Stream::open(self.address(), &format!("{PATH}{query}"), headers).await
    }

    /// A stream that goes on after the event with this id.
    async fn come_back(&self, query: &str, id: &str) -> Stream {
        self.open_with(query, &[("Last-Event-ID", id)]).await
    }

    async fn ask(&self, method: Method, query: &str, headers: &[(&str, &str)]) -> Answer {
        Answer::of(self.address(), method, &format!("{PATH}{query}"), headers).await
    }

    async fn place(&self, id: u32) {
        self.running.bus().publish(Placed { id }).await.unwrap();
    }

    async fn ship(&self, id: u32) {
        self.running.bus().publish(Shipped { id }).await.unwrap();
    }

    /// Waits until this many streams are open.
    async fn streams(&self, expected: usize) {
        soon("the right number of streams", async {
            while self.sse.stats().streams != expected {
                tokio::time::sleep(millis(1)).await;
            }
        })
        .await;
    }
}

/// An answer that is no stream.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    async fn of(address: SocketAddr, method: Method, path: &str, headers: &[(&str, &str)]) -> Self {
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        let mut request = client.request(method, format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let mut response = request.send().await.unwrap();
        let body = soon("a body", response.body()).await.unwrap();
        let text = |(name, value): (&awc::http::header::HeaderName, &_)| {
            let value: &awc::http::header::HeaderValue = value;
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        Self {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(text).collect(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(problem["trace_id"], self.header("x-trace-id"));
        problem
    }
}

/// An event as a browser would dispatch it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    id: String,
    name: String,
    data: String,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    /// Name and id of an order's event.
    fn order(&self) -> (&str, u64) {
        (&self.name, self.json()["id"].as_u64().unwrap())
    }
}

/// A client that reads streams as the HTML standard says.
struct Stream {
    socket: TcpStream,
    head: String,
    /// What came, and of that what the chunks hold.
    raw: Vec<u8>,
    text: String,
    is_over: bool,
    /// The fields of the event under way, and those that stay.
    last_id: String,
    retry: Option<u64>,
    comments: Vec<String>,
}

impl Stream {
    async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n");
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        let mut raw = Vec::new();
        let end = loop {
            if let Some(at) = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            let read = soon("a head", socket.read_buf(&mut raw)).await.unwrap();
            assert_ne!(read, 0, "the connection ended");
        };
        let head = String::from_utf8(raw.drain(..end).collect()).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let (text, last_id) = (String::new(), String::new());
        let (is_over, retry, comments) = (false, None, Vec::new());
        Self { socket, head, raw, text, is_over, last_id, retry, comments }
    }

    /// Moves the whole chunks that came to the text.
    fn unchunk(&mut self) {
        while let Some(line) = self.raw.windows(2).position(|bytes| bytes == b"\r\n") {
            let len = usize::from_str_radix(str::from_utf8(&self.raw[..line]).unwrap(), 16);
            let (begin, len) = (line + 2, len.unwrap());
            if self.raw.len() < begin + len + 2 {
                return;
            }
            self.is_over |= len == 0;
            self.text += str::from_utf8(&self.raw[begin..begin + len]).unwrap();
            self.raw.drain(..begin + len + 2);
        }
    }

    /// The next lines up to a blank one; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            self.unchunk();
            if let Some(end) = self.text.find("\n\n") {
                let block = self.text[..=end].to_owned();
                self.text.drain(..end + 2);
                return Some(block);
            }
            if self.is_over {
                assert_eq!(self.text, "", "half a block");
                return None;
            }
            let read = soon("a block", self.socket.read_buf(&mut self.raw)).await.unwrap();
            assert_ne!(read, 0, "the connection ended, but not the stream");
        }
    }

    /// The event of one block, if it is one.
    fn dispatch(&mut self, block: &str) -> Option<Heard> {
        let (mut name, mut data) = (String::new(), Vec::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments.push(value.to_owned()),
                "id" => value.clone_into(&mut self.last_id),
                "event" => value.clone_into(&mut name),
                "data" => data.push(value),
                "retry" => self.retry = Some(value.parse().unwrap()),
                other => panic!("{other:?} is no field"),
            }
        }
        let (id, data) = (self.last_id.clone(), data.join("\n"));
        (!data.is_empty()).then_some(Heard { id, name, data })
    }

    async fn next_or_end(&mut self) -> Option<Heard> {
        // Signs of life alone would make it wait for ever.
        let next = async {
            loop {
                let block = self.block().await?;
                if let Some(heard) = self.dispatch(&block) {
                    return Some(heard);
                }
            }
        };
        soon("an event", next).await
    }

    async fn next(&mut self) -> Heard {
        self.next_or_end().await.expect("the stream goes on")
    }

    /// Reads what the stream begins with.
    async fn begin(&mut self) {
        let block = self.block().await.unwrap();
        assert_eq!(self.dispatch(&block), None);
        assert!(self.retry.is_some(), "{block}");
    }

    /// Reads to the end; what was heard on the way.
    async fn end(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some(heard) = self.next_or_end().await {
            all.push(heard);
        }
        let closed = soon("the end", self.socket.read_buf(&mut self.raw)).await;
        assert_eq!(closed.unwrap(), 0, "the connection goes with its stream");
        all
    }

    /// The last comment that is more than a sign of life.
    fn last_words(&self) -> &str {
        self.comments.iter().rev().find(|comment| !comment.is_empty()).map_or("", |words| words)
    }
}
