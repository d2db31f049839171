//! A WebSocket session of a test: frames of JSON go out and come in.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::error::WsClientError;
use awc::ws::{Codec, Frame, Message, WebsocketsRequest};
use callboard_actors::Event;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::exchange::{PATIENCE, Sent, shown};

/// A session about to be opened: awaiting opens it.
///
/// # Panics
/// The future panics when the application does not open it, with the status of the refusal.
#[must_use = "a session is opened when it is awaited"]
pub struct TestHandshake {
    request: WebsocketsRequest,
    sent: Sent,
}

impl TestHandshake {
    pub(super) fn new(request: WebsocketsRequest, sent: Sent) -> Self {
        Self { request, sent }
    }

    /// Proves who the client is by a token.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.header("authorization", format!("Bearer {}", token.as_ref()))
    }

    /// Sets a header of the handshake.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.request = self.request.set_header(name, value.as_ref());
        self
    }

    async fn open(self) -> TestSession {
        let Self { request, sent } = self;
        let connected = timeout(PATIENCE, request.connect()).await;
        let Ok(outcome) = connected else {
            panic!("no session: nothing came in {PATIENCE:?}\n  sent: {sent}");
        };
        match outcome {
            Ok((_, frames)) => TestSession { frames, sent },
            Err(WsClientError::InvalidResponseStatus(status)) => {
                panic!("no session\n  sent: {sent}\n  came: {status}")
            }
            Err(error) => panic!("no session: {error}\n  sent: {sent}"),
        }
    }
}

impl IntoFuture for TestHandshake {
    type Output = TestSession;
    type IntoFuture = Pin<Box<dyn Future<Output = TestSession>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// An open session. It answers pings; dropping it hangs up without a word.
///
/// Whatever does not come within 30 seconds panics, with the latest that was sent and the line of
/// the test. What the frames mean is said at [`Ws`](crate::ws::Ws).
pub struct TestSession {
    frames: Framed<BoxedSocket, Codec>,
    /// The latest.
    sent: Sent,
}

impl TestSession {
    /// Sends a frame.
    ///
    /// # Panics
    /// When it cannot be JSON, or the session has ended.
    #[track_caller]
    pub fn send(&mut self, frame: &impl Serialize) -> impl Future<Output = ()> {
        self.begin(text(frame))
    }

    /// Publishes an event; nothing is answered unless it fails.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn publish<E: Event>(&mut self, event: &E) -> impl Future<Output = ()> {
        self.begin(text(&json!({ "event_type": E::NAME, "payload": event })))
    }

    /// Subscribes to an event.
    ///
    /// # Panics
    /// When the next frame does not say that it is subscribed to.
    #[track_caller]
    pub fn subscribe<E: Event>(&mut self) -> impl Future<Output = ()> {
        let asked = self.exchange(text(&json!({ "subscribe": [E::NAME] })));
        async {
            let answer = asked.await;
            assert_eq!(answer, json!({ "subscribed": [E::NAME] }), "not subscribed");
        }
    }

    /// Sends a frame and gives the one that comes next.
    ///
    /// # Panics
    /// As [`send`](Self::send) and [`receive`](Self::receive).
    #[track_caller]
    pub fn ask(&mut self, frame: &impl Serialize) -> impl Future<Output = Value> {
        self.exchange(text(frame))
    }

    /// Gives the next frame.
    ///
    /// # Panics
    /// When none comes, or it is no JSON.
    #[track_caller]
    pub fn receive(&mut self) -> impl Future<Output = Value> {
        self.next(Location::caller())
    }

    /// Gives the event that the next frame brings, which this session has subscribed to.
    ///
    /// # Panics
    /// When the next frame brings another, or an error, or none comes.
    #[track_caller]
    pub fn receive_event<E: Event>(&mut self) -> impl Future<Output = E> {
        let by = Location::caller();
        async move {
            let mut frame = self.next(by).await;
            let is_expected = frame["event_type"] == E::NAME && frame["error"].is_null();
            assert!(is_expected, "expected {}, came {frame}, waited for at {by}", E::NAME);
            let event = serde_json::from_value(frame["payload"].take());
            event.unwrap_or_else(|error| panic!("no {}: {error}, waited for at {by}", E::NAME))
        }
    }

    /// Reads to the end, and gives the code with which the application closed the session.
    ///
    /// # Panics
    /// When it stays open, or ends without a code.
    #[track_caller]
    pub fn close_code(&mut self) -> impl Future<Output = u16> {
        let by = Location::caller();
        async move {
            loop {
                match self.frame(by).await {
                    Some(Frame::Close(Some(reason))) => return reason.code.into(),
                    Some(Frame::Close(None)) | None => self.fail("it ended without a code", by),
                    Some(_) => {}
                }
            }
        }
    }

    /// Says good-bye, and waits until the application has hung up.
    pub async fn close(mut self) {
        let by = self.sent.by;
        // Whoever has hung up first needs no good-bye.
        if self.frames.send(Message::Close(None)).await.is_ok() {
            while self.frame(by).await.is_some() {}
        }
    }

    #[track_caller]
    fn begin(&mut self, frame: String) -> impl Future<Output = ()> {
        self.sent = Sent { body: Some(shown(frame.as_bytes())), ..Sent::new("frame".to_owned()) };
        self.put(Message::Text(frame.into()))
    }

    #[track_caller]
    fn exchange(&mut self, frame: String) -> impl Future<Output = Value> {
        let by = Location::caller();
        self.sent = Sent { body: Some(shown(frame.as_bytes())), ..Sent::new("frame".to_owned()) };
        async move {
            self.put(Message::Text(frame.into())).await;
            self.next(by).await
        }
    }

    async fn next(&mut self, by: &'static Location<'static>) -> Value {
        match self.frame(by).await {
            Some(Frame::Text(text)) => serde_json::from_slice(&text)
                .unwrap_or_else(|error| self.fail(&format!("no JSON came: {error}"), by)),
            Some(other) => self.fail(&format!("no text came, but {other:?}"), by),
            None => self.fail("the session has ended", by),
        }
    }

    /// The next frame that is neither ping nor pong.
    async fn frame(&mut self, by: &'static Location<'static>) -> Option<Frame> {
        loop {
            let Ok(frame) = timeout(PATIENCE, self.frames.next()).await else {
                self.fail(&format!("nothing came in {PATIENCE:?}"), by)
            };
            match frame? {
                Ok(Frame::Ping(data)) => self.put(Message::Pong(data)).await,
                Ok(Frame::Pong(_)) => {}
                Ok(frame) => return Some(frame),
                Err(error) => self.fail(&error.to_string(), by),
            }
        }
    }

    async fn put(&mut self, message: Message) {
        if let Err(error) = self.frames.send(message).await {
            panic!("not sent: {error}\n  sent: {}", self.sent);
        }
    }

    fn fail(&self, what: &str, by: &'static Location<'static>) -> ! {
        panic!("{what}, waited for at {by}\n  sent: {}", self.sent);
    }
}

#[track_caller]
fn text(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).unwrap_or_else(|error| panic!("no JSON: {error}"))
}

impl fmt::Debug for TestHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHandshake").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl fmt::Debug for TestSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSession").field("sent", &self.sent).finish_non_exhaustive()
    }
}
