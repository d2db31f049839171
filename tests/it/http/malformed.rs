//! Requests that are no requests, by the thousand: the server refuses them and goes on, neither
//! larger nor louder than before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use awc::http::Method;
use callboard::http::Routes;
use callboard::settings::Settings;
use callboard::{App, Domain, Running, millis};
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, PATIENCE, answer, events};
use crate::program::Program;

events! {
    "book.write" => Write { title: Option<String>, pages: Option<u64> } -> Written;
    "book.written" => Written { title: Option<String>, pages: Option<u64> };
    "book.find" => Find { title: String } -> Written;
}

/// How many requests of the generator are sent.
const REQUESTS: usize = 4_000;

/// How many connections are open at once.
const CONNECTIONS: usize = 32;

/// How much the server may have grown by it, in KiB; what it allocates is given back late.
const GROWTH_MAX: u64 = 64 * 1024;

const HEAD: &str = "POST /users HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";

/// Sends bytes, says that no more come, and reads until the server closes.
async fn talk(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    let talked = timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that refuses what it reads may close before it has read all of it.
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        // It resets the connection then.
        let _ = stream.read_to_end(&mut response).await;
    });
    let sent = || String::from_utf8_lossy(&request[..request.len().min(400)]).into_owned();
    talked.await.unwrap_or_else(|_| panic!("not closed after {:?}", sent()));
    response
}

/// The statuses of all responses in what a server wrote.
fn statuses(response: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(response);
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

fn with_body(headers: &str, body: &[u8]) -> Vec<u8> {
    [HEAD.as_bytes(), headers.as_bytes(), b"\r\n", body].concat()
}

fn sound(body: &[u8]) -> Vec<u8> {
    with_body(&format!("content-length: {}\r\n", body.len()), body)
}

/// Any of some texts.
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// Sound requests with some bytes changed, cut anywhere.
fn mutilated() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    (changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(changes, end, is_cut)| {
        let mut request = sound(b"{\"name\":\"Ada\",\"email\":\"ada@example.com\"}");
        for (at, byte) in changes {
            let at = at.index(request.len());
            request[at] = byte;
        }
        let end = if is_cut { end.index(request.len()) } else { request.len() };
        request.truncate(end);
        request
    })
}

/// Many headers, long ones, and such as are none.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let many = (0_usize..200).prop_map(|count| {
        let mut lines = String::new();
        for n in 0..count {
            let _ = write!(lines, "x-{n}: {n}\r\n");
        }
        with_body(&lines, b"")
    });
    let long = (0_usize..18)
        .prop_map(|power| with_body(&format!("x-long: {}\r\n", "y".repeat(1 << power)), b""));
    let odd = bytes(60).prop_map(|line| [HEAD.as_bytes(), &line, b"\r\n\r\n"].concat());
    prop_oneof![2 => many, 1 => long, 3 => odd]
}

/// Bodies whose frame is not sound.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let sizes = one_of(&[
        "",
        "x",
        "-1",
        "0x5",
        "5;",
        "5;a=b",
        "5 ",
        "FFFFFFFFFFFFFFFF",
        "10000000000000000",
        "0000000000000000000000005",
        "5\n",
        "5\r",
        "\u{ff15}",
        "0",
        "1",
        "6",
    ]);
    let ends =
        one_of(&["\r\n", "\n", "\r", "", "\r\n0\r\n", "\r\n0\r\n\r\n", "\r\n0\r\nx: y\r\n\r\n"]);
    let chunked = (sizes, ends).prop_map(|(size, end)| {
        let body = format!("{size}\r\n{{\"a\"{end}");
        with_body("transfer-encoding: chunked\r\n", body.as_bytes())
    });
    let lines = one_of(&[
        "content-length: -1\r\n",
        "content-length: +2\r\n",
        "content-length: 2, 2\r\n",
        "content-length: 2\r\ncontent-length: 2\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 18446744073709551615\r\n",
        "content-length: 18446744073709551616\r\n",
        "content-length: 1\r\n",
        "content-length: 100\r\n",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding:\x0bchunked\r\n",
        "expect: 100-continue\r\ncontent-length: 2\r\n",
        "upgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 2\r\n",
    ]);
    let wrong = lines.prop_map(|lines| with_body(&lines, b"{}"));
    prop_oneof![chunked, wrong]
}

/// Sound frames around what is no JSON, or no JSON for this route.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let deep = (1_usize..3_000, one_of(&["[", "{\"a\":", "[{\"name\":"]))
        .prop_map(|(depth, open)| open.repeat(depth).into_bytes());
    let numbers = one_of(&[
        "1e999",
        "-1e999",
        "00",
        "-",
        "1.",
        ".5",
        "0x1",
        "NaN",
        "Infinity",
        "1e",
        "",
        "123456789012345678901234567890",
        "1.7976931348623157e309",
        "-0",
        "1E+2",
    ]);
    let numbers = numbers.prop_map(|number| format!("{{\"name\":{number}}}").into_bytes());
    let texts = bytes(30).prop_map(|text| [b"{\"name\":\"", &text[..], b"\"}"].concat());
    let escapes = one_of(&["\\ud800", "\\u0000", "\\x", "\\u12", "\\udc00\\ud800", "\\"]);
    let escapes = escapes.prop_map(|text| format!("{{\"name\":\"{text}\"}}").into_bytes());
    let bodies = prop_oneof![deep, numbers, texts, escapes, bytes(200)];
    bodies.prop_map(|body| sound(&body))
}

/// First lines that are none, and places that nobody should go to.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let places = one_of(&[
        "*",
        "",
        "//",
        "/../../etc/passwd",
        "/%00",
        "/users/%00",
        "/users/%",
        "/users/%zz",
        "/users/%ff",
        "/users/%2f%2e%2e",
        "http://a/health",
        "http://[::1/health",
        "http://",
        "a:80",
        "/users?%",
        "/users?%00=%ff&=&&a",
        "/users#x",
        "/users/\u{e9}",
        "/users/\x01",
        "/users /x",
        "/?a[]=1&a[=2",
        "ftp://a/users",
        "/users/99999999999999999999",
    ]);
    let long = (0_usize..18).prop_map(|power| format!("/users/{}", "z".repeat(1 << power)));
    let methods = one_of(&[
        "GET", "POST", "get", "G\tT", "TRACE", "CONNECT", "OPTIONS", "HEAD", "DELETE", "X-Y", "",
        "GET GET", "\u{fc}", "PRI",
    ]);
    let versions = one_of(&[
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/2.0",
        "HTTP/0.9",
        "HTTP/3",
        "http/1.1",
        "HTTP/1.1 x",
        "",
    ]);
    (methods, prop_oneof![3 => places, 1 => long], versions).prop_map(|(method, place, version)| {
        format!("{method} {place} {version}\r\nhost: a\r\n\r\n").into_bytes()
    })
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    let single = prop_oneof![
        2 => bytes(600),
        4 => mutilated(),
        2 => headers(),
        4 => frames(),
        4 => contents(),
        4 => lines(),
        1 => Just(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
    ]
    .boxed();
    let many = prop::collection::vec(single.clone(), 2..6).prop_map(|requests| requests.concat());
    prop_oneof![6 => single, 1 => many]
}

/// How much memory a process holds, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[actix_web::test]
#[cfg(target_os = "linux")]
async fn a_server_outlives_thousands_of_malformed_requests() {
    let folder = tempfile::tempdir().unwrap();
    let vars = [("LOG_LEVEL", "info"), ("SERVER_REQUEST_TIMEOUT", "2")];
    let shop = Program::start("shop", folder.path(), &vars);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = anything();
    let mut requests = (0..REQUESTS).map(|_| strategy.new_tree(&mut runner).unwrap().current());

    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    let mut before = 0;
    for part in 0..4 {
        let part_of: Vec<_> = requests.by_ref().take(REQUESTS / 4).collect();
        let address = shop.address();
        let talks = part_of.iter().map(|request| async move {
            let answered = talk(address, request).await;
            (request, statuses(&answered))
        });
        let mut talks = stream::iter(talks).buffer_unordered(CONNECTIONS);
        while let Some((request, statuses)) = talks.next().await {
            for status in statuses {
                let sent = || String::from_utf8_lossy(&request[..request.len().min(600)]);
                assert!(status < 500 || status == 505, "{status} to {:?}", sent());
                *seen.entry(status).or_default() += 1;
            }
        }
        // What the first ones make it allocate stays with it.
        if part == 0 {
            before = resident(shop.pid());
        }
    }
    let grown = resident(shop.pid()).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} KiB more than after the first quarter");
    for status in [200, 400, 404, 405, 413, 415, 422, 431] {
        assert!(seen.contains_key(&status), "the generator reaches {status}: {seen:?}");
    }
    assert_eq!(shop.get("/health").await.0, 200);
    let grace = serde_json::json!({ "name": "Grace", "email": "grace@example.com" });
    assert_eq!(shop.post("/users", grace).await.0, 201);
    let said = shop.last_words();
    let bad = |line: &&String| line.contains("panic") || line.contains("ERROR");
    assert_eq!(said.iter().filter(bad).collect::<Vec<_>>(), [""; 0]);
}

struct Library {
    running: Running,
    client: awc::Client,
}

impl Library {
    async fn start(vars: &[(&str, &str)]) -> Self {
        let domain = Domain::new("book")
            .handler(answer(|Write { title, pages }| Ok(Written { title, pages })))
            .handler(answer(|Find { title }| Ok(Written { title: Some(title), pages: None })));
        let routes = Routes::new().post::<Write>("/books").get::<Find>("/books/{title}");
        let vars = [("SERVER_PORT", "0"), ("LOG_LEVEL", "error")].iter().chain(vars).copied();
        let app = App::new(Settings::from_vars(vars).unwrap()).mount(domain).routes(routes);
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        Self { running: app.start().await.unwrap(), client }
    }

    fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    async fn answers(&self, request: impl AsRef<[u8]>) -> Vec<u16> {
        statuses(&talk(self.address(), request.as_ref()).await)
    }

    async fn stop(self) {
        let url = format!("http://{}/books/Emma", self.address());
        let request = self.client.request(Method::GET, url);
        Answer::of(request.send().await.unwrap()).await.ok(200);
        self.running.stop().await.unwrap();
    }
}

const GET: &str = "GET /books/Emma HTTP/1.1\r\nhost: a\r\n\r\n";

#[actix_web::test]
async fn a_request_in_two_frames_is_refused_and_nothing_is_smuggled() {
    let library = Library::start(&[]).await;
    let head = "POST /books HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    for frame in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        "transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "content-length: 2, 2\r\n\r\n{}",
        "content-length: +2\r\n\r\n{}",
        "content-length: 0x2\r\n\r\n{}",
        "content-length: 2\r\n x: y\r\n\r\n{}",
    ] {
        let answers = library.answers(format!("{head}{frame}{GET}")).await;
        assert_eq!(answers, [400], "what follows is not heard: {frame:?}");
    }
    let old = "POST /books HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(library.answers(format!("{old}{GET}")).await, [400]);
    let homeless = "GET /books/Emma HTTP/1.1\r\n\r\n";
    assert_eq!(library.answers(format!("{homeless}{GET}")).await, [400]);
    let homes = "GET /books/Emma HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n";
    assert_eq!(library.answers(format!("{homes}{GET}")).await, [400]);
    library.stop().await;
}

#[actix_web::test]
async fn requests_in_a_row_are_answered_in_a_row() {
    let library = Library::start(&[]).await;
    let missing = "GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n";
    let whole = "GET http://a/books/Emma HTTP/1.1\r\nhost: a\r\n\r\n";
    let row = [GET, missing, whole, GET].concat();
    assert_eq!(library.answers(row).await, [200, 404, 200, 200]);
    library.stop().await;
}

#[actix_web::test]
async fn heads_have_limits() {
    let library = Library::start(&[]).await;
    let with = |headers: String| format!("GET /books/Emma HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    let many = |count| "x-more: y\r\n".repeat(count);
    let long = |len| format!("x-long: {}\r\n", "y".repeat(len));
    assert_eq!(library.answers(with(many(95))).await, [200], "with host it is 96");
    assert_eq!(library.answers(with(many(96))).await, [431]);
    assert_eq!(library.answers(with(long(100_000))).await, [200]);
    // What is left of it in the way of the answer resets the connection, at times before it is read.
    let answers = library.answers(with(long(1_000_000))).await;
    assert!(answers.is_empty() || answers == [431], "{answers:?}");
    library.stop().await;
}

#[actix_web::test]
async fn paths_are_text() {
    let library = Library::start(&[]).await;
    for (path, status) in [
        ("/books/%00", 200),
        ("/books/%ff", 400),
        ("/books/%zz", 400),
        ("/books/%", 400),
        ("/books/a%2fb", 200),
        ("/books/..", 200),
        ("/../books/Emma", 404),
        ("//books/Emma", 404),
        ("*", 404),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(library.answers(request).await, [status], "{path}");
    }
    let long = format!("GET /books/{} HTTP/1.1\r\nhost: a\r\n\r\n", "z".repeat(60_000));
    assert_eq!(library.answers(long).await, [200]);
    // A URI has at most 65534 bytes.
    let too_long = format!("GET /books/{} HTTP/1.1\r\nhost: a\r\n\r\n", "z".repeat(70_000));
    assert_eq!(library.answers(too_long).await, [400]);
    library.stop().await;
}

/// When a server whose limits are set has long lost its patience, and one that has not heard of them,
/// which waits for 5 s, has not.
const SOON: Duration = Duration::from_secs(4);

/// Writes a byte each time the server has said nothing for a moment, until it does.
async fn drip(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    let dripped = timeout(SOON, async {
        while timeout(millis(20), stream.read_buf(&mut response)).await.is_err() {
            // Who has closed does not read it.
            let _ = stream.write_all(b"a").await;
        }
        let _ = stream.read_to_end(&mut response).await;
    });
    dripped.await.expect("the server does not wait for ever");
    String::from_utf8(response).unwrap()
}

#[actix_web::test]
async fn who_drips_is_not_waited_for() {
    let vars = [("SERVER_HEADER_TIMEOUT", "0.2"), ("SERVER_REQUEST_TIMEOUT", "0.2")];
    let library = Library::start(&vars).await;
    for head in ["G", "GET /books/Emma HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        let answer = drip(library.address(), head).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?} to {head:?}");
    }
    let head = "POST /books HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
        content-length: 1000000\r\n\r\n{";
    let answer = drip(library.address(), head).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"), "{answer:?}");
    library.stop().await;
}

#[actix_web::test]
async fn a_body_that_nobody_reads_ends_the_connection() {
    let library = Library::start(&[("SERVER_HEADER_TIMEOUT", "0.2")]).await;
    let head = "GET /books/Emma HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n{";
    let answer = drip(library.address(), head).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    library.stop().await;
}
