//! Who may watch an application that has a provider.

use actix_web::http::Method;
use callboard::auth::Requirement;
use callboard::{App, AppError};

use super::{Server, app, domain, provider, settings, token};

#[actix_web::test]
async fn with_a_provider_the_operations_are_private_but_for_health() {
    let server = Server(app().auth(provider()).start().await.unwrap());
    for path in ["/metrics", "/events", "/events?n=5"] {
        server.get(path, None).await.refused(401, "unauthorized");
        assert_eq!(server.get(path, Some(&token(&[]))).await.status, 200);
    }
    assert_eq!(server.get("/health", None).await.status, 200);
    let head = server.request(Method::HEAD, "/metrics", None).send().await.unwrap();
    assert_eq!(head.status().as_u16(), 401);
}

#[actix_web::test]
async fn the_operations_can_demand_permissions_or_be_public() {
    let demanded = Requirement::new().permissions_all(["operations.read"]);
    let app_demanding = app().auth(provider()).operations_require(demanded.clone());
    let server = Server(app_demanding.start().await.unwrap());
    server.get("/metrics", Some(&token(&["a"]))).await.refused(403, "forbidden");
    assert_eq!(server.get("/metrics", Some(&token(&["operations.read"]))).await.status, 200);

    let server = Server(app().auth(provider()).public_operations().start().await.unwrap());
    assert_eq!(server.get("/metrics", None).await.status, 200);
    server.get("/private", None).await.refused(401, "unauthorized");

    let nobody = App::new(settings(&[])).mount(domain().0).operations_require(demanded);
    let error = nobody.start().await.unwrap_err();
    assert!(matches!(error, AppError::Operations { .. }), "{error}");
    assert!(error.to_string().contains("AUTH_SECRET"), "{error}");
}
