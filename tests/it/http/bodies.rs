//! Bodies: what is read of them, by which type, up to which limit, and what is no JSON.

use awc::http::Method;
use callboard::settings::ServerSettings;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::binding::{form, server, server_with};

fn small_bodies() -> ServerSettings {
    let mut settings = ServerSettings::default();
    settings.body_max = 64;
    settings
}

#[actix_web::test]
async fn malformed_json_is_no_event() {
    let server = server().await;
    let deep = "[".repeat(100_000);
    let deep_object = format!("{}1", "{\"items\":".repeat(100_000));
    for body in
        ["{", "{\"id\": 1,}", "{'id': 1}", "id=1", " ", "{} {}", "\u{feff}{}", &deep, &deep_object]
    {
        let answer = server.post_text("/forms", "application/json", body.to_owned()).await;
        let problem = answer.problem(400, "malformed_json");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("line"), "{detail}");
    }
    let not_utf8 = &b"{\"name\": \"\xff\"}"[..];
    let answer = server.post_text("/forms", "application/json", not_utf8).await;
    answer.problem(400, "malformed_json");
}

#[actix_web::test]
async fn an_empty_body_has_no_fields() {
    let server = server().await;
    assert_eq!(form(&server, Method::POST, "/forms?id=1", None).await, json!({ "id": 1 }));
    let wrong = server.send(Method::POST, "/strict").await.wrong_field();
    assert_eq!(wrong.0, "id");
}

#[actix_web::test]
async fn get_and_delete_read_no_body() {
    let server = server().await;
    for method in [Method::GET, Method::DELETE] {
        let request = server.request(method.clone(), "/forms/1?name=query");
        let response = request.content_type("text/plain").send_body("{").await;
        let answer = super::Answer::of(response.unwrap()).await;
        let form = &answer.ok(200)["form"];
        assert_eq!(form["name"], "query", "{method}");
    }
}

#[actix_web::test]
async fn a_body_is_json_by_its_content_type() {
    let server = server().await;
    for content_type in [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/vnd.form.v1+json",
        "application/merge-patch+json;v=1",
    ] {
        let answer = server.post_text("/forms", content_type, "{\"id\": 1}").await;
        assert_eq!(answer.ok(200)["form"]["id"], 1, "{content_type}");
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/+json",
        "application/problem-json",
        "text/json",
        "json",
        "",
    ] {
        let answer = server.post_text("/forms", content_type, "{\"id\": 1}").await;
        answer.problem(415, "unsupported_media_type");
    }
}

#[actix_web::test]
async fn a_body_without_content_type_or_in_another_coding_is_refused() {
    let server = server().await;
    let head = "POST /forms HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n";
    let untyped = server.raw(format!("{head}\r\n{{}}")).await;
    assert!(untyped.starts_with("HTTP/1.1 415 "), "{untyped}");
    let json = "Content-Type: application/json\r\n";
    let packed = server.raw(format!("{head}{json}Content-Encoding: br\r\n\r\n{{}}"));
    let packed = packed.await;
    assert!(packed.starts_with("HTTP/1.1 415 "), "{packed}");
    let plain = server.raw(format!("{head}{json}Content-Encoding: identity\r\n\r\n{{}}"));
    let plain = plain.await;
    assert!(plain.starts_with("HTTP/1.1 200 "), "{plain}");
}

#[actix_web::test]
async fn an_empty_body_needs_no_content_type() {
    let server = server().await;
    let answer = server.post_text("/forms", "text/plain", "").await;
    answer.ok(200);
}

#[actix_web::test]
async fn a_body_may_fill_the_limit_and_not_more() {
    let server = server_with(&small_bodies()).await;
    let body = |length: usize| format!("{{\"name\":\"{}\"}}", "x".repeat(length - 11));
    assert_eq!(body(64).len(), 64);
    let exact = server.post_text("/forms", "application/json", body(64)).await;
    exact.ok(200);
    let over = server.post_text("/forms", "application/json", body(65)).await;
    let problem = over.problem(413, "body_too_large");
    assert_eq!(problem["detail"], "a body has at most 64 bytes");
}

#[actix_web::test]
async fn a_body_that_announces_too_much_is_not_read() {
    let server = server_with(&small_bodies()).await;
    // Nothing of the body is ever sent: who reads it waits until the route's timeout.
    let response = server
        .raw(
            "POST /forms HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: 65\r\n\r\n",
        )
        .await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
}

#[actix_web::test]
async fn a_chunked_body_is_counted_while_it_is_read() {
    let server = server_with(&small_bodies()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /forms HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The last chunk never comes, so the answer is given in the middle of the body.
    for _ in 0..5 {
        let chunk = format!("10\r\n{}\r\n", " ".repeat(16));
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut status = [0; 12];
    let read = tokio::time::timeout(super::PATIENCE, stream.read_exact(&mut status));
    read.await.expect("the answer does not wait for the rest").unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}

#[actix_web::test]
async fn a_chunked_body_within_the_limit_is_read() {
    let server = server_with(&small_bodies()).await;
    let response = server
        .raw(
            "POST /forms HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\n{\"id\r\n5\r\n\": 1}\r\n0\r\n\r\n",
        )
        .await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("\"id\":1"), "{response}");
}

#[actix_web::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = server().await;
    let response = server
        .raw(
            "POST /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        )
        .await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert!(response.contains("body_timeout"), "{response}");
}

#[actix_web::test]
async fn a_body_that_is_framed_wrongly_is_refused() {
    let server = server().await;
    let response = server
        .raw(
            "POST /forms HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        )
        .await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
}
