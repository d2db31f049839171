//! What an event is made of: precedence, conversions, and which field is wrong.

use awc::http::Method;
use callboard::http::{Route, Routes};
use callboard::settings::ServerSettings;
use callboard::{Domain, Event, Replies, Runtime, millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Server, answer, events};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Colour {
    Red,
    Blue,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct OwnerId(u64);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Item {
    name: String,
    quantity: u32,
}

/// An event without any field.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Ping;
impl Event for Ping {
    const NAME: &'static str = "form.ping";
}
impl Replies for Ping {
    type Reply = Echoed;
}

/// An event with alternatives, which agree on `unit` and disagree on `size`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Draw {
    Circle { size: f64, unit: Option<i64> },
    Text { size: String, unit: Option<i64> },
}
impl Event for Draw {
    const NAME: &'static str = "form.draw";
}
impl Replies for Draw {
    type Reply = Echoed;
}

events! {
    "form.nest" => Nest { depth: i64, inner: Option<Box<Nest>> } -> Echoed;
    #[serde(default)]
    #[derive(Default)]
    "form.submit" => Submit {
        id: Option<i64>,
        name: Option<String>,
        ratio: Option<f64>,
        urgent: Option<bool>,
        tags: Vec<String>,
        sizes: Vec<u8>,
        colour: Option<Colour>,
        owner: Option<OwnerId>,
        items: Vec<Item>,
        #[serde(alias = "remark")]
        note: Option<String>,
    } -> Echoed;
    "form.strict" => Strict { id: i64, name: String } -> Echoed;
    #[serde(deny_unknown_fields)]
    "form.sealed" => Sealed { id: i64 } -> Echoed;
    "form.count" => Count { count: u64 } -> Echoed;
    "form.echoed" => Echoed { form: Value };
}

fn echo<E: Serialize>(event: &E) -> Echoed {
    let form = serde_json::to_value(event).unwrap();
    Echoed { form }
}

pub(super) async fn server() -> Server {
    server_with(&ServerSettings::default()).await
}

pub(super) async fn server_with(settings: &ServerSettings) -> Server {
    let domain = Domain::new("form")
        .handler(answer(|event: Submit| Ok(echo(&event))))
        .handler(answer(|event: Strict| Ok(echo(&event))))
        .handler(answer(|event: Sealed| Ok(echo(&event))))
        .handler(answer(|event: Count| Ok(echo(&event))))
        .handler(answer(|event: Draw| Ok(echo(&event))))
        .handler(answer(|event: Nest| Ok(echo(&event))))
        .handler(answer(|event: Ping| Ok(echo(&event))));
    let routes = Routes::new()
        .get::<Submit>("/forms")
        .get::<Submit>("/forms/{id}")
        .get::<Submit>("/names/{name}")
        .get::<Submit>("/tags/{tags}")
        .post::<Submit>("/forms")
        .put::<Submit>("/forms/{id}")
        .patch::<Submit>("/forms/{id}")
        .delete::<Submit>("/forms/{id}")
        .post::<Strict>("/strict")
        .get::<Count>("/counts")
        .get::<Draw>("/draw/{kind}")
        .get::<Nest>("/nests/{depth}")
        .get::<Sealed>("/sealed")
        .get::<Ping>("/ping")
        .route(Route::post::<Ping>("/ping").timeout(millis(200)));
    routes.check().unwrap();
    let runtime = routes.declare(Runtime::new().mount(domain));
    Server::start_with(runtime, &routes, settings).await
}

/// The fields that were given, as the handler saw them.
pub(super) async fn form(
    server: &Server,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Value {
    let request = server.request(method, path);
    let response = match body {
        Some(body) => request.send_json(&body).await,
        None => request.send().await,
    };
    let mut form = super::Answer::of(response.unwrap()).await.ok(200)["form"].take();
    let given = |value: &Value| !value.is_null() && value != &json!([]);
    form.as_object_mut().unwrap().retain(|_, value| given(value));
    form
}

#[actix_web::test]
async fn path_beats_body_beats_query() {
    let server = server().await;
    let body = json!({ "id": 2, "name": "body" });
    let path = "/forms/1?id=3&name=query&note=query";
    let form = form(&server, Method::PUT, path, Some(body)).await;
    assert_eq!(form, json!({ "id": 1, "name": "body", "note": "query" }));
}

#[actix_web::test]
async fn what_is_overruled_is_not_even_converted() {
    let server = server().await;
    let path = "/forms/1?id=x&ratio=x";
    let form = form(&server, Method::PATCH, path, Some(json!({ "ratio": 2.5 }))).await;
    assert_eq!(form, json!({ "id": 1, "ratio": 2.5 }));
}

#[actix_web::test]
async fn a_null_in_the_body_beats_the_query() {
    let server = server().await;
    let body = json!({ "name": null });
    let form = form(&server, Method::POST, "/forms?name=query", Some(body)).await;
    assert_eq!(form, json!({}));
}

#[actix_web::test]
async fn texts_become_what_the_schema_wants() {
    let server = server().await;
    for (query, expected) in [
        ("id=-9223372036854775808", json!({ "id": i64::MIN })),
        ("name=12", json!({ "name": "12" })),
        ("name=", json!({ "name": "" })),
        ("name", json!({ "name": "" })),
        ("ratio=1e-3", json!({ "ratio": 0.001 })),
        ("ratio=2", json!({ "ratio": 2.0 })),
        ("urgent=true", json!({ "urgent": true })),
        ("urgent=0", json!({ "urgent": false })),
        ("tags=a", json!({ "tags": ["a"] })),
        ("tags=a&tags=1", json!({ "tags": ["a", "1"] })),
        ("sizes=1&id=7&sizes=2", json!({ "id": 7, "sizes": [1, 2] })),
        ("colour=blue", json!({ "colour": "blue" })),
        ("owner=18446744073709551615", json!({ "owner": u64::MAX })),
        ("id=&urgent=&ratio=&owner=", json!({})),
        ("name=a+b%2Bc%20d", json!({ "name": "a b+c d" })),
        ("na%6De=caf%C3%A9", json!({ "name": "café" })),
        ("name=a=b", json!({ "name": "a=b" })),
        ("&&name=x&", json!({ "name": "x" })),
        ("remark=alias", json!({ "note": "alias" })),
        ("unknown=1&unknown=2&unknown=3", json!({})),
    ] {
        let path = format!("/forms?{query}");
        let form = form(&server, Method::GET, &path, None).await;
        assert_eq!(form, expected, "{query}");
    }
}

#[actix_web::test]
async fn alternatives_recursion_and_strict_events_have_fields_too() {
    let server = server().await;
    for (path, expected) in [
        ("/nests/3", json!({ "depth": 3 })),
        ("/sealed?&id=1&&", json!({ "id": 1 })),
        ("/draw/text?size=1&unit=2", json!({ "kind": "text", "size": "1", "unit": 2 })),
    ] {
        let form = form(&server, Method::GET, path, None).await;
        assert_eq!(form, expected, "{path}");
    }
    // As number and text are both possible, the text stays one.
    let wrong = server.get("/draw/circle?size=1").await.wrong_field();
    assert!(wrong.1.contains("expected f64"), "{wrong:?}");
}

#[actix_web::test]
async fn an_error_does_not_repeat_a_long_text() {
    let server = server().await;
    let long = "é".repeat(10_000);
    let body = json!({ "colour": long });
    let (field, message) = server.post("/forms", &body).await.wrong_field();
    assert_eq!(field, "colour");
    let is_short = message.len() < 210 && message.ends_with('…');
    assert!(is_short, "{message}");
}

#[actix_web::test]
async fn a_text_that_does_not_convert_names_its_field() {
    let server = server().await;
    for (path, field, message) in [
        ("/forms?id=seven", "id", "expected an integer"),
        ("/forms?id=7.0", "id", "expected an integer"),
        ("/forms?id=18446744073709551616", "id", "expected an integer"),
        ("/forms?ratio=much", "ratio", "expected a number"),
        ("/forms?ratio=NaN", "ratio", "expected a number"),
        ("/forms?urgent=yes", "urgent", "expected `true` or `false`"),
        ("/forms?sizes=1&sizes=x&sizes=y", "sizes", "expected an integer"),
        ("/forms?name=a&name=b", "name", "given twice"),
        ("/forms/seven", "id", "expected an integer"),
        ("/counts?count=", "count", "expected an integer"),
    ] {
        let wrong = server.get(path).await.wrong_field();
        assert_eq!(wrong, (field.to_owned(), message.to_owned()), "{path}");
    }
}

#[actix_web::test]
async fn all_texts_that_do_not_convert_are_named_at_once() {
    let server = server().await;
    let answer = server.get("/forms/x?ratio=x&urgent=x").await;
    let problem = answer.problem(422, "invalid");
    let errors = problem["errors"].as_array().unwrap();
    let fields: Vec<_> = errors.iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["ratio", "urgent", "id"]);
}

#[actix_web::test]
async fn values_out_of_their_type_name_their_field() {
    let server = server().await;
    for (path, field) in [
        ("/forms?sizes=1&sizes=256", "sizes[1]"),
        ("/forms?colour=green", "colour"),
        ("/forms?owner=-1", "owner"),
        ("/forms?id=9223372036854775808", "id"),
        ("/forms?items=x", "items[0]"),
        ("/counts", "count"),
        ("/sealed?id=1&more=2", "more"),
    ] {
        assert_eq!(server.get(path).await.wrong_field().0, field, "{path}");
    }
}

#[actix_web::test]
async fn wrong_and_missing_fields_of_a_body_are_named_by_their_path() {
    let server = server().await;
    for (path, body, field, message) in [
        ("/strict", json!({ "id": 1 }), "name", "missing field"),
        ("/strict", json!({}), "id", "missing field"),
        ("/strict", json!({ "id": "1", "name": "a" }), "id", "invalid type"),
        ("/forms", json!({ "tags": ["a", 1] }), "tags[1]", "invalid type"),
        (
            "/forms",
            json!({ "items": [{ "name": "a", "quantity": "two" }] }),
            "items[0].quantity",
            "invalid type",
        ),
        (
            "/forms",
            json!({ "items": [{ "name": "a", "quantity": 1 }, { "name": "b" }] }),
            "items[1].quantity",
            "missing field",
        ),
        ("/forms", json!([]), "", "expected an object"),
        ("/forms", json!("text"), "", "expected an object"),
        ("/forms", json!(null), "", "expected an object"),
    ] {
        let wrong = server.post(path, &body).await.wrong_field();
        assert_eq!(wrong.0, field, "{body}");
        assert!(wrong.1.starts_with(message), "{body}: {}", wrong.1);
    }
}

#[actix_web::test]
async fn of_a_field_that_a_body_has_twice_the_last_counts() {
    let server = server().await;
    for (path, tail) in [("/strict", ""), ("/strict?more=1", ""), ("/strict", ",\"more\":[{}]")] {
        let body = format!(" {{\"id\":1,\"name\":\"a\",\"id\":2{tail}}} ");
        let answer = server.post_text(path, "application/json", body).await;
        assert_eq!(answer.ok(200)["form"], json!({ "id": 2, "name": "a" }), "{path}");
    }
}

#[actix_web::test]
async fn a_list_is_no_event_though_its_items_would_fit() {
    let server = server().await;
    for path in ["/strict", "/strict?more=1"] {
        let wrong = server.post(path, &json!([1, "a"])).await.wrong_field();
        assert_eq!(wrong, (String::new(), "expected an object".to_owned()), "{path}");
    }
}

#[actix_web::test]
async fn an_event_without_fields_needs_no_object() {
    let server = server().await;
    for path in ["/ping", "/ping?any=thing"] {
        let echoed = server.get(path).await.ok(200);
        assert_eq!(echoed, json!({ "form": null }));
    }
    let echoed = server.post("/ping", &json!({})).await.ok(200);
    assert_eq!(echoed, json!({ "form": null }));
}

#[actix_web::test]
async fn a_uri_that_is_no_text_is_refused() {
    let server = server().await;
    for path in [
        "/forms/%zz",
        "/forms/1%",
        "/forms/%1",
        "/names/%ff",
        "/forms?name=%zz",
        "/forms?name=%c3",
        "/forms?%ff=1",
        "/forms?name=1%",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = server.raw(request).await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{path}: {response}");
        assert!(response.contains("bad_encoding"), "{path}: {response}");
    }
}

#[actix_web::test]
async fn parameters_of_a_path_are_decoded_once() {
    let server = server().await;
    for (path, name) in [
        ("/names/a%2Fb", "a/b"),
        ("/names/a%252Fb", "a%2Fb"),
        ("/names/a+b", "a+b"),
        ("/names/caf%C3%A9", "café"),
        ("/names/%7B%7D", "{}"),
    ] {
        let form = form(&server, Method::GET, path, None).await;
        assert_eq!(form, json!({ "name": name }), "{path}");
    }
    let form = form(&server, Method::GET, "/tags/one", None).await;
    assert_eq!(form, json!({ "tags": ["one"] }));
}
