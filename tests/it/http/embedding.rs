//! Routes inside of an actix-web application that is not ours.

use actix_web::{App, HttpRequest, HttpResponse, Responder, web};
use awc::http::Method;
use callboard::http::{Problem, Routes, operations};
use callboard::{Domain, Runtime};
use serde_json::json;

use super::{answer, events, serve};

events! {
    "user.get" => GetUser { id: i64 } -> UserFound;
    "user.search" => SearchUsers {} -> UserFound;
    "user.found" => UserFound { by: String };
    "user.part" => GetPart { id: i64, part: String } -> UserFound;
    "item.get" => GetItem { id: i64 } -> ItemFound;
    "item.found" => ItemFound { id: i64 };
}

fn users() -> Domain {
    Domain::new("user")
        .handler(answer(|GetUser { id }| Ok(UserFound { by: format!("get {id}") })))
        .handler(answer(|GetPart { id, part }| Ok(UserFound { by: format!("{part} of {id}") })))
        .handler(answer(|_: SearchUsers| Ok(UserFound { by: "search".into() })))
}

fn items() -> Domain {
    Domain::new("item").handler(answer(|GetItem { id }| Ok(ItemFound { id })))
}

fn user_routes() -> Routes {
    Routes::new()
        .get::<GetUser>("/users/{id}")
        .get::<SearchUsers>("/users/find")
        .get::<GetPart>("/users/{id}/{part}")
}

async fn legacy() -> impl Responder {
    "legacy"
}

#[actix_web::test]
async fn foreign_services_stay_as_they_are() {
    let runtime = Runtime::new().mount(users()).mount(items()).start().await.unwrap();
    let users = user_routes().install(runtime.bus());
    let items = Routes::new().get::<GetItem>("/items/{id}").install(runtime.bus());
    let server = serve!(
        runtime,
        App::new()
            .route("/before", web::get().to(legacy))
            .configure(users.clone())
            .configure(items.clone())
            .route("/after", web::get().to(legacy))
            .route("/users/{id}/a/legacy", web::get().to(legacy))
            .default_service(web::to(HttpResponse::ImATeapot))
    );
    for path in ["/before", "/after", "/users/7/a/legacy"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.text()), (200, "legacy"), "{path}");
        assert_eq!(answer.header("x-trace-id"), "");
    }
    assert_eq!(server.get("/users/7").await.ok(200), json!({ "by": "get 7" }));
    assert_eq!(server.get("/items/8").await.ok(200), json!({ "id": 8 }));
    let answer = server.send(Method::DELETE, "/users/7").await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(server.get("/nowhere").await.status, 418, "its own default service");
}

#[actix_web::test]
async fn a_scope_is_a_place_for_routes_too() {
    let runtime = Runtime::new().mount(users()).start().await.unwrap();
    let api = user_routes().install(runtime.bus());
    let watch = operations(runtime.bus());
    let server = serve!(
        runtime,
        App::new().service(
            web::scope("/{tenant}/api")
                .configure(api.clone())
                .configure(watch.clone())
                .route("/legacy", web::get().to(legacy))
        )
    );
    assert_eq!(server.get("/acme/api/users/7").await.ok(200), json!({ "by": "get 7" }));
    assert_eq!(server.get("/acme/api/users/find").await.ok(200), json!({ "by": "search" }));
    assert_eq!(server.get("/acme/api/users/%37").await.ok(200), json!({ "by": "get 7" }));
    let part = server.get("/acme/api/users/7/name").await;
    assert_eq!(part.ok(200), json!({ "by": "name of 7" }));
    assert_eq!(server.get("/acme/api/users/x").await.wrong_field().0, "id");
    assert_eq!(server.get("/acme/api/health").await.ok(200)["status"], "healthy");
    assert_eq!(server.get("/acme/api/legacy").await.text(), "legacy");
    let answer = server.send(Method::PUT, "/acme/api/users/7").await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    for path in ["/users/7", "/acme/api/nowhere", "/acme/users/7"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn middleware_learns_the_pattern_of_a_route() {
    let runtime = Runtime::new().mount(users()).start().await.unwrap();
    let api = user_routes().install(runtime.bus());
    let server = serve!(
        runtime,
        App::new()
            .wrap_fn(|request, service| {
                use actix_web::dev::Service as _;
                let answered = service.call(request);
                async move {
                    let mut response = answered.await?;
                    let pattern = HttpRequest::match_pattern(response.request());
                    let value = pattern.unwrap_or_default().parse().unwrap();
                    let name = "x-pattern".parse().unwrap();
                    response.headers_mut().insert(name, value);
                    Ok(response)
                }
            })
            .configure(api.clone())
            .route("/legacy/{x}", web::get().to(legacy))
    );
    for (path, pattern) in
        [("/users/7", "/users/{id}"), ("/users/find", "/users/find"), ("/legacy/7", "/legacy/{x}")]
    {
        assert_eq!(server.get(path).await.header("x-pattern"), pattern, "{path}");
    }
}

#[actix_web::test]
async fn a_foreign_handler_can_answer_with_a_problem() {
    let runtime = Runtime::new().mount(users()).start().await.unwrap();
    let bus = runtime.bus();
    let server = serve!(runtime, {
        let bus = bus.clone();
        let find = move || {
            let bus = bus.clone();
            async move {
                let found = bus.request(SearchUsers {}).await?;
                bus.request(GetItem { id: 1 }).await?;
                Ok::<_, Problem>(HttpResponse::Ok().json(found))
            }
        };
        App::new().route("/find", web::get().to(find))
    });
    server.get("/find").await.problem(501, "no_handler");
}

#[actix_web::test]
async fn two_runtimes_serve_side_by_side() {
    let first = Runtime::new().mount(users()).start().await.unwrap();
    let second = Runtime::new().mount(items()).start().await.unwrap();
    let users = user_routes().install(first.bus());
    let items = Routes::new().get::<GetItem>("/items/{id}").install(second.bus());
    let server = serve!(first, App::new().configure(users.clone()).configure(items.clone()));
    assert_eq!(server.get("/users/7").await.ok(200), json!({ "by": "get 7" }));
    assert_eq!(server.get("/items/8").await.ok(200), json!({ "id": 8 }));
    server.runtime.stop().await;
    server.get("/users/7").await.problem(503, "shutdown");
    assert_eq!(server.get("/items/8").await.ok(200), json!({ "id": 8 }));
    second.stop().await;
}
