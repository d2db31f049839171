//! Which route takes a request, what the others are told, and what is wrong with a table.

use awc::http::Method;
use callboard::http::{Route, RouteFault, Routes};
use callboard::settings::ServerSettings;
use callboard::{Domain, Event, Replies, Runtime, StartFault, secs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Server, answer, events};

events! {
    "user.get" => GetUser { id: String } -> UserFound;
    "user.rename" => RenameUser { id: String } -> UserFound;
    "user.search" => SearchUsers {} -> UserFound;
    "user.part" => GetPart { id: String, part: String } -> UserFound;
    "user.found" => UserFound { by: String };
    "user.absent" => Absent {} -> UserFound;
}

fn users() -> Domain {
    let found = |by: String| Ok(UserFound { by });
    Domain::new("user")
        .handler(answer(move |event: GetUser| found(format!("get {}", event.id))))
        .handler(answer(move |event: RenameUser| found(format!("rename {}", event.id))))
        .handler(answer(move |_: SearchUsers| found("search".to_owned())))
        .handler(answer(move |event: GetPart| found(format!("part {} {}", event.id, event.part))))
}

fn routes() -> Routes {
    Routes::new()
        .get::<GetUser>("/users/{id}")
        .put::<RenameUser>("/users/{id}")
        .get::<GetPart>("/users/{id}/{part}")
        .get::<SearchUsers>("/users/find")
        .get::<GetUser>("/users/{id}/self")
        .get::<GetUser>("/users/find/{id}/deep")
        .get::<SearchUsers>("/")
        .get::<SearchUsers>("/caf\u{e9}")
        .post::<SearchUsers>("/searches/")
}

#[actix_web::test]
async fn a_static_path_beats_a_parameter_whatever_their_order() {
    let server = Server::start(users(), routes()).await;
    for (path, by) in [
        ("/users/7", "get 7"),
        ("/users/find", "search"),
        ("/users/f%69nd", "search"),
        ("/users/finder", "get finder"),
        ("/users/7/self", "get 7"),
        ("/users/7/other", "part 7 other"),
        ("/users/find/self", "get find"),
        ("/users/find/x", "part find x"),
        ("/users/find/x/deep", "get x"),
        ("/", "search"),
        ("/caf%C3%A9", "search"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.ok(200), json!({ "by": by }), "{path}");
    }
}

#[actix_web::test]
async fn an_unknown_path_is_404() {
    let server = Server::start(users(), routes()).await;
    for path in [
        "/nowhere",
        "/users",
        "/users/",
        "/users/7/",
        "/users//self",
        "/users/7/self/more",
        "/users/find/x/y",
        "/searches",
        "//",
    ] {
        server.get(path).await.problem(404, "unknown_path");
    }
}

#[actix_web::test]
async fn another_method_is_405_and_options_says_which_there_are() {
    let server = Server::start(users(), routes()).await;
    for (path, allow) in [
        ("/users/7", "GET, HEAD, PUT, OPTIONS"),
        ("/users/find", "GET, HEAD, OPTIONS"),
        ("/searches/", "POST, OPTIONS"),
    ] {
        for method in [Method::DELETE, Method::from_bytes(b"BREW").unwrap()] {
            let answer = server.send(method, path).await;
            answer.problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), allow, "{path}");
        }
        let answer = server.send(Method::OPTIONS, path).await;
        assert_eq!((answer.status, answer.text()), (204, ""), "{path}");
        assert_eq!(answer.header("allow"), allow, "{path}");
        assert_eq!(answer.header("x-trace-id").len(), 32);
    }
    let answer = server.send(Method::HEAD, "/searches/").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST, OPTIONS"));
    let answer = server.get("/users/7").await;
    assert_eq!(answer.header("allow"), "");
}

/// Status line and headers, but for those that differ each time, and the body.
fn parts(response: &str) -> (Vec<String>, String) {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let differs = |line: &&str| {
        let (name, _) = line.split_once(':').unwrap_or_default();
        !["date", "x-trace-id", "x-correlation-id"].contains(&name)
    };
    let mut lines: Vec<_> = head.lines().filter(differs).map(str::to_owned).collect();
    lines.sort();
    (lines, body.to_owned())
}

#[actix_web::test]
async fn head_is_get_without_the_body() {
    let server = Server::start(users(), routes()).await;
    for path in ["/users/7", "/users/find?x=%zz", "/health", "/nowhere"] {
        let tail = format!(" {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let (get_head, get_body) = parts(&server.raw(format!("GET{tail}")).await);
        let (head_head, head_body) = parts(&server.raw(format!("HEAD{tail}")).await);
        assert_eq!(head_head, get_head, "{path}");
        assert!(!get_body.is_empty(), "{path}");
        assert_eq!(head_body, "", "{path}");
    }
}

/// An event that is no object.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Number(i64);
impl Event for Number {
    const NAME: &'static str = "user.number";
}
impl Replies for Number {
    type Reply = UserFound;
}

/// An event that takes fields of any name.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Anything {
    #[serde(flatten)]
    fields: std::collections::BTreeMap<String, String>,
}
impl Event for Anything {
    const NAME: &'static str = "user.anything";
}
impl Replies for Anything {
    type Reply = UserFound;
}

#[test]
fn all_faults_are_found_at_once() {
    let routes = Routes::new()
        .get::<GetUser>("/users/{id}")
        .get::<GetPart>("/users/{part}")
        .put::<GetPart>("/users/{part}")
        .get::<GetUser>("users")
        .get::<GetUser>("/a//b")
        .get::<GetUser>("/{id}/{id}")
        .get::<GetUser>("/x-{id}")
        .get::<GetUser>("/{id:[0-9]+}")
        .get::<GetUser>("/:id")
        .get::<GetUser>("/files/*")
        .get::<GetUser>("/names/{name}")
        .post::<Number>("/numbers")
        .get::<Anything>("/any/{thing}")
        .route(Route::get::<GetUser>("/status").status(302))
        .route(Route::get::<GetUser>("/error").error_status("gone", 200))
        .route(Route::get::<GetUser>("/never").timeout(secs(0)))
        .merge(Routes::new().get::<GetUser>("/users/{id}"));
    let faults = routes.faults();
    let error = routes.check().unwrap_err();
    assert_eq!(error.faults, faults);
    let expected = "\
14 faults in the routes:
  - `GET users -> user.get`: a path starts with `/`
  - `GET /a//b -> user.get`: it has two slashes in a row
  - `GET /{id}/{id} -> user.get`: it has one parameter twice
  - `GET /x-{id} -> user.get`: a parameter is a whole segment, like `/{id}`
  - `GET /{id:[0-9]+} -> user.get`: a parameter is named with letters, digits and `_`
  - `GET /:id -> user.get`: a parameter is written `{id}`, not `:id`
  - `GET /files/* -> user.get`: `*`, `?`, `#`, `%` and white space have no place in it
  - `GET /names/{name} -> user.get`: the event has no field `name`
  - `POST /numbers -> user.number`: the event is not a struct with named fields
  - `GET /status -> user.get`: 302 is not the status of a success, 200 to 299
  - `GET /error -> user.get`: 200, for `gone`, is not the status of an error, 400 to 599
  - `GET /never -> user.get`: the timeout is 0, or longer than a year
  - `GET /users/{id} -> user.get` and `GET /users/{part} -> user.part` take the same requests
  - `GET /users/{id} -> user.get` and `GET /users/{id} -> user.get` take the same requests";
    assert_eq!(error.to_string(), expected);
    assert!(
        matches!(&faults[7], RouteFault::UnknownParameter { parameter, .. } if parameter == "name")
    );
}

#[test]
fn a_table_lists_its_routes() {
    let routes = Routes::new().get::<GetUser>("/users/{id}").publish::<UserFound>("/found");
    assert!(routes.check().is_ok());
    let lines: Vec<_> = routes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["GET /users/{id} -> user.get", "POST /found -> user.found"]);
    let first = routes.iter().next().unwrap();
    assert_eq!((first.method(), first.path()), (&Method::GET, "/users/{id}"));
    assert_eq!(first.event(), "user.get");
}

#[actix_web::test]
async fn a_runtime_is_told_what_the_routes_need() {
    let routes = Routes::new().get::<Absent>("/absent").publish::<UserFound>("/found");
    let error = routes.declare(Runtime::new().mount(users())).start().await.unwrap_err();
    let no_responder = StartFault::NoResponder { event: "user.absent" };
    assert_eq!(error.faults, [no_responder]);
}

#[actix_web::test]
async fn a_faulty_route_answers_500_and_the_others_work() {
    let routes = Routes::new()
        .get::<GetUser>("/users/{id}")
        .put::<RenameUser>("/users/{id}")
        .put::<GetUser>("/users/{id}")
        .get::<SearchUsers>("/find/{name}")
        .get::<SearchUsers>("nowhere");
    let runtime = Runtime::new().mount(users());
    let server = Server::start_with(runtime, &routes, &ServerSettings::default()).await;
    assert_eq!(server.get("/users/7").await.ok(200), json!({ "by": "get 7" }));
    let put = server.send(Method::PUT, "/users/7").await;
    assert_eq!(put.problem(500, "bad_route").get("detail"), None);
    server.get("/find/x").await.problem(500, "bad_route");
    server.get("/nowhere").await.problem(404, "unknown_path");
}
