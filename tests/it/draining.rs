//! A stop under load: who was accepted is answered, whole, and then the process ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callboard::http::Routes;
use callboard::settings::Settings;
use callboard::{App, Domain, Event, EventContext, EventHandler, HandlerResult, Replies};
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::Program;

const PATIENCE: Duration = Duration::from_mins(1);

/// What became of one request.
#[derive(Debug, PartialEq)]
enum Fate {
    Answered(u16, Value),
    /// The connection was closed, or never opened, before a byte came.
    NotAccepted,
}

/// Sends a request on a connection that is kept open, and reads the answer, which is whole or is
/// not there at all.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Fate {
    if stream.write_all(request).await.is_err() {
        return Fate::NotAccepted;
    }
    let mut came = Vec::new();
    loop {
        if let Some((status, length, at)) = head(&came) {
            assert!(came.len() <= at + length, "more than was announced");
            if came.len() == at + length {
                let body = serde_json::from_slice(&came[at..]).unwrap_or(Value::Null);
                return Fate::Answered(status, body);
            }
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut came)).await.expect("an end in time");
        if read.is_err() || read.is_ok_and(|read| read == 0) {
            assert!(came.is_empty(), "half an answer: {}", String::from_utf8_lossy(&came));
            return Fate::NotAccepted;
        }
    }
}

/// The status, the length of the body and where it begins.
fn head(came: &[u8]) -> Option<(u16, usize, usize)> {
    let end = came.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&came[..end]).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    Some((head[9..12].parse().unwrap(), length, end))
}

fn post(path: &str, body: &Value) -> Vec<u8> {
    let (body, host) = (body.to_string(), "Host: localhost\r\nContent-Type: application/json");
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\n{host}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// How many clients order, and after how many answers the shop is told to stop.
const CLIENTS: usize = 16;
const ENOUGH: usize = 60;

/// Orders until it is not accepted any more; what was answered.
async fn order(
    port: u16,
    request: &[u8],
    answered: &AtomicUsize,
    keeps: bool,
) -> Vec<(u16, Value)> {
    let mut answers = Vec::new();
    let mut kept = None;
    loop {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => stream,
                Err(_) => return answers,
            },
        };
        match exchange(&mut stream, request).await {
            Fate::Answered(status, body) => answers.push((status, body)),
            Fate::NotAccepted => return answers,
        }
        answered.fetch_add(1, Ordering::Relaxed);
        kept = keeps.then_some(stream);
    }
}

#[actix_web::test]
async fn a_shop_that_is_stopped_under_load_answers_whatever_it_has_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Program::start("shop", folder.path(), &[("SERVER_WORKERS", "2")]);
    let shop = start();
    let (status, ada) = shop.post("/users", json!({ "name": "Ada", "email": "ada@x.org" })).await;
    assert_eq!(status, 201, "{ada}");
    let body = json!({ "user_id": ada["id"], "items": [{ "sku": "BOOK", "quantity": 1 }] });
    let (request, answered, port) = (post("/orders", &body), AtomicUsize::new(0), shop.port());
    let clients = (0..CLIENTS).map(|n| order(port, &request, &answered, n % 4 != 0));
    let stop = async {
        while answered.load(Ordering::Relaxed) < ENOUGH {
            tokio::task::yield_now().await;
        }
        shop.ask_to_stop();
    };
    let (answers, ()) = tokio::join!(join_all(clients), stop);
    assert_eq!(shop.ended().code(), Some(0));
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    for (status, body) in &answers {
        assert_eq!((*status, body["status"].as_str()), (201, Some("confirmed")), "{body}");
    }
    assert!(answers.len() >= ENOUGH);

    let shop = start();
    let (_, stock) = shop.get("/stock/BOOK").await;
    let sold = 100_000 - stock["available"].as_i64().unwrap();
    assert_eq!(sold, i64::try_from(answers.len()).unwrap(), "each order that was placed is known");
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Note {
    text: String,
}

impl Event for Note {
    const NAME: &'static str = "note.take";
}

impl Replies for Note {
    type Reply = Noted;
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Noted {
    text: String,
}

impl Event for Noted {
    const NAME: &'static str = "note.taken";
}

#[derive(Clone)]
struct Clerk;

impl EventHandler for Clerk {
    type Input = Note;
    type Output = Noted;

    async fn handle(&self, note: &Note, _: &EventContext) -> HandlerResult<Noted> {
        Ok(Noted { text: note.text.clone() })
    }
}

#[actix_web::test]
async fn a_request_that_has_begun_may_be_sent_to_its_end_and_is_answered() {
    let app = App::new(Settings::from_vars([("SERVER_PORT", "0")]).unwrap());
    let app = app.mount(Domain::new("note").handler(Clerk));
    let running = app.routes(Routes::new().post::<Note>("/notes")).start().await.unwrap();
    let address = running.addresses()[0];
    let mut idle = TcpStream::connect(address).await.unwrap();
    let request = post("/notes", &json!({ "text": "half a request" }));
    assert!(matches!(exchange(&mut idle, &request).await, Fate::Answered(200, _)));

    let mut begun = TcpStream::connect(address).await.unwrap();
    // With this the server says that it has received the head.
    let head = "POST /notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 25\r\nExpect: 100-continue\r\n\r\n";
    begun.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    timeout(PATIENCE, begun.read_exact(&mut go_on)).await.unwrap().unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue\r\n"), "{go_on:?}");
    let stopping = actix_web::rt::spawn(running.stop());
    // An idle connection is closed, and no other is accepted.
    let end = timeout(PATIENCE, idle.read(&mut [0])).await.expect("it is closed");
    assert_eq!(end.unwrap(), 0);
    let closed = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, closed).await.expect("nobody listens");
    let answer = exchange(&mut begun, br#"{"text":"the other half"}"#).await;
    assert_eq!(answer, Fate::Answered(200, json!({ "text": "the other half" })));
    stopping.await.unwrap().unwrap();
}
