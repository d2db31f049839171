//! The HTTP client over real sockets. Here: the peers that its tests call.

use std::future::{Future, pending, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callboard::client::{ClientOptions, HttpClient};
use callboard::millis;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

mod calls;
mod limits;
mod retries;
#[cfg(feature = "tls")]
mod tls;

/// What a peer does with one request.
enum Deed {
    /// Writes this and keeps the connection.
    Say(String),
    /// Writes this and closes the connection.
    Cut(String),
    /// Writes the first, then the second letter by letter, with a pause after each.
    Drip(String, &'static str, Duration),
    /// Says nothing until the caller goes away.
    Hold,
}

use Deed::{Cut, Drip, Hold, Say};

/// A server that does with each request as the test says.
struct Peer {
    address: SocketAddr,
    is_tls: bool,
    connections: Arc<AtomicUsize>,
    /// The connections whose other side has gone.
    closed: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Starts one; `deed` gets the number of the request, from 0, and its text.
    async fn start(deed: impl Fn(usize, &str) -> Deed + Send + Sync + 'static) -> Self {
        Self::serve(false, |stream| ready(Ok(stream)), deed).await
    }

    /// Starts one that speaks TLS.
    #[cfg(feature = "tls")]
    async fn start_tls(
        config: rustls::ServerConfig,
        deed: impl Fn(usize, &str) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Self::serve(true, move |stream| acceptor.accept(stream), deed).await
    }

    async fn serve<S, F>(
        is_tls: bool,
        handshake: impl Fn(TcpStream) -> F + Send + 'static,
        deed: impl Fn(usize, &str) -> Deed + Send + Sync + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Self {
            address: listener.local_addr().unwrap(),
            is_tls,
            connections: Arc::default(),
            closed: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, closed) = (Arc::clone(&peer.connections), Arc::clone(&peer.closed));
        let (requests, deed) = (Arc::clone(&peer.requests), Arc::new(deed));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, deed) = (Arc::clone(&requests), Arc::clone(&deed));
                let (closed, handshake) = (Arc::clone(&closed), handshake(stream));
                tokio::spawn(async move {
                    if let Ok(stream) = handshake.await {
                        converse(stream, &requests, &*deed).await;
                    }
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        peer
    }

    fn url(&self, path: &str) -> String {
        if self.is_tls {
            return format!("https://localhost:{}{path}", self.address.port());
        }
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    requests: &Mutex<Vec<String>>,
    deed: &(impl Fn(usize, &str) -> Deed + ?Sized),
) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut requests = requests.lock();
            requests.push(request.clone());
            requests.len() - 1
        };
        match deed(number, &request) {
            Say(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            Cut(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return stream.flush().await.unwrap();
            }
            Drip(start, rest, pause) => {
                stream.write_all(start.as_bytes()).await.unwrap();
                for byte in rest.bytes() {
                    sleep(pause).await;
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            }
            Hold => match stream.read(&mut [0]).await {
                Ok(0) | Err(_) => return,
                Ok(_) => pending().await,
            },
        }
    }
}

/// Reads the head, and the body where it has a length.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if body.len() >= length.map_or(0, |(_, length)| length.parse().unwrap()) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => text.push_str(str::from_utf8(&buffer[..read]).unwrap()),
        }
    }
}

/// An answer with a body of this length.
fn answer(status: &str, body: &str) -> Deed {
    Say(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// Options whose pauses cost a test no time.
fn options() -> ClientOptions {
    ClientOptions::default().retry_delay(millis(1))
}

fn client(options: ClientOptions) -> HttpClient {
    HttpClient::new(options).unwrap()
}
