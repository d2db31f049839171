//! TLS by settings, over real sockets: what clients agree on, what is refused at the start, and a
//! certificate that is renewed while the application runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Version;
use actix_web::{HttpRequest, web};
use awc::ws::{Frame, Message};
use awc::{Client, Connector};
use callboard::settings::Settings;
use callboard::ws::Ws;
use callboard::{App, AppError, Running};
use futures_util::{SinkExt, StreamExt};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a certificate for `localhost` and its key.
struct Pair {
    folder: TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { folder: tempfile::tempdir().unwrap() };
        pair.renew();
        pair
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Writes another certificate, of another key.
    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } = self_signed();
        fs::write(self.cert(), cert.pem()).unwrap();
        fs::write(self.key(), signing_key.serialize_pem()).unwrap();
        cert.der().clone()
    }

    fn vars(&self) -> [(&'static str, String); 4] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [
            ("SERVER_PORT", "0".to_owned()),
            ("SERVER_TLS_CERT_FILE", text(&self.cert())),
            ("SERVER_TLS_KEY_FILE", text(&self.key())),
            ("SERVER_TLS_CHECK_INTERVAL", "0.02".to_owned()),
        ]
    }

    fn app(&self) -> App {
        let settings = Settings::from_vars(self.vars()).unwrap();
        let version = async |request: HttpRequest| format!("{:?}", request.version());
        App::new(settings)
            .ws("/ws", Ws::new())
            .configure(move |config| _ = config.route("/version", web::get().to(version)))
    }

    async fn start(&self) -> Running {
        self.app().start().await.unwrap()
    }

    /// What keeps the application from starting.
    async fn refusal(&self) -> String {
        let error = self.app().start().await.unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error.replace(self.folder.path().to_str().unwrap(), "")
    }
}

fn self_signed() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

const BOTH: &[&str] = &["h2", "http/1.1"];

/// A client that trusts this certificate only, and has no connection yet.
fn trusting(
    cert: &CertificateDer<'static>,
    tls: &[&'static SupportedProtocolVersion],
    http: &[&str],
) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(tls).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = http.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connector = Connector::new().rustls_0_23(Arc::new(config)).timeout(PATIENCE);
    Client::builder().connector(connector).timeout(PATIENCE).finish()
}

/// Asks for text; over which version of HTTP it came, and what it is.
async fn ask(client: &Client, url: &str) -> Result<(Version, String), String> {
    let sent = client.get(url).send().await;
    let mut answer = sent.map_err(|error| format!("{error} {error:?}"))?;
    let body = answer.body().await.map_err(|error| error.to_string())?;
    Ok((answer.version(), String::from_utf8_lossy(&body).into_owned()))
}

fn url(running: &Running, path: &str) -> String {
    format!("https://localhost:{}{path}", running.addresses()[0].port())
}

#[actix_web::test]
async fn clients_choose_between_both_versions_of_http_and_of_tls() {
    let pair = Pair::new();
    let cert = pair.renew();
    let running = pair.start().await;
    for tls in [&TLS12, &TLS13] {
        for (http, version) in [
            (BOTH, Version::HTTP_2),
            (&["h2"], Version::HTTP_2),
            (&["http/1.1"], Version::HTTP_11),
            (&[], Version::HTTP_11),
        ] {
            let client = trusting(&cert, &[tls], http);
            let served = ask(&client, &url(&running, "/version")).await.unwrap();
            assert_eq!(served, (version, format!("{version:?}")), "{tls:?} {http:?}");
        }
    }
    let client = trusting(&cert, &[&TLS13], BOTH);
    let nowhere = url(&running, "/nowhere");
    let asked = (0..100).map(|_| ask(&client, &nowhere));
    for problem in futures_util::future::join_all(asked).await {
        assert!(problem.unwrap().1.contains("unknown_path"));
    }
    drop(client);
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn browsers_are_told_to_come_over_tls_only_where_the_settings_say_so() {
    let pair = Pair::new();
    let cert = pair.renew();
    for (age, header) in
        [(None, None), (Some("0"), Some("max-age=0")), (Some("3600"), Some("max-age=3600"))]
    {
        let age = age.map(|age| ("SERVER_TLS_HSTS_MAX_AGE", age.to_owned()));
        let settings = Settings::from_vars(pair.vars().into_iter().chain(age)).unwrap();
        let running = App::new(settings).start().await.unwrap();
        for http in ["h2", "http/1.1"] {
            let client = trusting(&cert, &[&TLS13], &[http]);
            for (path, status) in [("/health", 200), ("/nowhere", 404)] {
                let answer = client.get(url(&running, path)).send().await.unwrap();
                assert_eq!(answer.status().as_u16(), status, "{http}");
                let said = answer.headers().get_all("strict-transport-security");
                let said: Vec<_> = said.map(|value| value.to_str().unwrap()).collect();
                assert_eq!(said, Vec::from_iter(header), "{http} {path}");
            }
        }
        running.stop().await.unwrap();
    }
}

/// As RFC 6797 demands, whatever the settings say that the program has changed.
#[actix_web::test]
async fn without_tls_nothing_is_said_about_it() {
    let mut settings = Settings::from_vars([("SERVER_PORT", "0")]).unwrap();
    settings.server.tls.hsts_max_age = Some(Duration::from_secs(90));
    let running = App::new(settings).start().await.unwrap();
    let url = format!("http://{}/health", running.addresses()[0]);
    let answer = Client::new().get(url).send().await.unwrap();
    assert!(answer.status().is_success());
    assert!(!answer.headers().contains_key("strict-transport-security"));
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn sessions_work_over_tls() {
    let pair = Pair::new();
    let cert = pair.renew();
    let running = pair.start().await;
    let client = trusting(&cert, &[&TLS13], &["http/1.1"]);
    let handshake = client.ws(url(&running, "/ws")).set_header("origin", url(&running, ""));
    let (_, mut session) = handshake.connect().await.unwrap();
    session.send(Message::Text(r#"{"join":"lobby"}"#.into())).await.unwrap();
    let answer = timeout(PATIENCE, session.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(&answer, Frame::Text(text) if text == r#"{"joined":"lobby"}"#), "{answer:?}");
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_client_that_does_not_shake_hands_is_left() {
    let pair = Pair::new();
    let cert = pair.renew();
    let mut settings = Settings::from_vars(pair.vars()).unwrap();
    settings.server.tls.handshake_timeout = Duration::from_millis(500);
    let running = App::new(settings).start().await.unwrap();
    let mut silent = TcpStream::connect(running.addresses()[0]).await.unwrap();
    let mut plain = TcpStream::connect(running.addresses()[0]).await.unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    for stream in [&mut silent, &mut plain] {
        let mut said = Vec::new();
        // A reset is an end, too.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("it is left");
        assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));
    }
    let client = trusting(&cert, &[&TLS13], BOTH);
    assert!(ask(&client, &url(&running, "/health")).await.is_ok());
    drop(client);
    running.stop().await.unwrap();
}

#[actix_web::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let other = self_signed();
    let (other_cert, other_key) = (other.cert.pem(), other.signing_key.serialize_pem());
    let damaged = other_cert.replacen('M', "?", 3);
    let damaged_inside = other_cert.replacen("MII", "MIA", 1);
    let damaged_key = other_key.replacen("MIG", "MIA", 1);
    let passphrase = other_key.replace(" PRIVATE", " ENCRYPTED PRIVATE");
    let two_keys = other_key.repeat(2);
    let (cert, key) = ("SERVER_TLS_CERT_FILE /cert.pem: ", "SERVER_TLS_KEY_FILE /key.pem: ");
    let one_key = "expected a PEM text with exactly one `-----BEGIN PRIVATE KEY-----`";
    for (variable, content, reason) in [
        (cert, None, "it cannot be read: No such file or directory"),
        (key, None, "it cannot be read: No such file or directory"),
        (cert, Some(""), "it holds no certificate; expected a PEM text"),
        (cert, Some(&other_key), "it holds no certificate; expected a PEM text"),
        (cert, Some(&damaged), "its PEM text is damaged"),
        (cert, Some(&damaged_inside), "its first certificate is not valid X.509"),
        (key, Some(""), one_key),
        (key, Some(&other_cert), one_key),
        (key, Some(&two_keys), one_key),
        (key, Some(&passphrase), "its key has a passphrase"),
        (key, Some(&damaged_key), "its key is damaged, or neither RSA, ECDSA nor Ed25519"),
        (key, Some(&other_key), "it is not the key of the first certificate in /cert.pem"),
    ] {
        let pair = Pair::new();
        let path = if variable == cert { pair.cert() } else { pair.key() };
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let refusal = pair.refusal().await;
        assert!(refusal.starts_with(&format!("{variable}{reason}")), "{refusal}");
        assert!(!refusal.contains("MI"), "{refusal}");
    }
    let huge = Pair::new();
    fs::write(huge.cert(), "\n".repeat(1024 * 1024 + 1)).unwrap();
    assert!(huge.refusal().await.contains("it has more than 1048576 bytes"));
    let mut half = Settings::from_vars(huge.vars()).unwrap();
    half.server.tls.key_file = None;
    let error = App::new(half).start().await.unwrap_err();
    assert!(matches!(error, AppError::HalfTls), "{error}");
}

#[actix_web::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_never() {
    let pair = Pair::new();
    let first = pair.renew();
    let vars = pair.vars();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let hello = Program::start("hello", pair.folder.path(), &vars);
    let url = hello.url("/hello/Ada").replace("http://127.0.0.1", "https://localhost");
    let answers = async |cert: &CertificateDer<'static>| {
        ask(&trusting(cert, &[&TLS13], BOTH), &url).await.map(|(_, text)| text)
    };
    assert_eq!(answers(&first).await.unwrap(), r#"{"text":"Hello, Ada!"}"#);
    let early = trusting(&first, &[&TLS13], BOTH);
    ask(&early, &url).await.unwrap();

    // Half of a renewal: a certificate whose key has not come yet.
    let second = self_signed();
    fs::write(pair.cert(), second.cert.pem()).unwrap();
    let line = hello.wait_for("it is not the key of the first certificate");
    assert!(line.contains("ERROR") && line.contains("SERVER_TLS_KEY_FILE"), "{line}");
    assert!(line.contains("the TLS certificate stays as it is"), "{line}");
    answers(&first).await.unwrap();

    fs::write(pair.key(), second.signing_key.serialize_pem()).unwrap();
    hello.wait_for("TLS certificate renewed");
    answers(second.cert.der()).await.unwrap();
    let refusal = answers(&first).await.unwrap_err();
    assert!(refusal.contains("UnknownIssuer") || refusal.contains("BadSignature"), "{refusal}");
    ask(&early, &url).await.expect("an open connection goes on");

    fs::remove_file(pair.key()).unwrap();
    hello.wait_for("it cannot be read");
    answers(second.cert.der()).await.unwrap();
    drop(early);
    assert_eq!(hello.terminate().code(), Some(0));
}
