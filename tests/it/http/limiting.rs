//! How often a client may ask: who counts as one client, what is counted, and what it is told.

use actix_web::App as WebApp;
use awc::http::Method;
use callboard::auth::{AuthError, Authenticating, Credentials, Provider};
use callboard::http::{Quota, Route, RouteFault, Routes, not_found, operations};
use callboard::settings::{ServerSettings, Settings};
use callboard::ws::Ws;
use callboard::{App, Domain, Identity, Running, Runtime, RuntimeBuilder};

use super::{Answer, PATIENCE, Server, answer, events, serve};

events! {
    "item.find" => Find { id: i64 } -> Found;
    "item.found" => Found { id: i64 };
    "item.order" => Order { id: i64 } -> Found;
}

fn domain() -> Domain {
    Domain::new("item")
        .handler(answer(|Find { id }| Ok(Found { id })))
        .handler(answer(|Order { id }| Ok(Found { id })))
}

fn runtime() -> RuntimeBuilder {
    Runtime::new().mount(domain())
}

/// Knows whoever says their name.
struct Names;

impl Provider for Names {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
        Box::pin(async move {
            match credentials.token().strip_prefix("i-am-") {
                Some(name) => Ok(Identity::new(name).into()),
                None => Err(AuthError::BadSignature),
            }
        })
    }
}

/// An application whose clients are told apart by what they write into a header.
struct Shop {
    running: Running,
    client: awc::Client,
}

fn settings(vars: &[(&str, &str)]) -> Settings {
    let fixed = [
        ("SERVER_PORT", "0"),
        ("LOG_LEVEL", "error"),
        ("SERVER_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("SERVER_RATE_PER", "3600"),
    ];
    Settings::from_vars(fixed.iter().chain(vars).copied()).unwrap()
}

impl Shop {
    async fn start(limit: &str, routes: Routes, set: impl FnOnce(App) -> App) -> Self {
        let vars = [("SERVER_RATE_LIMIT", limit), ("CORS_ORIGINS", "https://shop.example")];
        let app = App::new(settings(&vars)).mount(domain()).routes(routes);
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        Self { running: set(app).start().await.unwrap(), client }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let url = format!("http://{}{path}", self.running.addresses()[0]);
        let request = self.client.request(method, url);
        let with =
            |request: awc::ClientRequest, header: &(&str, &str)| request.insert_header(*header);
        Answer::of(headers.iter().fold(request, with).send().await.unwrap()).await
    }

    async fn get_from(&self, address: &str, path: &str) -> Answer {
        self.ask(Method::GET, path, &[("x-forwarded-for", address)]).await
    }

    async fn get_as(&self, address: &str, token: &str, path: &str) -> Answer {
        let token = format!("Bearer {token}");
        let headers = [("x-forwarded-for", address), ("authorization", &token)];
        self.ask(Method::GET, path, &headers).await
    }
}

fn routes() -> Routes {
    Routes::new().get::<Find>("/items/{id}").post::<Order>("/orders")
}

#[actix_web::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_again() {
    let shop = Shop::start("2", routes(), |app| app).await;
    let first = shop.get_from("192.0.2.1", "/items/1").await;
    first.ok(200);
    assert_eq!(first.header("ratelimit"), "\"server\";r=1;t=1800");
    assert_eq!(first.header("ratelimit-policy"), "\"server\";q=2;w=3600");
    shop.get_from("192.0.2.1", "/items/2").await.ok(200);
    let refused = shop.get_from("192.0.2.1", "/items/3").await;
    refused.problem(429, "quota_exceeded");
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1_700..=1_800).contains(&after), "{after}");
    assert_eq!(refused.header("ratelimit"), format!("\"server\";r=0;t={after}"));
    assert_eq!(refused.header("ratelimit-policy"), "\"server\";q=2;w=3600");
    shop.get_from("192.0.2.2", "/items/3").await.ok(200);
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn without_a_limit_nothing_is_said() {
    let server = Server::start(domain(), routes()).await;
    let answer = server.get("/items/1").await;
    answer.ok(200);
    assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), ("", ""));
}

#[actix_web::test]
async fn whatever_is_asked_for_counts_but_health() {
    let shop = Shop::start("1", routes(), |app| app.ws("/ws", Ws::new().request::<Find>())).await;
    for (n, path) in
        ["/items/1", "/items/x", "/nowhere", "/metrics", "/events", "/openapi.json", "/orders"]
            .into_iter()
            .enumerate()
    {
        let address = format!("192.0.2.{n}");
        let first = shop.get_from(&address, path).await;
        assert_ne!(first.status, 429, "{path}");
        shop.get_from(&address, path).await.problem(429, "quota_exceeded");
        for path in ["/health", "/health/live", "/health/ready"] {
            let health = shop.get_from(&address, path).await;
            assert_eq!((health.status, health.header("ratelimit")), (200, ""), "{path}");
        }
    }
    let url = format!("http://{}/ws", shop.running.addresses()[0]);
    let handshake =
        || awc::Client::new().ws(&url).header("x-forwarded-for", "192.0.2.99").connect();
    let session = handshake().await.unwrap();
    let refused = format!("{:?}", handshake().await.err());
    assert!(refused.contains("429"), "{refused}");
    drop(session);
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn pages_of_other_origins_may_read_why_they_have_to_wait() {
    let shop = Shop::start("1", routes(), |app| app).await;
    for expected in [200, 429] {
        let origin = ("origin", "https://shop.example");
        let answer = shop.ask(Method::GET, "/items/1", &[origin]).await;
        assert_eq!(answer.status, expected);
        assert_eq!(answer.header("access-control-allow-origin"), origin.1);
        let exposed = answer.header("access-control-expose-headers");
        for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
            assert!(exposed.split(',').any(|known| known.trim() == name), "{name} in {exposed}");
        }
        let preflight = [origin, ("access-control-request-method", "POST")];
        let preflight = shop.ask(Method::OPTIONS, "/orders", &preflight).await;
        assert_eq!(preflight.status, 200);
    }
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn an_identity_is_one_client_wherever_it_is() {
    let shop = Shop::start("2", routes(), |app| app.auth(Names)).await;
    shop.get_as("192.0.2.1", "i-am-ada", "/items/1").await.ok(200);
    shop.get_as("192.0.2.2", "i-am-ada", "/items/1").await.ok(200);
    shop.get_as("192.0.2.3", "i-am-ada", "/items/1").await.problem(429, "quota_exceeded");
    shop.get_as("192.0.2.1", "i-am-bob", "/items/1").await.ok(200);
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn who_cannot_say_who_it_is_counts_by_its_address() {
    let open = Routes::new().route(Route::get::<Find>("/open/{id}").public());
    let shop = Shop::start("2", routes().merge(open), |app| app.auth(Names)).await;
    let guess = |n| format!("guess-{n}");
    for n in 0..2 {
        shop.get_as("192.0.2.1", &guess(n), "/items/1").await.problem(401, "invalid_token");
        // What is open counts apart, so that nobody can be kept from signing in by reading.
        shop.get_from("192.0.2.7", "/open/1").await.ok(200);
    }
    // The right one is not heard either, or guessing would go on.
    shop.get_as("192.0.2.1", "i-am-ada", "/items/1").await.problem(429, "quota_exceeded");
    shop.get_from("192.0.2.1", "/items/1").await.problem(429, "quota_exceeded");
    shop.get_as("192.0.2.2", "i-am-ada", "/items/1").await.ok(200);
    shop.get_from("192.0.2.7", "/open/1").await.problem(429, "quota_exceeded");
    shop.get_as("192.0.2.7", "i-am-ada", "/items/1").await.ok(200);
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_whole_network_of_ipv6_is_one_client() {
    let shop = Shop::start("2", routes(), |app| app).await;
    shop.get_from("2001:db8:1:2::1", "/items/1").await.ok(200);
    shop.get_from("2001:db8:1:2:ffff::2", "/items/1").await.ok(200);
    shop.get_from("2001:db8:1:2::3", "/items/1").await.problem(429, "quota_exceeded");
    shop.get_from("2001:db8:1:3::1", "/items/1").await.ok(200);
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn a_client_does_not_choose_its_address() {
    let vars = [("SERVER_RATE_LIMIT", "1"), ("SERVER_TRUSTED_PROXIES", "10.0.0.0/8")];
    let app = App::new(settings(&vars)).mount(domain()).routes(routes());
    let client = awc::Client::builder().timeout(PATIENCE).finish();
    let shop = Shop { running: app.start().await.unwrap(), client };
    shop.get_from("192.0.2.1", "/items/1").await.ok(200);
    shop.get_from("192.0.2.2", "/items/1").await.problem(429, "quota_exceeded");
    shop.running.stop().await.unwrap();
}

#[actix_web::test]
async fn where_too_many_clients_are_counted_newcomers_wait_and_the_others_do_not() {
    let mut settings = settings(&[("SERVER_RATE_LIMIT", "3")]).server;
    settings.rate.clients_max = 2;
    let server = Server::start_with(runtime(), &routes(), &settings).await;
    let get = async |address: &str| {
        let request = server.request(Method::GET, "/items/1");
        let request = request.insert_header(("x-forwarded-for", address));
        Answer::of(request.send().await.unwrap()).await
    };
    get("192.0.2.1").await.ok(200);
    get("192.0.2.2").await.ok(200);
    for n in 3..200 {
        let refused = get(&format!("192.0.2.{n}")).await;
        refused.problem(503, "clients_max");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    get("192.0.2.1").await.ok(200);
}

#[actix_web::test]
async fn a_table_and_a_route_have_limits_of_their_own_in_a_foreign_server_too() {
    let orders = Route::post::<Order>("/orders").rate_limit(Quota::per_hour(1));
    let table = Routes::new().get::<Find>("/items/{id}").route(orders);
    let table = table.rate_limit(Quota::new(1, callboard::secs(1800)).burst(3));
    let free = Routes::new().get::<Find>("/free/{id}");
    let routes = Routes::new().merge(table).merge(free);
    let server = Server::start(domain(), routes).await;
    let body = serde_json::json!({ "id": 1 });
    let order = || server.post("/orders", &body);
    let first = order().await;
    first.ok(200);
    assert_eq!(first.header("ratelimit"), "\"routes\";r=2;t=1800, \"route\";r=0;t=3600");
    assert_eq!(first.header("ratelimit-policy"), "\"routes\";q=3;w=5400, \"route\";q=1;w=3600");
    // What the route refuses does not count for the table.
    for _ in 0..5 {
        order().await.problem(429, "quota_exceeded");
    }
    server.get("/items/1").await.ok(200);
    server.get("/items/1").await.ok(200);
    server.get("/items/1").await.problem(429, "quota_exceeded");
    server.get("/free/1").await.ok(200);
}

#[actix_web::test]
async fn the_settings_hold_in_a_foreign_server_too() {
    let runtime = runtime().start().await.unwrap();
    let settings = settings(&[("SERVER_RATE_LIMIT", "2")]).server;
    let api = routes().install_with(runtime.bus(), &settings);
    let (watch, bus) = (operations(runtime.bus()), runtime.bus());
    let server = serve!(
        runtime,
        WebApp::new()
            .configure(watch.clone())
            .configure(api.clone())
            .default_service(not_found(bus.clone()))
    );
    server.get("/items/1").await.ok(200);
    server.get("/nowhere").await.problem(404, "unknown_path");
    server.get("/metrics").await.problem(429, "quota_exceeded");
    assert_eq!(server.get("/health").await.status, 200);
}

#[actix_web::test]
async fn a_refused_body_is_not_read() {
    let settings: ServerSettings = settings(&[("SERVER_RATE_LIMIT", "1")]).server;
    let server = Server::start_with(runtime(), &routes(), &settings).await;
    server.get("/items/1").await.ok(200);
    // The body never comes; the answer does.
    let head = "POST /orders HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        content-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
    let answer = server.raw(head).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
}

#[test]
fn a_limit_that_cannot_work_is_a_fault() {
    for quota in [
        Quota::per_second(0),
        Quota::per_second(1).burst(0),
        Quota::new(1, std::time::Duration::ZERO),
        Quota::per_second(1).clients_max(0),
    ] {
        let route = Route::get::<Find>("/items/{id}").rate_limit(quota.clone());
        let faults = Routes::new().route(route).faults();
        assert!(matches!(&faults[..], [RouteFault::BadQuota { .. }]), "{faults:?}");
        let faults = routes().rate_limit(quota).faults();
        assert!(matches!(&faults[..], [RouteFault::BadQuota { .. }, ..]), "{faults:?}");
    }
}
