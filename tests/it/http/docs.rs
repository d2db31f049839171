//! Swagger UI: the page, its files, and what browsers are told about them.

use actix_web::http::header::HeaderMap;
use awc::http::Method;
use callboard::http::{Info, Routes};
use callboard::settings::Settings;
use callboard::{App, Domain, Running};

use super::{Answer, PATIENCE, answer, events};

events! {
    "post.send" => Send {} -> Sent;
    "post.sent" => Sent {};
}

async fn start(vars: &[(&str, &str)]) -> Running {
    let vars = vars.iter().copied().chain([("SERVER_PORT", "0")]);
    let app = App::new(Settings::from_vars(vars).unwrap());
    let app = app.mount(Domain::new("post").handler(answer(|_: Send| Ok(Sent {}))));
    let app = app.info(Info::new("Post", "1.0.0").server("https://post.example/v1"));
    app.routes(Routes::new().get::<Send>("/send")).start().await.unwrap()
}

async fn get(app: &Running, path: &str, headers: &[(&str, &str)]) -> Answer {
    let client = awc::Client::builder().timeout(PATIENCE).disable_redirects().finish();
    let url = format!("http://{}{path}", app.addresses()[0]);
    let request = client.request(Method::GET, url).no_decompress();
    let with = |request: awc::ClientRequest, header: &(&str, &str)| request.insert_header(*header);
    let request = headers.iter().fold(request, with);
    let mut response = request.send().await.unwrap();
    let body = response.body().limit(1 << 23).await.unwrap();
    let mut answer =
        Answer { status: response.status().as_u16(), headers: HeaderMap::default(), body };
    for (name, value) in response.headers() {
        answer.headers.append(name.clone(), value.clone());
    }
    answer
}

#[actix_web::test]
async fn the_page_shows_the_description() {
    let app = start(&[]).await;
    let to_page = get(&app, "/docs", &[]).await;
    assert_eq!((to_page.status, to_page.header("location")), (308, "docs/"));
    let page = get(&app, "/docs/", &[]).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    // Whatever the page names is there.
    let is_script = |part: &str| part.strip_suffix(".js").is_some();
    let is_style = |part: &str| part.strip_suffix(".css").is_some();
    let parts = page.text().split('"').filter(|part| is_script(part) || is_style(part));
    let parts: Vec<_> = parts.collect();
    assert_eq!(parts.len(), 4, "{parts:?}");
    for part in parts {
        let file = get(&app, &format!("/docs/{part}"), &[]).await;
        assert_eq!(file.status, 200, "{part}");
        let is_code = file.header("content-type").starts_with("text/javascript");
        assert_eq!(is_code, is_script(part), "{part}");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
    }
    let initializer = get(&app, "/docs/swagger-initializer.js", &[]).await;
    assert!(initializer.text().contains(r#"url: "../openapi.json""#));
    assert_eq!(get(&app, "/openapi.json", &[]).await.json()["info"]["title"], "Post");
    for path in ["/docs/nothing.js", "/docs/../Cargo.toml", "/docs/a/b"] {
        get(&app, path, &[]).await.problem(404, "unknown_path");
    }
    app.stop().await.unwrap();
}

#[actix_web::test]
async fn scripts_come_from_the_server_alone() {
    let app = start(&[]).await;
    let page = get(&app, "/docs/", &[]).await;
    let policy = page.header("content-security-policy");
    for rule in [
        "default-src 'none';",
        "script-src 'self';",
        "connect-src 'self' https://post.example;",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert_eq!(page.headers.get_all("content-security-policy").count(), 1);
    assert!(!page.text().contains("<script>") && !page.text().contains("<style"));
    app.stop().await.unwrap();
}

#[actix_web::test]
async fn files_are_sent_packed_and_once() {
    let app = start(&[]).await;
    let bundle = "/docs/swagger-ui-bundle.js";
    let plain = get(&app, bundle, &[("accept-encoding", "identity")]).await;
    assert!(plain.body.len() > 1_000_000 && plain.text().contains("SwaggerUIBundle"));
    let packed = get(&app, bundle, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 2);
    let tag = packed.header("etag");
    let known = get(&app, bundle, &[("if-none-match", tag)]).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    app.stop().await.unwrap();
}

#[actix_web::test]
async fn a_setting_switches_it_off_and_a_provider_does_not() {
    let app = start(&[("SERVER_DOCS", "false")]).await;
    get(&app, "/docs/", &[]).await.problem(404, "unknown_path");
    app.stop().await.unwrap();
    #[cfg(feature = "auth")]
    {
        let app = start(&[("AUTH_SECRET", "a secret of the tests, long enough")]).await;
        assert_eq!(get(&app, "/docs/", &[]).await.status, 200);
        assert_eq!(get(&app, "/send", &[]).await.status, 401);
        app.stop().await.unwrap();
    }
}
