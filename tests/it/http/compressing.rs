//! Bodies in fewer bytes, both ways: what is packed, for whom, and how much may come out.

use std::io::{Read, Write};

use awc::http::Method;
use callboard::http::Routes;
use callboard::settings::{ServerSettings, Settings};
use callboard::{App, Domain, Running, Runtime};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{Answer, PATIENCE, Server, answer, events};

events! {
    "text.repeat" => Repeat { times: usize } -> Repeated;
    "text.keep" => Keep { text: String } -> Kept;
    "text.repeated" => Repeated { text: String };
    "text.kept" => Kept { bytes: usize };
}

fn domain() -> Domain {
    Domain::new("text")
        .handler(answer(|Repeat { times }| Ok(Repeated { text: "text ".repeat(times) })))
        .handler(answer(|Keep { text }| Ok(Kept { bytes: text.len() })))
}

fn routes() -> Routes {
    Routes::new().get::<Repeat>("/texts/{times}").post::<Keep>("/texts")
}

struct Library(Running);

impl Library {
    async fn start(compression: &str) -> Self {
        let vars = [
            ("SERVER_PORT", "0"),
            ("LOG_LEVEL", "error"),
            ("CORS_ORIGINS", "https://shop.example"),
            ("SERVER_COMPRESSION", compression),
        ];
        let app = App::new(Settings::from_vars(vars).unwrap()).mount(domain()).routes(routes());
        Self(app.start().await.unwrap())
    }

    async fn get(&self, path: &str, accept: &str) -> Answer {
        let url = format!("http://{}{path}", self.0.addresses()[0]);
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        let request = client.get(url).insert_header(("origin", "https://shop.example"));
        let request = match accept {
            "" => request.no_decompress(),
            accept => request.no_decompress().insert_header(("accept-encoding", accept)),
        };
        Answer::of(request.send().await.unwrap()).await
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[actix_web::test]
async fn large_texts_are_packed_for_who_takes_gzip() {
    let library = Library::start("true").await;
    for accept in ["gzip", "gzip, deflate, br", "br;q=1, gzip;q=0.5"] {
        for times in [300, 300_000] {
            let path = format!("/texts/{times}");
            let packed = library.get(&path, accept).await;
            assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"));
            assert_eq!(packed.header("content-type"), "application/json");
            assert_eq!(packed.header("content-length"), packed.body.len().to_string());
            let mut plain = String::new();
            GzDecoder::new(&packed.body[..]).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, library.get(&path, "").await.text());
            assert!(packed.body.len() < plain.len() / 5, "{accept}");
        }
    }
    library.0.stop().await.unwrap();
}

#[actix_web::test]
async fn others_get_it_as_it_is_and_caches_are_told() {
    let library = Library::start("true").await;
    for accept in ["", "*", "identity", "br", "gzip;q=0", "identity, gzip;q=0.1", "nonsense;;"] {
        let plain = library.get("/texts/300", accept).await;
        assert_eq!((plain.status, plain.header("content-encoding")), (200, ""), "{accept}");
        let vary = plain.header("vary").to_ascii_lowercase();
        assert!(vary.contains("accept-encoding") && vary.contains("origin"), "{vary}");
    }
    for path in ["/texts/10", "/texts/x", "/nowhere"] {
        let small = library.get(path, "gzip").await;
        assert_eq!(small.header("content-encoding"), "", "{path}");
        assert!(!small.header("vary").contains("accept-encoding"), "{path}");
    }
    library.0.stop().await.unwrap();
}

#[actix_web::test]
async fn nothing_is_packed_unless_the_settings_say_so() {
    let library = Library::start("false").await;
    let plain = library.get("/texts/300", "gzip").await;
    assert_eq!((plain.status, plain.header("content-encoding")), (200, ""));
    library.0.stop().await.unwrap();
}

async fn server(body_max: usize) -> Server {
    let mut settings = ServerSettings::default();
    settings.body_max = body_max;
    Server::start_with(Runtime::new().mount(domain()), &routes(), &settings).await
}

async fn post(server: &Server, coding: &str, body: Vec<u8>) -> Answer {
    let request = server.request(Method::POST, "/texts").content_type("application/json");
    let request = request.insert_header(("content-encoding", coding));
    Answer::of(request.send_body(body).await.unwrap()).await
}

fn text(len: usize) -> String {
    format!("{{\"text\":\"{}\"}}", "x".repeat(len))
}

#[actix_web::test]
async fn a_packed_body_is_unpacked() {
    let server = server(1_000_000).await;
    for coding in ["gzip", "GZip", "x-gzip"] {
        for len in [5, 500_000] {
            let kept = post(&server, coding, gzip(text(len).as_bytes())).await;
            assert_eq!(kept.ok(200)["bytes"], len, "{coding}");
        }
    }
    let plain = post(&server, "identity", text(5).into_bytes()).await;
    assert_eq!(plain.ok(200)["bytes"], 5);
}

#[actix_web::test]
async fn the_limit_of_a_body_holds_for_what_comes_out_of_it() {
    let server = server(10_000).await;
    let around = "{\"text\":\"\"}".len();
    let full = post(&server, "gzip", gzip(text(10_000 - around).as_bytes())).await;
    full.ok(200);
    let over = post(&server, "gzip", gzip(text(10_001 - around).as_bytes())).await;
    over.problem(413, "body_too_large");
    // A few KB that would be 10 MB, and a few that would be that again.
    let bomb = gzip(&gzip(&vec![b' '; 10_000_000]));
    assert!(bomb.len() < 5_000);
    post(&server, "gzip", bomb).await.problem(400, "malformed_json");
    let bomb = gzip(&vec![b' '; 5_000_000]);
    assert!(bomb.len() < 10_000);
    post(&server, "gzip", bomb).await.problem(413, "body_too_large");
}

#[actix_web::test]
async fn what_cannot_be_unpacked_is_refused() {
    let server = server(10_000).await;
    let packed = gzip(text(100).as_bytes());
    let cut = packed[..packed.len() - 1].to_vec();
    for broken in [text(5).into_bytes(), cut] {
        post(&server, "gzip", broken).await.problem(400, "broken_body");
    }
    for coding in ["br", "deflate", "gzip, gzip", "zstd", "", "\u{fc}"] {
        let refused = post(&server, coding, packed.clone()).await;
        refused.problem(415, "unsupported_media_type");
    }
}
