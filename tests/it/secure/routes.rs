//! Routes with a provider: private unless they say otherwise. parity: W23

use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use callboard::auth::{AuthError, Authenticating, Credentials, Provider};
use callboard::http::{Info, Route, RouteFault, Routes};
use callboard::{App, AppError, Identity, secs};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{
    Ask, Enter, Response, Server, app, bad_tokens, domain, nobody, provider, routes, serve,
    settings, token,
};

#[actix_web::test]
async fn without_a_provider_everything_is_open_and_nobody_is_known() {
    let open = Routes::new().get::<Ask>("/private");
    let app = App::new(settings(&[])).mount(domain().0).routes(open);
    let server = Server(app.start().await.unwrap());
    assert_eq!(server.get("/private", None).await.subject(), &nobody());
    assert_eq!(server.get("/private", Some(&token(&[]))).await.subject(), &nobody());
    assert_eq!(server.get("/metrics", None).await.status, 200);
}

#[actix_web::test]
async fn with_a_provider_routes_are_private_unless_they_are_public() {
    let server = serve().await;
    for path in ["/private", "/any"] {
        server.get(path, None).await.refused(401, "unauthorized");
    }
    server.post("/notes", None, &json!({ "text": "hi" })).await.refused(401, "unauthorized");
    assert_eq!(server.get("/private", Some(&token(&[]))).await.subject(), "ada");
    assert_eq!(server.get("/public", None).await.subject(), &nobody());
    // What is public looks at no token, so a stale one locks nobody out.
    assert_eq!(server.get("/public", Some("stale")).await.subject(), &nobody());
    assert_eq!(server.get("/health", None).await.status, 200);
    server.get("/nowhere", None).await.refused(404, "unknown_path");
}

#[actix_web::test]
async fn a_token_that_proves_nothing_is_refused_with_its_reason() {
    let server = serve().await;
    for (bad, code) in bad_tokens() {
        server.get("/private", Some(&bad)).await.refused(401, code);
    }
    let basic = server.request(Method::GET, "/private", None);
    let basic = basic.insert_header((AUTHORIZATION, "Basic YWRhOmFkYQ==")).send().await.unwrap();
    Response::of(basic).await.refused(401, "unauthorized");
    let good = token(&[]);
    let in_query = server.get(&format!("/private?token={good}&access_token={good}"), None).await;
    in_query.refused(401, "unauthorized");
}

#[actix_web::test]
async fn permissions_are_all_or_any() {
    let server = serve().await;
    for (has, all, any) in [
        (&[][..], false, false),
        (&["a"], false, true),
        (&["b"], false, false),
        (&["a", "b"], true, true),
        (&["c", "d"], false, true),
        (&["A", "a "], false, false),
    ] {
        let token = token(has);
        let answers = [
            (all, server.post("/all", Some(&token), &json!({ "id": 7 })).await),
            (any, server.get("/any", Some(&token)).await),
        ];
        for (is_permitted, answer) in answers {
            if is_permitted {
                assert_eq!(answer.subject(), "ada", "{has:?}");
                assert_eq!(answer.json["permissions"], json!(has));
            } else {
                answer.refused(403, "forbidden");
                let text = answer.json.to_string();
                assert!(!text.contains("\"a\"") && !text.contains("\"b\""), "{text}");
            }
        }
    }
}

#[actix_web::test]
async fn a_client_does_not_choose_its_identity() {
    let (domain, mut notes) = domain();
    let app = App::new(settings(&[])).mount(domain).routes(routes());
    let server = Server(app.auth(provider()).start().await.unwrap());
    let token = token(&["x"]);
    let forged = json!({
        "id": 1, "text": "hi", "by": "root", "subject": "root", "user_id": "root", "sub": "root",
        "permissions": ["a", "b"], "identity": { "subject": "root", "permissions": ["a", "b"] },
        "context": { "identity": { "subject": "root" } }, "metadata": { "identity": "root" },
    });
    let path = "/private?subject=root&identity.subject=root&permissions=a";
    let answer = server.post(path, Some(&token), &forged).await;
    assert_eq!(answer.subject(), "ada");
    assert_eq!(answer.json["permissions"], json!(["x"]));
    assert_eq!(answer.json["id"], 1);
    server.post("/all", Some(&token), &forged).await.refused(403, "forbidden");
    let mut request = server.request(Method::GET, "/private", Some(&token));
    for name in ["x-user", "x-identity", "x-subject", "x-permissions", "cookie"] {
        request = request.insert_header((name, "root"));
    }
    assert_eq!(Response::of(request.send().await.unwrap()).await.subject(), "ada");
    // A published event, and what follows from it.
    assert_eq!(server.post("/notes", Some(&token), &forged).await.status, 202);
    assert_eq!(notes.recv().await, Some(("hi".to_owned(), Some("ada".to_owned()))));
}

/// Sends a request as it is written, and the head of what comes back at once.
async fn knock(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 4096];
    let read = tokio::time::timeout(secs(10), stream.read(&mut head)).await;
    head.truncate(read.expect("an answer").unwrap());
    String::from_utf8(head).unwrap()
}

#[actix_web::test]
async fn nothing_of_the_body_is_read_before_it_is_clear_who_asks() {
    let server = serve().await;
    for (length, body) in [("1000", ""), ("99999999", ""), ("8", "not json")] {
        let head = format!(
            "POST /private HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        let answer = knock(&server, &head).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}

#[actix_web::test]
async fn other_methods_are_answered_as_ever() {
    let server = serve().await;
    let options = server.request(Method::OPTIONS, "/all", None).send().await.unwrap();
    assert_eq!(options.status().as_u16(), 204, "a preflight carries no credentials");
    let delete = server.request(Method::DELETE, "/all", None).send().await.unwrap();
    assert_eq!(delete.status().as_u16(), 405);
    let head = server.request(Method::HEAD, "/private", None).send().await.unwrap();
    assert_eq!(head.status().as_u16(), 401);
}

struct Away;

impl Provider for Away {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
        Box::pin(async move {
            match credentials.token() {
                "known" => Ok(Identity::new("known").into()),
                _ => Err(AuthError::unavailable("db-7.internal is away")),
            }
        })
    }
}

#[actix_web::test]
async fn a_provider_that_cannot_tell_lets_nobody_in() {
    let server = Server(app().auth(Away).start().await.unwrap());
    assert_eq!(server.get("/private", Some("known")).await.subject(), "known");
    let answer = server.get("/private", Some("other")).await;
    answer.refused(503, "auth_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.json.to_string().contains("db-7"), "{answer:?}");
}

/// No header makes a stranger known, and none breaks the server.
#[test]
fn no_malformed_header_is_let_in_or_breaks_anything() {
    let values = prop_oneof![
        "[ -~\t]{0,60}",
        "(?i:bearer)[ \t]{0,3}[ -~]{0,60}",
        "Bearer [A-Za-z0-9_-]{0,20}(\\.[A-Za-z0-9_=-]{0,20}){0,5}",
        "Bearer eyJ[A-Za-z0-9_-]{0,20}\\.eyJ[A-Za-z0-9_-]{0,20}\\.[A-Za-z0-9_-]{0,20}",
    ];
    let values = prop::collection::vec(values.prop_map(String::into_bytes), 0..3);
    let bytes = prop::collection::vec(0x80_u8..=0xff, 0..20).prop_map(|bytes| vec![bytes]);
    let strategy = prop_oneof![4 => values, 1 => bytes];
    let system = actix_web::rt::System::new();
    let server = system.block_on(serve());
    let config = Config { failure_persistence: None, ..Config::with_cases(200) };
    let outcome = TestRunner::new(config).run(&strategy, |values| {
        let answer = system.block_on(async {
            let mut request = server.request(Method::GET, "/private", None);
            for value in &values {
                let value = actix_web::http::header::HeaderValue::from_bytes(value).unwrap();
                request = request.append_header((AUTHORIZATION, value));
            }
            Response::of(request.send().await.unwrap()).await
        });
        prop_assert_eq!(answer.status, 401, "{:?}", answer);
        prop_assert!(answer.header("www-authenticate").starts_with("Bearer"));
        Ok(())
    });
    outcome.unwrap();
}

#[actix_web::test]
async fn permissions_that_nobody_can_have_are_faults_before_anything_starts() {
    let demanding = || Route::get::<Enter>("/b").permissions_all(["a"]);
    let no_provider = Routes::new().get::<Ask>("/a").route(demanding());
    let public = Routes::new().route(demanding().public()).auth(provider());
    let empty = Route::get::<Enter>("/b").permissions_any([""; 0]);
    let empty = Routes::new().route(empty).auth(provider());
    for (routes, expected) in [(no_provider, "AUTH_SECRET"), (public, "public"), (empty, "any of")]
    {
        let faults = routes.faults();
        let [RouteFault::BadAccess { route, reason }] = &faults[..] else {
            panic!("{faults:?}");
        };
        assert_eq!(route, "GET /b -> who.enter");
        assert!(reason.contains(expected), "{reason}");
        let started = App::new(settings(&[])).mount(domain().0).routes(routes).start().await;
        assert!(matches!(started, Err(AppError::Routes(_))), "{started:?}");
    }
}

#[test]
fn a_route_tells_who_may_use_it() {
    let all = Route::get::<Ask>("/a").permissions_all(["a"]).permissions_any(["b", "c"]);
    assert_eq!(all.requirement().permissions().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(!all.is_public() && Route::get::<Ask>("/a").public().is_public());
}

#[test]
fn the_description_says_what_is_private() {
    let table = Routes::new()
        .route(Route::get::<Ask>("/asked").permissions_all(["read"]))
        .route(Route::get::<Ask>("/asked/twice").permissions_all(["a"]).permissions_any(["b", "c"]))
        .route(Route::get::<Ask>("/open").operation_id("open").public());
    let described = table.clone().auth(provider()).openapi(&Info::new("Secret", "1.0.0"));
    assert_eq!(described["paths"]["/asked"]["get"]["security"], json!([{ "bearer": ["read"] }]));
    assert!(described["paths"]["/open"]["get"]["security"].is_null());
    let text = |path: &str| described["paths"][path]["get"]["description"].to_string();
    assert!(text("/asked").ends_with("Demands the permission `read`.\""), "{}", text("/asked"));
    assert!(text("/asked/twice").contains("Demands the permission `a` and (`b` or `c`)."));
    assert!(!text("/open").contains("Demands"));
    let bearer = &described["components"]["securitySchemes"]["bearer"];
    assert_eq!((&bearer["type"], &bearer["scheme"]), (&json!("http"), &json!("bearer")));
    assert!(bearer["description"].as_str().unwrap().contains("token"), "{bearer}");
    let open = table.openapi(&Info::new("Secret", "1.0.0"));
    assert!(open["components"]["securitySchemes"].is_null(), "nobody asks who a client is");
}
