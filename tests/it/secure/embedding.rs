//! Routes, sessions and operations with a provider, in an actix-web server that is not ours.

use actix_web::http::Method;
use actix_web::{App, HttpResponse, HttpServer, web};
use callboard::Runtime;
use callboard::auth::Requirement;
use callboard::http::{Operations, Route, Routes};
use callboard::settings::WsSettings;
use callboard::ws::{Permit, Ws, WsError, WsFault};

use super::sessions::{Client, refused_handshake};
use super::{Ask, Enter, Noted, Response, domain, nobody, provider, request, routes, token, ws};

/// Serves what is installed, beside a route of its own.
macro_rules! serve {
    ($($installed:expr),*) => {{
        let server = HttpServer::new(move || {
            App::new()
                $(.configure($installed.clone()))*
                .route("/legacy", web::get().to(HttpResponse::Ok))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        (address, handle)
    }};
}

#[actix_web::test]
async fn routes_operations_and_sessions_are_private_in_a_foreign_server_too() {
    let (routes, ws) = (routes().auth(provider()), ws().auth(provider()));
    routes.check().unwrap();
    let builder = routes.declare(Runtime::new().mount(domain().0));
    let runtime = ws.declare(builder).unwrap().start().await.unwrap();
    let api = routes.install(runtime.bus());
    let sessions = ws.install("/ws", &runtime.bus(), &WsSettings::default());
    let watching = Requirement::new().permissions_all(["operations.read"]);
    let operations = Operations::new(runtime.bus()).private(provider(), watching).install();
    let (address, handle) = serve!(api, sessions, operations);
    let get = async |path: &str, token: Option<&str>| {
        Response::of(request(address, Method::GET, path, token).send().await.unwrap()).await
    };
    let (plain, operator) = (token(&[]), token(&["operations.read"]));
    get("/private", None).await.refused(401, "unauthorized");
    assert_eq!(get("/private", Some(&plain)).await.subject(), "ada");
    get("/any", Some(&plain)).await.refused(403, "forbidden");
    assert_eq!(get("/public", None).await.subject(), &nobody());
    get("/metrics", None).await.refused(401, "unauthorized");
    get("/metrics", Some(&plain)).await.refused(403, "forbidden");
    assert_eq!(get("/metrics", Some(&operator)).await.status, 200);
    assert_eq!(get("/health", None).await.status, 200);
    assert_eq!(get("/legacy", None).await.status, 200, "it is not ours");
    refused_handshake(address, &[]).await.refused(401, "unauthorized");
    let mut client = Client::connect(address, Some(&plain)).await;
    assert_eq!(client.ask("who.ask").await["payload"]["subject"], "ada");
    drop(handle.stop(false));
}

#[actix_web::test]
async fn a_faulty_door_is_a_closed_door() {
    let demanding = Route::get::<Enter>("/all").permissions_all(["a"]);
    let routes = Routes::new().get::<Ask>("/open").route(demanding);
    let listening = Permit::listen::<Noted>().permissions_all(["a"]);
    let sessions = Ws::new().permit(listening).permissions_any(["a", "b"]);
    let runtime = Runtime::new().mount(domain().0).start().await.unwrap();
    let api = routes.install(runtime.bus());
    let door = sessions.install("/ws", &runtime.bus(), &WsSettings::default());
    let (address, handle) = serve!(api, door);
    let get = request(address, Method::GET, "/all", Some(&token(&["a"]))).send().await.unwrap();
    Response::of(get).await.refused(500, "bad_route");
    refused_handshake(address, &[]).await.refused(500, "bad_route");
    let WsError { faults, .. } = sessions.check().unwrap_err();
    let [WsFault::BadAccess { .. }, WsFault::BadPermit { event: "who.noted", .. }] = faults[..]
    else {
        panic!("{faults:?}");
    };
    drop(handle.stop(false));
}

#[test]
fn tables_that_are_merged_keep_their_providers() {
    let demanding = || Route::get::<Enter>("/all").permissions_all(["a"]);
    let with = |routes: Routes| routes.auth(provider());
    for (routes, faults) in [
        (Routes::new().merge(Routes::new().route(demanding())), 1),
        (Routes::new().merge(with(Routes::new().route(demanding()))), 0),
        (with(Routes::new()).merge(Routes::new().route(demanding())), 0),
        (Routes::new().merge(with(Routes::new())).route(demanding()), 1),
    ] {
        assert_eq!(routes.faults().len(), faults, "{routes:?}");
    }
}
