//! The small examples as a new user would run them, and how a program says that it cannot start.

use std::net::TcpListener;

use serde_json::json;

use crate::program::{Program, command};

#[actix_web::test]
async fn hello_greets_and_drains_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let hello = Program::start("hello", folder.path(), &[]);
    let (status, body) = hello.get("/hello/Ada").await;
    assert_eq!((status, body), (200, json!({ "text": "Hello, Ada!" })));
    let (status, body) = hello.get("/nowhere").await;
    assert_eq!((status, body["code"].as_str()), (404, Some("unknown_path")), "{body}");
    let (status, health) = hello.get("/health").await;
    assert_eq!((status, health["status"].as_str()), (200, Some("healthy")));
    assert_eq!(hello.terminate().code(), Some(0));
}

#[actix_web::test]
async fn the_log_can_be_json_and_names_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let hello = Program::start("hello", folder.path(), &[]);
    hello.get("/hello/Ada").await;
    drop(hello);
    let vars = [("LOG_FORMAT", "json"), ("SERVER_PORT", "0")];
    let mut child = command("hello", folder.path(), &vars);
    child.stderr(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut first = String::new();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut log, &mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let line: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(line["message"], "handler hello.Greeter: hello.greet -> hello.greeted");
}

#[actix_web::test]
async fn event_routes_stand_beside_the_routes_of_an_existing_server() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let mut server =
        command("embed_actix_web", folder.path(), &[("PORT", &port.to_string())]).spawn().unwrap();
    let get = async |path: &str| loop {
        match awc::Client::new().get(format!("http://127.0.0.1:{port}{path}")).send().await {
            Ok(mut response) => {
                let body = response.body().await.unwrap();
                return (response.status().as_u16(), String::from_utf8(body.to_vec()).unwrap());
            }
            Err(error) => {
                assert!(server.try_wait().unwrap().is_none(), "it ended: {error}");
                actix_web::rt::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    };
    let mut get = get;
    let (status, body) = get("/legacy").await;
    assert_eq!((status, body.as_str()), (200, "Good day, old friend!"));
    let (status, body) = get("/greetings/Ada").await;
    assert_eq!((status, body.as_str()), (200, r#"{"text":"Good day, Ada!"}"#));
    assert_eq!(get("/greetings/nobody").await.0, 404);
    assert_eq!(get("/health").await.0, 200);
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn resilience_shows_breaker_fallback_rate_limit_and_replay() {
    let folder = tempfile::tempdir().unwrap();
    let output = command("resilience", folder.path(), &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for line in [
        "    EUR: the old rate, because breaker_open",
        "  rate 1.0842, fresh: true",
        "  audit: ada, rate.quote at rate.Quoter: rate_limited",
        "  handled 1, failed 0, left 0",
    ] {
        assert!(text.lines().any(|other| other == line), "`{line}` is missing in:\n{text}");
    }
}

#[test]
fn supervision_shows_who_is_rebuilt_and_who_goes_down() {
    let folder = tempfile::tempdir().unwrap();
    let output = command("supervision", folder.path(), &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let (_, after) = text.split_once("average behind it:\n").unwrap();
    let lines: Vec<_> = after.lines().take(4).map(str::trim).collect();
    let expected = [
        "calibrate stops after 1 readings",
        "average stops after 2 readings",
        "calibrate starts",
        "average starts",
    ];
    assert_eq!(lines, expected, "{text}");
    assert!(text.contains("down: sensor.collect, sensor.calibrate, sensor.average"), "{text}");
    let log = String::from_utf8(output.stderr).unwrap();
    let is_logged =
        |parts: [&str; 3]| log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(is_logged(["panicked", "supervision.rs", "colder than possible"]), "{log}");
    assert!(is_logged(["handler panicked", "sensor.calibrate", "trace_id"]), "{log}");
}

/// The exit code, and what the program said on standard error.
fn refused(vars: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = command("shop", folder.path(), vars).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn all_faulty_settings_are_named_at_once() {
    let vars = [("SERVER_PORT", "eighty"), ("BUS_QUEUE_MAKS", "7"), ("LOG_FORMAT", "xml")];
    let (code, text) = refused(&vars);
    assert_eq!(code, Some(1));
    for expected in ["SERVER_PORT", "eighty", "BUS_QUEUE_MAKS", "BUS_QUEUE_MAX", "LOG_FORMAT"] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
}

#[test]
fn a_bad_dsn_is_one_clear_line() {
    for dsn in ["sqlite://no/such/folder/shop.db", "postgres://u:secret@localhost/shop"] {
        let (code, text) = refused(&[("DB_DSN", dsn)]);
        assert_eq!(code, Some(1));
        assert_eq!(text.trim().lines().count(), 1, "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn a_busy_port_is_one_clear_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (code, text) = refused(&[("SERVER_PORT", &port), ("LOG_LEVEL", "off")]);
    assert_eq!(code, Some(1));
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    assert!(text.contains(&port) && text.contains("SERVER_PORT"), "{text}");
}
