//! Calls over TLS: who is trusted, who is not and gets nothing, and where redirects lead.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

use callboard::client::{ClientError, ClientOptions, ExtraRoots, HttpClient};
use callboard::{millis, secs};
use rcgen::date_time_ymd;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{Cut, Hold, Peer, Say, answer, client, options};
use crate::authority::Authority;

fn trusting(authority: &Authority) -> ClientOptions {
    options().extra_roots(ExtraRoots::Pem(authority.root.clone().into()))
}

/// Why there is no connection; whoever says so was asked once.
async fn refusal(client: &HttpClient, url: &str) -> String {
    let error = client.get(url).send().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { is_lasting: true, .. }), "{error:?}");
    error.to_string()
}

#[actix_web::test]
async fn a_private_authority_is_trusted_where_its_root_is_added() {
    let authority = Authority::new("private");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.pem");
    // A file may hold several, and text between them.
    let other = Authority::new("other").root;
    fs::write(&path, format!("The first:\n{other}\nThe second:\n{}", authority.root)).unwrap();
    for versions in [[&TLS12], [&TLS13]] {
        let config = authority.server_with("localhost", &versions, |_| {});
        let peer = Peer::start_tls(config, |_, _| answer("200 OK", "page")).await;
        for options in [trusting(&authority), options().extra_roots(ExtraRoots::File(path.clone()))]
        {
            let call = client(options).post(peer.url("/a")).body("text").bearer("t0");
            assert_eq!(call.send().await.unwrap().text(), "page");
            let sent = peer.requests().pop().unwrap();
            assert!(sent.starts_with("POST /a HTTP/1.1\r\n") && sent.ends_with("text"), "{sent}");
        }
    }
}

#[actix_web::test]
async fn a_connection_is_used_again() {
    let authority = Authority::new("private");
    let peer = Peer::start_tls(authority.server("localhost"), |_, _| answer("200 OK", "x")).await;
    let client = client(trusting(&authority));
    for _ in 0..3 {
        client.get(peer.url("/")).send().await.unwrap();
    }
    assert_eq!((peer.requests().len(), peer.connections()), (3, 1));
}

#[actix_web::test]
async fn a_call_that_is_broken_off_closes_its_connection() {
    let authority = Authority::new("private");
    let mut config = authority.server("localhost");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let peer = Peer::start_tls(config, |_, _| Hold).await;
    let client = client(trusting(&authority));
    let call = client.get(peer.url("/")).timeout(secs(3600)).send();
    let asked = async {
        while peer.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = call => panic!("{outcome:?}"),
        () = asked => {}
    }
    let gone = async {
        while peer.closed.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(secs(10), gone).await.expect("its connection stays open");
    assert_eq!(peer.requests().len(), 1);
}

#[actix_web::test]
async fn whoever_is_not_trusted_gets_nothing() {
    let (authority, other) = (Authority::new("private"), Authority::new("other"));
    let long_ago = |year| date_time_ymd(year, 1, 1);
    let expired = authority.server_with("localhost", &[&TLS13], |params| {
        params.not_before = long_ago(2010);
        params.not_after = long_ago(2011);
    });
    let early = authority.server_with("localhost", &[&TLS13], |params| {
        params.not_before = long_ago(2300);
        params.not_after = long_ago(2301);
    });
    let mut other_protocol = authority.server("localhost");
    other_protocol.alpn_protocols = vec![b"h2".to_vec()];
    for (config, reason) in [
        (other.server("localhost"), "its certificate leads to no root that is trusted here: add"),
        (authority.server("elsewhere"), "its certificate is for another host name ("),
        (expired, "its certificate has expired ("),
        (early, "its certificate is not valid yet ("),
        (other_protocol, "it does not speak HTTP/1.1 over TLS ("),
    ] {
        let peer = Peer::start_tls(config, |_, _| answer("200 OK", "hunter2")).await;
        let client = client(trusting(&authority));
        let told = refusal(&client, &peer.url("/hunter2")).await;
        let start = format!("cannot connect to {}: {reason}", peer.url(""));
        assert!(told.starts_with(&start) && !told.contains("hunter2"), "{told}");
        assert_eq!((peer.requests().len(), peer.connections()), (0, 1), "{told}");
    }
}

#[actix_web::test]
async fn a_private_authority_is_a_stranger_by_default() {
    let authority = Authority::new("private");
    let peer = Peer::start_tls(authority.server("localhost"), |_, _| answer("200 OK", "")).await;
    let told = refusal(&client(options()), &peer.url("/")).await;
    assert!(told.contains("root"), "{told}");
    assert!(peer.requests().is_empty());
}

#[actix_web::test]
async fn who_does_not_speak_tls_is_told_from_who_says_nothing() {
    let authority = Authority::new("private");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    actix_web::rt::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            }
            silent.push(stream);
        }
    });
    let told = refusal(&client(trusting(&authority)), &url).await;
    assert!(told.contains("it does not speak TLS ("), "{told}");
    // The call as a whole has more time, so that it is the handshake whose time is over.
    let hasty = trusting(&authority).connect_timeout(millis(100)).attempts_max(2);
    let error = client(hasty).get(&url).timeout(secs(4)).send().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { is_lasting: false, .. }), "{error:?}");
    assert!(error.to_string().contains("Timeout while establishing connection"), "{error}");
    assert_eq!(accepted.load(Ordering::SeqCst), 3);
}

#[test]
fn roots_that_cannot_be_used_are_refused() {
    let good = Authority::new("private").root;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let file = |name: &str, content: &str| {
        fs::write(path(name), content).unwrap();
        ExtraRoots::File(path(name))
    };
    let pem = |text: &str| ExtraRoots::Pem(text.into());
    let none = "it holds no certificate; expected a PEM text with `-----BEGIN CERTIFICATE-----`";
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let third = format!("{good}{good}{}", good.replacen("MII", "MIA", 1));
    for (roots, reason) in [
        (pem(""), none),
        (pem(&key), none),
        (pem(&good.replacen('M', "?", 3)), "its PEM text is damaged"),
        (pem(&third), "its certificate number 3 is not valid X.509"),
        (file("empty.pem", ""), none),
        (file("huge.pem", &"\n".repeat(1024 * 1024 + 1)), "it has more than 1048576 bytes"),
        (ExtraRoots::File(path("nowhere.pem")), "it cannot be read: No such file or directory"),
    ] {
        let name = match &roots {
            ExtraRoots::File(path) => path.display().to_string(),
            _ => String::new(),
        };
        let shown = format!("{roots:?}");
        assert!(!shown.contains("MI") && !shown.contains("77"), "{shown}");
        let error = HttpClient::new(options().extra_roots(roots)).unwrap_err();
        assert!(matches!(error, ClientError::ExtraRoots { .. }), "{error:?}");
        let told = error.to_string();
        let start = format!("the extra root certificates cannot be used: {name}");
        assert!(told.starts_with(&start) && told.contains(reason), "{told}");
        assert!(!told.contains("MI"), "{told}");
    }
}

#[actix_web::test]
async fn no_redirect_leads_out_of_tls() {
    let authority = Authority::new("private");
    let open = Peer::start(|_, _| answer("200 OK", "")).await;
    let config = || authority.server("localhost");
    let (out, to) = (open.url("/?key=hunter2"), open.url("/?key=hunter2"));
    let closed = Peer::start_tls(config(), move |_, _| {
        let head = "HTTP/1.1 307 Temporary Redirect\r\ncontent-length: 0\r\n";
        Say(format!("{head}location: {out}\r\n\r\n"))
    })
    .await;
    let client = client(trusting(&authority));
    let answer = client.put(closed.url("/")).header("x-key", "hunter2").send().await.unwrap();
    assert_eq!((answer.status(), answer.header("location")), (307, Some(&*to)));
    assert_eq!((closed.requests().len(), open.requests().len()), (1, 0));

    // From a redirect into TLS there is no way out, either.
    let into = closed.url("/");
    let moved = Peer::start(move |_, _| {
        Say(format!("HTTP/1.1 302 Found\r\nlocation: {into}\r\ncontent-length: 0\r\n\r\n"))
    })
    .await;
    let answer = client.get(moved.url("/")).bearer("hunter2").send().await.unwrap();
    assert_eq!((answer.status(), answer.header("location")), (307, Some(&*to)));
    assert_eq!((closed.requests().len(), open.requests().len()), (2, 0));
    assert!(!closed.requests()[1].contains("hunter2"), "{:?}", closed.requests());
}

#[actix_web::test]
async fn redirects_within_tls_are_followed() {
    let authority = Authority::new("private");
    let config = || authority.server("localhost");
    let other = Peer::start_tls(config(), |_, _| answer("200 OK", "there")).await;
    let to = other.url("/c");
    let peer = Peer::start_tls(config(), move |number, _| {
        let to = if number == 0 { "/b" } else { &*to };
        Say(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))
    })
    .await;
    let client = client(trusting(&authority));
    let answer = client.get(peer.url("/a")).bearer("hunter2").send().await.unwrap();
    assert_eq!(answer.text(), "there");
    assert!(peer.requests().iter().all(|sent| sent.contains("hunter2")));
    assert_eq!((peer.requests().len(), other.requests().len()), (2, 1));
    assert!(!other.requests()[0].contains("hunter2"), "{:?}", other.requests());
}

#[actix_web::test]
async fn a_broken_answer_is_no_answer() {
    let answers = [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.0 200 OK\r\n\r\nof any length",
    ];
    let authority = Authority::new("private");
    let config = authority.server("localhost");
    let peer = Peer::start_tls(config, move |number, _| Cut(answers[number].to_owned())).await;
    let client = client(trusting(&authority).attempts_max(1).breaker_failures(0));
    for answer in answers {
        let error = client.get(peer.url("/")).send().await.unwrap_err();
        assert!(matches!(error, ClientError::Broken { .. }), "{answer:?}: {error:?}");
    }
}

#[actix_web::test]
async fn an_address_with_colons_is_refused() {
    let error = client(options()).get("https://[::1]/").send().await.unwrap_err();
    assert!(matches!(error, ClientError::BadRequest { .. }), "{error:?}");
    let error = client(options()).get("https://a_b..c/").send().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
}

const URL: &str = "CALLBOARD_TEST_TLS_URL";
const EXPECTED: &str = "CALLBOARD_TEST_TLS_EXPECTED";

/// In a process of its own, because the roots of the operating system are named by its environment.
#[actix_web::test]
async fn the_roots_of_the_operating_system_are_trusted() {
    if let (Ok(url), Ok(expected)) = (env::var(URL), env::var(EXPECTED)) {
        let outcome = client(options()).get(url).send().await;
        let told = outcome.map_or_else(|error| error.to_string(), |answer| answer.text().into());
        assert!(told.contains(&expected), "{told}");
        return;
    }
    let authority = Authority::new("private");
    let peer = Peer::start_tls(authority.server("localhost"), |_, _| answer("200 OK", "in")).await;
    let folder = tempfile::tempdir().unwrap();
    let (roots, nowhere) = (folder.path().join("roots.pem"), folder.path().join("nowhere.pem"));
    fs::write(&roots, &authority.root).unwrap();
    let check = async |file: PathBuf, expected: &'static str| {
        let url = peer.url("/");
        let output = actix_web::web::block(move || {
            Command::new(env::current_exe().unwrap())
                .args(["--exact", "client::tls::the_roots_of_the_operating_system_are_trusted"])
                .envs([(URL, &*url), (EXPECTED, expected)])
                .env("SSL_CERT_FILE", file)
                .env_remove("SSL_CERT_DIR")
                .output()
                .unwrap()
        });
        let output = output.await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    };
    check(roots, "in").await;
    check(nowhere, "this machine has no root certificates (").await;
    assert_eq!(peer.requests().len(), 1);
}
