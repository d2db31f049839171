//! What is sent and what comes back, from which thread, and over which connection.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use callboard::client::{ClientError, HttpClient};
use callboard::{
    Domain, Event, EventContext, EventHandler, HandlerResult, Policy, Replies, Runtime,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Hold, Peer, Say, answer, client, options};

fn bad(result: Result<callboard::client::ClientResponse, ClientError>) -> String {
    result.unwrap_err().to_string()
}

#[actix_web::test]
async fn each_method_sends_what_it_is_given() {
    let peer = Peer::start(|_, request| {
        let head = request.starts_with("HEAD");
        if head {
            Say("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n".into())
        } else {
            answer("200 OK", "{}")
        }
    })
    .await;
    let client = client(options());
    let url = peer.url("/a?b=1#c");
    for (name, call) in [
        ("GET", client.get(&url)),
        ("HEAD", client.head(&url)),
        ("POST", client.post(&url).body("text")),
        ("PUT", client.put(&url).body("text")),
        ("PATCH", client.patch(&url).body("text")),
        ("DELETE", client.delete(&url)),
    ] {
        let call = call.query("q", "ä &=+/x").query("n", 7).header("X-One", "1").bearer("t0");
        let answer = call.send().await.unwrap();
        assert_eq!((answer.status(), answer.is_success()), (200, true));
        let sent = peer.requests().pop().unwrap();
        let (head, body) = sent.split_once("\r\n\r\n").unwrap();
        let line = format!("{name} /a?b=1&q=%C3%A4%20%26%3D%2B%2Fx&n=7 HTTP/1.1");
        assert_eq!(head.lines().next(), Some(&*line));
        let head = head.to_ascii_lowercase();
        assert!(head.contains("x-one: 1") && head.contains("authorization: bearer t0"), "{head}");
        assert_eq!(body, if name.starts_with('P') { "text" } else { "" });
    }
}

#[derive(Debug, Deserialize)]
struct Created {
    id: i64,
}

#[actix_web::test]
async fn json_goes_out_and_comes_in() {
    let peer = Peer::start(|number, _| match number {
        0 => answer("201 Created", r#"{"id": 7}"#),
        _ => answer("200 OK", r#"{"id": "x"}"#),
    })
    .await;
    let client = client(options());
    let call = client.post(peer.url("/")).json(&json!({"name": "Ada"}));
    let created: Created = call.send().await.unwrap().json().unwrap();
    assert_eq!(created.id, 7);
    let sent = peer.requests().pop().unwrap();
    assert!(sent.to_ascii_lowercase().contains("content-type: application/json\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\n{\"name\":\"Ada\"}"), "{sent}");
    let answer = client.get(peer.url("/secret")).send().await.unwrap();
    assert_eq!(answer.json::<Value>().unwrap(), json!({"id": "x"}));
    let error = answer.json::<Created>().unwrap_err().to_string();
    assert!(
        error.contains("is not the expected JSON: id: ") && !error.contains("secret"),
        "{error}"
    );
}

#[actix_web::test]
async fn an_answer_of_any_status_is_an_answer() {
    let peer = Peer::start(|_, _| {
        Say("HTTP/1.1 404 Not Found\r\nx-a: 1\r\nX-A: 2\r\ncontent-length: 2\r\n\r\nno".into())
    })
    .await;
    let answer = client(options()).get(peer.url("/")).send().await.unwrap();
    assert_eq!((answer.status(), &*answer.text(), answer.body()), (404, "no", &b"no"[..]));
    assert_eq!(answer.header("X-a"), Some("1"));
    assert_eq!(answer.headers().filter(|(name, _)| *name == "x-a").count(), 2);
    let error = answer.error_for_status().unwrap_err();
    assert_eq!(error.to_string(), format!("{} answered with the status 404", peer.url("")));
}

#[actix_web::test]
async fn a_call_in_a_context_carries_the_trace() {
    let peer = Peer::start(|_, _| answer("200 OK", "")).await;
    let ctx = EventContext::test();
    client(options()).get(peer.url("/")).context(&ctx).send().await.unwrap();
    let sent = peer.requests().pop().unwrap();
    let traceparent = format!("traceparent: 00-{}-{}-01\r\n", ctx.trace_id(), ctx.span_id());
    assert!(sent.contains(&traceparent), "{sent} has no {traceparent}");
    assert!(!sent.contains("x-correlation-id"), "{sent}");
    assert!(!sent.contains("tracestate"), "{sent}");
    let ctx = callboard_actors::testing::TestContext::new()
        .header("x-correlation-id", "Order-7")
        .header("tracestate", "a=1,b=2")
        .build();
    client(options()).get(peer.url("/")).context(&ctx).send().await.unwrap();
    let sent = peer.requests().pop().unwrap();
    assert!(sent.contains("x-correlation-id: Order-7\r\n"), "{sent}");
    assert!(sent.contains("tracestate: a=1,b=2\r\n"), "{sent}");
}

#[actix_web::test]
async fn a_connection_is_used_again() {
    let peer = Peer::start(|_, _| answer("200 OK", "body")).await;
    let client = client(options());
    for _ in 0..3 {
        client.clone().get(peer.url("/")).send().await.unwrap();
    }
    assert_eq!((peer.requests().len(), peer.connections()), (3, 1));
}

#[actix_web::test]
async fn redirects_are_followed_so_far_and_no_further() {
    let peer = Peer::start(|_, request| {
        let next = request.split("/r").nth(1).and_then(|rest| rest.chars().next()).unwrap();
        let next = next.to_digit(10).unwrap() + 1;
        Say(format!("HTTP/1.1 302 Found\r\nlocation: /r{next}\r\ncontent-length: 0\r\n\r\n"))
    })
    .await;
    for (redirects_max, requests) in [(0, 1), (1, 2), (3, 4)] {
        let before = peer.requests().len();
        let client = client(options().redirects_max(redirects_max));
        let answer = client.get(peer.url("/r0")).send().await.unwrap();
        assert_eq!(answer.status(), 302);
        assert_eq!(peer.requests().len() - before, requests);
    }
}

#[actix_web::test]
async fn what_cannot_be_sent_is_told() {
    let client = client(options());
    let map = std::collections::BTreeMap::from([((1, 2), 3)]);
    for (call, reason) in [
        (client.get(""), "expected a URL such as http://a/b"),
        (client.get("http://a b/"), "expected a URL such as http://a/b"),
        (client.get("/path"), "the URL has no host"),
        (client.get("ftp://a/"), "the URL does not begin with http:// or https://"),
        #[cfg(not(feature = "tls"))]
        (
            client.get("https://a/"),
            "callboard was built without its feature `tls`: switch it on to call https://",
        ),
        (
            client.get("http://u:hunter2@a/"),
            "the URL holds a user name: put credentials into a header",
        ),
        (client.get("http://a/").header("a b", "c"), "the name of a header is not one"),
        (
            client.get("http://a/").header("a", "b\r\nc: d"),
            "the value of a header is not plain text",
        ),
        (client.post("http://a/").json(&map), "the body cannot be written as JSON"),
    ] {
        assert!(!format!("{call:?}").contains("hunter2"));
        assert_eq!(bad(call.send().await), format!("the request cannot be sent: {reason}"));
    }
}

#[actix_web::test]
async fn nothing_shows_what_may_be_secret() {
    let peer = Peer::start(|_, _| answer("200 OK", "hunter2")).await;
    let client = client(options());
    let call = client.get(peer.url("/hunter2?key=hunter2")).bearer("hunter2");
    let call = call.query("token", "hunter2").body("hunter2");
    let shown = format!("{call:?} {client:?}");
    assert!(shown.contains("127.0.0.1") && !shown.contains("hunter2"), "{shown}");
    let answer = call.send().await.unwrap();
    assert!(!format!("{answer:?}").contains("hunter2"));
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on a thread that has no reactor.
fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[actix_web::test]
async fn any_thread_may_call() {
    let peer = Peer::start(|_, _| answer("200 OK", "body")).await;
    let (client, url) = (client(options()), peer.url("/"));
    let threads = (0..4).map(|_| {
        let (client, url) = (client.clone(), url.clone());
        thread::spawn(move || wait(client.get(url).send()).unwrap().status())
    });
    let threads: Vec<_> = threads.collect();
    let joined = actix_web::web::block(move || {
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(joined.await.unwrap(), [200; 4]);
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Fetch {
    url: String,
}

impl Event for Fetch {
    const NAME: &'static str = "page.fetch";
}

impl Replies for Fetch {
    type Reply = Fetched;
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Fetched {
    text: String,
}

impl Event for Fetched {
    const NAME: &'static str = "page.fetched";
}

#[derive(Clone)]
struct Fetcher {
    client: HttpClient,
    policy: Policy,
}

impl EventHandler for Fetcher {
    type Input = Fetch;
    type Output = Fetched;

    async fn handle(&self, event: &Fetch, ctx: &EventContext) -> HandlerResult<Fetched> {
        let answer = self.client.get(&event.url).context(ctx).send().await?.error_for_status()?;
        Ok(Fetched { text: answer.text().into_owned() })
    }

    fn policy(&self) -> Policy {
        self.policy.clone()
    }
}

async fn fetcher(policy: Policy) -> Runtime {
    let handler = Fetcher { client: client(options()), policy };
    Runtime::new().mount(Domain::new("page").handler(handler)).start().await.unwrap()
}

#[actix_web::test]
async fn a_handler_calls_on_its_own_thread() {
    let peer = Peer::start(|_, _| answer("200 OK", "page")).await;
    for policy in [Policy::default(), Policy::default().blocking(2)] {
        let runtime = fetcher(policy).await;
        let fetched = runtime.bus().request(Fetch { url: peer.url("/") }).await.unwrap();
        assert_eq!(fetched.text, "page");
        runtime.stop().await;
    }
}

#[actix_web::test]
async fn what_went_wrong_stays_inside() {
    let peer = Peer::start(|_, _| answer("403 Forbidden", "hunter2")).await;
    let runtime = fetcher(Policy::default().attempts_max(1)).await;
    let error = runtime.bus().request(Fetch { url: peer.url("/hunter2") }).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    let told = callboard::http::Problem::from(&error);
    assert!(!format!("{told}").contains(&peer.url("")), "{told}");
    runtime.stop().await;
}

#[actix_web::test]
async fn a_call_in_a_context_ends_with_its_requester() {
    let peer = Peer::start(|_, _| Hold).await;
    let ctx = callboard_actors::testing::TestContext::new().remaining(callboard::millis(50));
    let call = client(options()).get(peer.url("/")).context(&ctx.build());
    let begun = std::time::Instant::now();
    assert!(matches!(call.send().await, Err(ClientError::Timeout { .. })));
    assert!(begun.elapsed() < callboard::secs(5));
}
