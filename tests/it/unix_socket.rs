//! A server on a Unix socket: how it is reached, what it does with a file that is there before it,
//! and what it leaves behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callboard::settings::Settings;
use callboard::ws::Ws;
use callboard::{App, AppError, Running};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::program::{Program, command};

const PATIENCE: Duration = Duration::from_secs(20);

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sock");
    (folder, path)
}

async fn start(path: &Path, vars: &[(&str, &str)]) -> Result<Running, AppError> {
    let socket = [("SERVER_UNIX_SOCKET", path.to_str().unwrap())];
    let settings = Settings::from_vars(socket.into_iter().chain(vars.iter().copied())).unwrap();
    App::new(settings).ws("/ws", Ws::new()).start().await
}

async fn refusal(path: &Path) -> String {
    start(path, &[]).await.unwrap_err().to_string()
}

/// Sends a request and reads to the end.
async fn ask(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let request = format!("{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn is_healthy(path: &Path) -> bool {
    ask(path, "GET /health HTTP/1.1").await.starts_with("HTTP/1.1 200 OK\r\n")
}

#[actix_web::test]
async fn requests_and_sessions_come_through_the_socket_which_goes_with_the_server() {
    let (_folder, path) = place();
    let running = start(&path, &[]).await.unwrap();
    assert_eq!(running.unix_socket(), Some(path.as_path()));
    assert!(running.addresses().is_empty(), "{running:?}");
    assert_eq!(mode(&path), 0o660);
    assert!(is_healthy(&path).await);

    let mut session = UnixStream::connect(&path).await.unwrap();
    let handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    session.write_all(handshake.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, session.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    running.stop().await.unwrap();
    assert!(!path.exists());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[actix_web::test]
async fn the_settings_say_who_may_connect() {
    let (_folder, path) = place();
    let running = start(&path, &[("SERVER_UNIX_MODE", "600")]).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn what_a_dead_process_has_left_is_replaced() {
    let (folder, path) = place();
    let vars = [("SERVER_UNIX_SOCKET", path.to_str().unwrap())];
    let hello = Program::start_anywhere("hello", folder.path(), &vars);
    assert!(ask(&path, "GET /hello/Ada HTTP/1.1").await.contains("Hello, Ada!"));
    hello.kill();
    drop(hello);
    assert!(path.exists(), "nobody has tidied up");
    let hello = Program::start_anywhere("hello", folder.path(), &vars);
    assert!(is_healthy(&path).await);
    assert_eq!(hello.terminate().code(), Some(0));
    assert!(!path.exists());
}

#[actix_web::test]
async fn what_somebody_listens_on_is_left_alone() {
    let (folder, path) = place();
    let first = start(&path, &[]).await.unwrap();
    let said = refusal(&path).await;
    let place = path.display();
    let expected = format!(
        "cannot listen on SERVER_UNIX_SOCKET {place}: another process listens there; stop it or \
         take another path"
    );
    assert_eq!(said, expected);
    assert!(is_healthy(&path).await);
    first.stop().await.unwrap();

    // One that accepts nobody, and whose queue is full.
    let idle = UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = connect_at_once(&path) {
        waiting.push(stream);
    }
    assert_eq!(refusal(&path).await, expected);
    drop(idle);
    let vars = [("SERVER_UNIX_SOCKET", path.to_str().unwrap()), ("SERVER_UNIX_MODE", "999")];
    let output = command("hello", folder.path(), &vars).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

fn connect_at_once(path: &Path) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)?;
    Ok(socket)
}

#[actix_web::test]
async fn what_is_no_socket_is_left_alone() {
    let (folder, path) = place();
    fs::write(&path, "precious").unwrap();
    assert!(
        refusal(&path)
            .await
            .ends_with("a file is there that is no socket; remove it or take another path")
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let nowhere = folder.path().join("no/such/folder/shop.sock");
    assert!(refusal(&nowhere).await.contains("No such file or directory"));
    let long = folder.path().join("long".repeat(50));
    assert!(refusal(&long).await.starts_with("cannot listen on SERVER_UNIX_SOCKET "));
}

#[actix_web::test]
async fn the_socket_of_a_successor_stays() {
    let (_folder, path) = place();
    let first = start(&path, &[]).await.unwrap();
    fs::remove_file(&path).unwrap();
    let second = start(&path, &[]).await.unwrap();
    first.stop().await.unwrap();
    assert!(is_healthy(&path).await);
    second.stop().await.unwrap();
    assert!(!path.exists());
}
