//! Clients that make load: prepared bytes leave, answers are read just far enough to know where they
//! end.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failure::Failure;

/// A connection with what was read ahead of what was asked for.
struct Stream {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

impl Stream {
    async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, buffer: Vec::with_capacity(4096) })
    }

    /// Reads until `end` finds one, which is then taken out of the buffer.
    async fn read_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Result<usize, Failure> {
        loop {
            if let Some(end) = end(&self.buffer) {
                return Ok(end);
            }
            if self.tcp.read_buf(&mut self.buffer).await? == 0 {
                let rest = String::from_utf8_lossy(&self.buffer).into_owned();
                return Err(Failure::Answer(format!("the connection ended after {rest:?}")));
            }
        }
    }

    /// The head of an HTTP response, as text, without the line that ends it.
    async fn head(&mut self) -> Result<String, Failure> {
        let end = |read: &[u8]| read.windows(4).position(|four| four == b"\r\n\r\n");
        let len = self.read_until(end).await?;
        let head = String::from_utf8_lossy(&self.buffer[..len]).into_owned();
        self.buffer.drain(..len + 4);
        Ok(head)
    }
}

/// One connection that is kept alive, with one request.
pub(crate) struct HttpClient {
    stream: Stream,
    request: Vec<u8>,
}

impl HttpClient {
    pub(crate) async fn connect(address: SocketAddr, request: Vec<u8>) -> Result<Self, Failure> {
        Ok(Self { stream: Stream::connect(address).await?, request })
    }

    /// Sends the request and reads the answer, which has to be a success.
    pub(crate) async fn exchange(&mut self) -> Result<(), Failure> {
        self.stream.tcp.write_all(&self.request).await?;
        let len = self.stream.read_until(response_len).await?;
        if !self.stream.buffer.starts_with(b"HTTP/1.1 200 ") {
            let answer = String::from_utf8_lossy(&self.stream.buffer).into_owned();
            return Err(Failure::Answer(answer));
        }
        self.stream.buffer.drain(..len);
        Ok(())
    }
}

/// The length of a whole response at the start of the bytes.
fn response_len(read: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length: ";
    let head = read.windows(4).position(|four| four == b"\r\n\r\n")?;
    let lines = read[..head].split(|byte| *byte == b'\n');
    let body = lines.filter(|line| line.len() > LENGTH.len()).find_map(|line| {
        let (name, value) = line.split_at(LENGTH.len());
        name.eq_ignore_ascii_case(LENGTH).then(|| number(value))
    });
    let len = head + 4 + body.unwrap_or(0);
    (read.len() >= len).then_some(len)
}

fn number(digits: &[u8]) -> usize {
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
/// The key with which a client's frames are masked; any will do.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];

/// A WebSocket.
pub(crate) struct WsClient(Stream);

impl WsClient {
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Result<Self, Failure> {
        let mut stream = Stream::connect(address).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.tcp.write_all(request.as_bytes()).await?;
        let head = stream.head().await?;
        if head.starts_with("HTTP/1.1 101 ") {
            Ok(Self(stream))
        } else {
            Err(Failure::Answer(head))
        }
    }

    /// Sends a frame that [`frame`] has made.
    pub(crate) async fn send(&mut self, frame: &[u8]) -> Result<(), Failure> {
        Ok(self.0.tcp.write_all(frame).await?)
    }

    /// Reads the next text frame and looks whether it holds some text.
    pub(crate) async fn expect(&mut self, text: &[u8]) -> Result<(), Failure> {
        loop {
            let len = self.0.read_until(|read| frame_len(read).map(|(_, len)| len)).await?;
            let begin = frame_len(&self.0.buffer).map_or(0, |(begin, _)| begin);
            let frame = &self.0.buffer[begin..len];
            let is_text = self.0.buffer[0] == FIN | TEXT;
            if is_text && !frame.windows(text.len()).any(|part| part == text) {
                return Err(Failure::Answer(String::from_utf8_lossy(frame).into_owned()));
            }
            self.0.buffer.drain(..len);
            // A ping needs no answer within the short life of this client.
            if is_text {
                return Ok(());
            }
        }
    }
}

/// A masked text frame.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![FIN | TEXT];
    match u8::try_from(text.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            // 126, masked: two more bytes hold the length. No frame of this program is longer than what fits.
            frame.push(0xfe);
            let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Where the payload of a whole frame at the start of the bytes begins, and where it ends. A server
/// does not mask.
fn frame_len(read: &[u8]) -> Option<(usize, usize)> {
    let (begin, len) = match *read.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*read.get(2)?, *read.get(3)?]))),
        127 => return None,
        len => (2, usize::from(len)),
    };
    (read.len() >= begin + len).then_some((begin, begin + len))
}
