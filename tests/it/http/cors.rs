//! What pages of other origins may do, as browsers ask and are told.

use awc::http::Method;
use callboard::http::Routes;
use callboard::settings::Settings;
use callboard::{App, Domain, HandlerError, Running};

use super::{Answer, PATIENCE, answer, events};

events! {
    "book.find" => Find { id: i64 } -> Found;
    "book.found" => Found { id: i64 };
}

const SHOP: &str = "https://shop.example";

struct Books {
    running: Running,
    client: awc::Client,
}

impl Books {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let variables = [("SERVER_PORT", "0")].into_iter().chain(variables.iter().copied());
        let domain = Domain::new("book").handler(answer(|Find { id }| match id {
            0 => Err(HandlerError::unauthorized("who are you?")),
            1 => Err(HandlerError::retry("no shelf")),
            _ => Ok(Found { id }),
        }));
        let app = App::new(Settings::from_vars(variables).unwrap()).mount(domain);
        let routes = Routes::new().get::<Find>("/books/{id}");
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        Self { running: app.routes(routes).start().await.unwrap(), client }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let url = format!("http://{}{path}", self.running.addresses()[0]);
        let request = self.client.request(method, url);
        let with =
            |request: awc::ClientRequest, header: &(&str, &str)| request.insert_header(*header);
        Answer::of(headers.iter().fold(request, with).send().await.unwrap()).await
    }

    async fn preflight(&self, origin: &str, method: &str, headers: &str) -> Answer {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", headers),
        ];
        self.ask(Method::OPTIONS, "/books/7", &headers).await
    }
}

#[actix_web::test]
async fn no_page_of_another_origin_is_welcome_by_default() {
    let books = Books::start(&[]).await;
    let answer = books.ask(Method::GET, "/books/7", &[("origin", SHOP)]).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
    let answer = books.preflight(SHOP, "GET", "content-type").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    books.running.stop().await.unwrap();
}

#[actix_web::test]
async fn pages_of_named_origins_may_read_refusals_too() {
    let books = Books::start(&[("CORS_ORIGINS", SHOP), ("CORS_CREDENTIALS", "true")]).await;
    for (method, path, status) in [
        (Method::GET, "/books/7", 200),
        (Method::GET, "/books/0", 401),
        (Method::GET, "/books/1", 500),
        (Method::GET, "/books/x", 422),
        (Method::GET, "/nowhere", 404),
        (Method::PUT, "/books/7", 405),
    ] {
        let answer = books.ask(method.clone(), path, &[("origin", SHOP)]).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), SHOP, "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true", "{path}");
        assert!(answer.header("access-control-expose-headers").contains("x-trace-id"), "{path}");
        assert!(answer.header("vary").to_ascii_lowercase().contains("origin"), "{path}");
        let foreign = books.ask(method, path, &[("origin", "https://evil.example")]).await;
        assert_eq!(foreign.header("access-control-allow-origin"), "", "{path}");
        assert!(foreign.header("vary").to_ascii_lowercase().contains("origin"), "{path}");
    }
    books.running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_preflight_is_answered_from_the_settings() {
    let books = Books::start(&[("CORS_ORIGINS", SHOP), ("CORS_MAX_AGE", "60")]).await;
    let answer = books.preflight(SHOP, "PUT", "content-type,authorization").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), SHOP);
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert_eq!(answer.header("access-control-max-age"), "60");
    assert!(answer.header("access-control-allow-methods").contains("PUT"));
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    for (origin, method, headers) in [
        ("https://evil.example", "GET", "content-type"),
        (SHOP, "TRACE", "content-type"),
        (SHOP, "GET", "x-secret"),
    ] {
        let answer = books.preflight(origin, method, headers).await;
        assert_eq!(answer.status, 400, "{origin} {method} {headers}");
        assert_eq!(answer.header("access-control-allow-methods"), "");
    }
    let plain = books.ask(Method::OPTIONS, "/books/7", &[]).await;
    assert_eq!((plain.status, plain.header("allow")), (204, "GET, HEAD, OPTIONS"));
    books.running.stop().await.unwrap();
}

#[actix_web::test]
async fn any_page_may_come_without_credentials() {
    let books = Books::start(&[("CORS_ORIGINS", "*")]).await;
    for origin in [SHOP, "https://evil.example", "null"] {
        let answer = books.ask(Method::GET, "/books/7", &[("origin", origin)]).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
    books.running.stop().await.unwrap();
}

#[actix_web::test]
async fn scripts_may_say_and_read_what_the_server_reads_and_says() {
    let books = Books::start(&[("CORS_ORIGINS", SHOP)]).await;
    let said = "authorization,content-type,idempotency-key,last-event-id,traceparent";
    let said = format!("{said},x-correlation-id");
    let answer = books.preflight(SHOP, "GET", &said).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = books.ask(Method::GET, "/books/7", &[("origin", SHOP)]).await;
    let exposed = answer.header("access-control-expose-headers");
    let mut exposed: Vec<_> = exposed.split(',').map(str::trim).collect();
    exposed.sort_unstable();
    let expected = [
        "allow",
        "idempotency-replayed",
        "location",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "www-authenticate",
        "x-correlation-id",
        "x-trace-id",
    ];
    assert_eq!(exposed, expected);
    books.running.stop().await.unwrap();
}
