//! WebSocket sessions with a provider: who may open one, what it may do, and until when. parity: W18

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{Codec, Frame, Message};
use callboard::auth::{Authenticated, Authenticating, Credentials, Provider};
use callboard::ws::{Permit, Ws, WsFault};
use callboard::{App, AppError, Identity, millis, secs};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{
    Enter, Noted, Response, Server, app, bad_tokens, domain, issuer, nobody, provider, serve,
    settings, token, ws,
};

pub(super) struct Client(Framed<BoxedSocket, Codec>);

impl Client {
    pub(super) async fn connect(address: SocketAddr, token: Option<&str>) -> Self {
        let mut request = awc::Client::new().ws(format!("http://{address}/ws"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Self(request.connect().await.unwrap().1)
    }

    async fn frame(&mut self) -> Frame {
        loop {
            let frame = timeout(secs(10), self.0.next()).await.expect("a frame in time");
            match frame.expect("an open connection").unwrap() {
                Frame::Ping(data) => self.0.send(Message::Pong(data)).await.unwrap(),
                Frame::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    async fn send(&mut self, frame: Value) -> Value {
        self.0.send(Message::Text(frame.to_string().into())).await.unwrap();
        match self.frame().await {
            Frame::Text(text) => serde_json::from_slice(&text).unwrap(),
            other => panic!("{other:?} is not a text frame"),
        }
    }

    /// Requests an event without a payload.
    pub(super) async fn ask(&mut self, event: &str) -> Value {
        self.send(json!({ "event_type": event, "id": 1, "payload": {} })).await
    }
}

/// The answer to a handshake that is refused before it becomes a WebSocket.
pub(super) async fn refused_handshake(address: SocketAddr, headers: &[(&str, &str)]) -> Response {
    refused_handshake_at(address, "/ws", headers).await
}

async fn refused_handshake_at(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        writeln!(request, "{name}: {value}\r").unwrap();
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let mut part = [0; 4096];
        let read = timeout(secs(10), stream.read(&mut part)).await.expect("an answer").unwrap();
        assert_ne!(read, 0, "{answer}");
        answer.push_str(str::from_utf8(&part[..read]).unwrap());
    }
    Response::parse(&answer)
}

#[actix_web::test]
async fn a_session_is_only_for_whom_the_provider_knows() {
    let server = serve().await;
    refused_handshake(server.address(), &[]).await.refused(401, "unauthorized");
    for (bad, code) in bad_tokens() {
        let header = format!("Bearer {bad}");
        let refused = refused_handshake(server.address(), &[("authorization", &header)]).await;
        refused.refused(401, code);
        let offered = format!("bearer, {bad}");
        let offered = [("sec-websocket-protocol", &*offered)];
        refused_handshake(server.address(), &offered).await.refused(401, code);
    }
    let mut client = Client::connect(server.address(), Some(&token(&["x"]))).await;
    let answer = client.ask("who.ask").await;
    assert_eq!(answer["payload"]["subject"], "ada", "{answer}");
    assert_eq!(answer["payload"]["permissions"], json!(["x"]));
}

#[actix_web::test]
async fn a_page_shows_its_token_as_a_subprotocol_and_never_in_the_query() {
    let server = serve().await;
    let (address, good) = (server.address(), token(&[]));
    let request = awc::Client::new().ws(format!("http://{address}/ws"));
    let (response, frames) = request.protocols(["bearer", &good]).connect().await.unwrap();
    assert_eq!(response.headers().get("sec-websocket-protocol").unwrap(), "bearer");
    let mut client = Client(frames);
    assert_eq!(client.ask("who.ask").await["payload"]["subject"], "ada");
    for query in ["token", "access_token", "bearer", "authorization"] {
        let path = format!("/ws?{query}={good}");
        refused_handshake_at(address, &path, &[]).await.refused(401, "unauthorized");
    }
    // Two tokens could be of two people.
    let (header, offered) = (format!("Bearer {good}"), format!("bearer, {good}"));
    let both = [("authorization", &*header), ("sec-websocket-protocol", &*offered)];
    refused_handshake(address, &both).await.refused(401, "invalid_token");
}

#[actix_web::test]
async fn a_client_does_not_choose_its_identity_in_a_frame() {
    let (domain, mut notes) = domain();
    let app = App::new(settings(&[])).mount(domain).ws("/ws", ws()).auth(provider());
    let server = Server(app.start().await.unwrap());
    let mut client = Client::connect(server.address(), Some(&token(&[]))).await;
    let forged = json!({
        "event_type": "who.ask", "id": 1, "user_id": "root", "identity": { "subject": "root" },
        "payload": { "subject": "root", "identity": { "subject": "root" }, "permissions": ["a"] },
    });
    let answer = client.send(forged).await;
    assert_eq!(answer["payload"], json!({ "subject": "ada", "permissions": [], "id": null }));
    let note = json!({
        "event_type": "who.note", "id": 2, "identity": "root",
        "payload": { "text": "hi", "by": "root" },
    });
    assert_eq!(client.send(note).await["error"], Value::Null);
    assert_eq!(notes.recv().await, Some(("hi".to_owned(), Some("ada".to_owned()))));
}

#[actix_web::test]
async fn permits_demand_permissions_as_routes_do() {
    let server = serve().await;
    let subscribe = json!({ "subscribe": ["who.noted"], "id": 3 });
    for (has, may_enter, may_listen) in
        [(&[][..], false, false), (&["a"], true, false), (&["c"], false, true)]
    {
        let mut client = Client::connect(server.address(), Some(&token(has))).await;
        let entered = client.ask("who.enter").await;
        let listened = client.send(subscribe.clone()).await;
        for (answer, may) in [(entered, may_enter), (listened, may_listen)] {
            let code = if may { Value::Null } else { json!("forbidden") };
            assert_eq!(answer["error"]["code"], code, "{has:?}: {answer}");
        }
        assert_eq!(client.ask("who.ask").await["payload"]["subject"], "ada", "it goes on");
    }
}

#[actix_web::test]
async fn sessions_as_a_whole_can_demand_permissions_or_be_public() {
    let demanding = Ws::new().request::<Enter>().permissions_all(["ws"]);
    let public = Ws::new().request::<Enter>().public();
    let app = App::new(settings(&[])).mount(domain().0).auth(provider());
    let server = Server(app.ws("/ws", demanding).start().await.unwrap());
    let header = format!("Bearer {}", token(&["a"]));
    let refused = refused_handshake(server.address(), &[("authorization", &header)]).await;
    refused.refused(403, "forbidden");
    let mut client = Client::connect(server.address(), Some(&token(&["ws"]))).await;
    assert_eq!(client.ask("who.enter").await["payload"]["subject"], "ada");

    let app = App::new(settings(&[])).mount(domain().0).auth(provider());
    let server = Server(app.ws("/ws", public).start().await.unwrap());
    let mut client = Client::connect(server.address(), None).await;
    assert_eq!(client.ask("who.enter").await["payload"]["subject"], nobody());
}

/// Knows everybody for as long as the token says, in milliseconds.
struct Brief;

impl Provider for Brief {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
        let time = millis(credentials.token().parse().unwrap());
        let known = Authenticated::from(Identity::new("brief"));
        Box::pin(async move { Ok(known.until(SystemTime::now() + time)) })
    }
}

/// How long the session lives, and the code with which it is closed.
async fn lifetime(client: &mut Client) -> (Duration, u16) {
    let begun = Instant::now();
    loop {
        match client.frame().await {
            Frame::Close(reason) => return (begun.elapsed(), reason.unwrap().code.into()),
            other => assert!(matches!(other, Frame::Text(_)), "{other:?}"),
        }
    }
}

#[actix_web::test]
async fn a_session_ends_when_its_proof_does() {
    let server = Server(app().auth(Brief).start().await.unwrap());
    let mut long = Client::connect(server.address(), Some("60000")).await;
    let mut short = Client::connect(server.address(), Some("400")).await;
    assert_eq!(short.ask("who.ask").await["payload"]["subject"], "brief");
    let (lived, code) = lifetime(&mut short).await;
    assert_eq!(code, 4401);
    assert!(lived > millis(200), "only {lived:?}");
    assert_eq!(long.ask("who.ask").await["payload"]["subject"], "brief");
}

#[actix_web::test]
async fn the_end_of_a_token_is_its_exp() {
    let server = serve().await;
    let token = issuer().token("ada").ttl(secs(2)).sign().unwrap();
    let mut client = Client::connect(server.address(), Some(&token)).await;
    let (lived, code) = lifetime(&mut client).await;
    assert_eq!(code, 4401);
    assert!(lived < secs(3), "{lived:?} is too long");
}

#[actix_web::test]
async fn permissions_that_nobody_can_have_are_faults_of_the_list() {
    let demanding = || Permit::listen::<Noted>().permissions_all(["a"]);
    let twice = Ws::new().permit(demanding()).listen::<Noted>().auth(provider());
    assert_eq!(
        twice.check().unwrap_err().faults,
        [WsFault::TwoRequirements { event: "who.noted" }]
    );
    let entering = || Permit::request::<Enter>().permissions_all(["a"]);
    let twice = Ws::new().permit(entering()).request::<Enter>().auth(provider());
    assert_eq!(
        twice.check().unwrap_err().faults,
        [WsFault::TwoRequirements { event: "who.enter" }]
    );
    let same = Ws::new().permit(demanding()).permit(demanding()).auth(provider());
    same.check().unwrap();
    for (list, expected) in [
        (Ws::new().permit(demanding()), "AUTH_SECRET"),
        (Ws::new().permit(demanding()).public().auth(provider()), "public"),
        (Ws::new().permissions_any([""; 0]).auth(provider()), "any of"),
    ] {
        let text = list.check().unwrap_err().to_string();
        assert!(text.contains(expected) && text.lines().count() == 1, "{text}");
        let app = App::new(settings(&[])).mount(domain().0).ws("/ws", list);
        assert!(matches!(app.start().await, Err(AppError::Ws(_))));
    }
}
