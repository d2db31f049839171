//! Two clients of a WebSocket: one that behaves, and one that writes and reads bytes as it likes.

use std::net::SocketAddr;
use std::time::Duration;

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{Codec, Frame, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Far longer than anything here takes: when it is over, the test has failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const TEXT: u8 = 0x1;
pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;
pub(super) const FIN: u8 = 0x80;

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: nothing came"))
}

/// A client that answers pings and speaks JSON.
pub(super) struct Client(Framed<BoxedSocket, Codec>);

impl Client {
    pub(super) async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[]).await
    }

    pub(super) async fn connect_with(addr: SocketAddr, headers: &[(&str, &str)]) -> Self {
        let mut request = awc::Client::new().ws(format!("http://{addr}/ws"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (_, frames) = soon("connect", request.connect()).await.unwrap();
        Self(frames)
    }

    pub(super) async fn send(&mut self, frame: Value) {
        self.send_text(frame.to_string()).await;
    }

    pub(super) async fn send_text(&mut self, text: String) {
        self.put(Message::Text(text.into())).await;
    }

    pub(super) async fn put(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// The next frame that is neither ping nor pong.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            let frame = soon("a frame", self.0.next()).await?;
            match frame.unwrap() {
                Frame::Ping(data) => self.put(Message::Pong(data)).await,
                Frame::Pong(_) => {}
                frame => return Some(frame),
            }
        }
    }

    /// The next frame whatever it is; pings are not answered.
    pub(super) async fn any(&mut self) -> Frame {
        soon("a frame", self.0.next()).await.unwrap().unwrap()
    }

    pub(super) async fn next(&mut self) -> Value {
        match self.frame().await {
            Some(Frame::Text(text)) => serde_json::from_slice(&text).unwrap(),
            other => panic!("{other:?} is not a text frame"),
        }
    }

    /// Sends a frame and gives the next one that comes.
    pub(super) async fn ask(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        self.next().await
    }

    /// Sends a frame and gives the code of the error that comes.
    pub(super) async fn refusal(&mut self, frame: Value) -> String {
        code(&self.ask(frame).await).to_owned()
    }

    pub(super) async fn subscribe(&mut self, event: &str) {
        let answer = self.ask(json!({"subscribe": [event]})).await;
        assert_eq!(answer, json!({"subscribed": [event]}));
    }

    pub(super) async fn join(&mut self, room: &str) {
        let answer = self.ask(json!({"join": room})).await;
        assert_eq!(answer, json!({"joined": room}));
    }

    /// Proves that the session still works, and that nothing else waits to be read.
    pub(super) async fn assert_alive(&mut self) {
        let answer = self.ask(json!({"leave": "nowhere", "id": "alive?"})).await;
        assert_eq!(answer, json!({"left": "nowhere", "id": "alive?"}));
    }

    /// Reads to the end and gives the code with which the server closed.
    pub(super) async fn close_code(&mut self) -> u16 {
        soon("a close frame", async {
            loop {
                match self.frame().await {
                    Some(Frame::Close(reason)) => return reason.unwrap().code.into(),
                    Some(_) => {}
                    None => panic!("the connection ended without a close frame"),
                }
            }
        })
        .await
    }

    pub(super) async fn leave(mut self) {
        self.put(Message::Close(None)).await;
        assert!(matches!(self.frame().await, Some(Frame::Close(_))));
        assert!(self.frame().await.is_none(), "the server ends the connection");
    }
}

/// The code of an error frame.
pub(super) fn code(frame: &Value) -> &str {
    assert_eq!(frame["payload"], Value::Null, "{frame}");
    frame["error"]["code"].as_str().unwrap_or_else(|| panic!("{frame} is no error"))
}

/// A client that does what no client should.
pub(super) struct Raw(TcpStream);

impl Raw {
    pub(super) async fn connect(addr: SocketAddr) -> Self {
        let (head, stream) = handshake(addr, "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self(stream)
    }

    /// A client whose system takes little in advance, and which listens to an event.
    pub(super) async fn listen(addr: SocketAddr, event: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(addr).await.unwrap();
        let (_, stream) = exchange_on(stream, &handshake_request(addr, "")).await;
        let mut raw = Self(stream);
        let subscribe = json!({"subscribe": [event]}).to_string();
        raw.frame(FIN | TEXT, subscribe.as_bytes()).await;
        assert_eq!(raw.next_json().await, json!({"subscribed": [event]}));
        raw
    }

    /// Writes a masked frame; `first` is its first byte, FIN and opcode.
    pub(super) async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.0.write_all(&masked(first, payload)).await.unwrap();
    }

    pub(super) async fn bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next frame: its opcode and its payload.
    pub(super) async fn next(&mut self) -> (u8, Vec<u8>) {
        soon("a frame", async {
            let first = self.0.read_u8().await.unwrap();
            assert_ne!(first & FIN, 0, "the server does not fragment");
            let len = match self.0.read_u8().await.unwrap() {
                126 => u64::from(self.0.read_u16().await.unwrap()),
                127 => self.0.read_u64().await.unwrap(),
                len => u64::from(len),
            };
            let mut payload = vec![0; usize::try_from(len).unwrap()];
            self.0.read_exact(&mut payload).await.unwrap();
            (first & 0xf, payload)
        })
        .await
    }

    /// The next frame with this opcode.
    pub(super) async fn next_of(&mut self, opcode: u8) -> Vec<u8> {
        soon("a frame of this kind", async {
            loop {
                let (came, payload) = self.next().await;
                if came == opcode {
                    return payload;
                }
            }
        })
        .await
    }

    pub(super) async fn next_json(&mut self) -> Value {
        serde_json::from_slice(&self.next_of(TEXT).await).unwrap()
    }

    pub(super) async fn close_code(&mut self) -> u16 {
        let payload = self.next_of(CLOSE).await;
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Reads what is left until the connection ends, however it does.
    pub(super) async fn end(&mut self) {
        soon("the end of the connection", async {
            let mut rest = vec![0; 65_536];
            while self.0.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        })
        .await;
    }
}

pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header of a masked frame, up to its mask.
pub(super) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => bytes.push(0x80 | len),
        (_, Ok(len)) => {
            bytes.push(0x80 | 0x7e);
            bytes.extend(len.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 0x7f);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes
}

/// Sends a handshake with some more header lines; gives the head of the response.
pub(super) async fn handshake(addr: SocketAddr, headers: &str) -> (String, TcpStream) {
    exchange(addr, &handshake_request(addr, headers)).await
}

fn handshake_request(addr: SocketAddr, headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Sends a request as it is written; gives the head of the response, and what follows it.
pub(super) async fn exchange(addr: SocketAddr, request: &str) -> (String, TcpStream) {
    exchange_on(TcpStream::connect(addr).await.unwrap(), request).await
}

async fn exchange_on(mut stream: TcpStream, request: &str) -> (String, TcpStream) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    soon("a response", async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    })
    .await;
    (String::from_utf8(head).unwrap(), stream)
}
