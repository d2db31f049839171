//! The ready-made routes: health, metrics and recent events.

use awc::http::Method;
use callboard::http::Routes;
use callboard::{Domain, HandlerError, HandlerResult, Policy, Restart};
use serde_json::{Value, json};

use super::{Server, answer, by_policy, events, until};

events! {
    "shop.buy" => Buy { item: String } -> Bought;
    "shop.bought" => Bought { item: String };
    "shop.sell" => Sell {} -> Sold;
    "shop.sold" => Sold {};
}

fn no_seller() -> std::future::Ready<HandlerResult<Sold>> {
    panic!("no seller")
}

async fn server() -> Server {
    let policy = Policy::default().restart(Restart::Never);
    let domain = Domain::new("shop")
        .handler(answer(|Buy { item }| match item.as_str() {
            "moon" => Err(HandlerError::not_found("not for sale")),
            _ => Ok(Bought { item }),
        }))
        .handler(by_policy(policy, |_: Sell, _| no_seller()));
    let routes = Routes::new().get::<Buy>("/buy/{item}").post::<Sell>("/sell");
    Server::start(domain, routes).await
}

#[actix_web::test]
async fn health_is_200_while_everything_takes_events() {
    let server = server().await;
    for path in ["/health", "/health/ready", "/health/live"] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.ok(200)["status"], "healthy");
    }
}

#[actix_web::test]
async fn health_is_503_once_the_runtime_has_stopped() {
    let server = server().await;
    server.runtime.stop().await;
    for path in ["/health", "/health/ready"] {
        let health = server.get(path).await.ok(503);
        assert_eq!(health["status"], "unhealthy");
        let expected = json!({
            "name": "runtime", "status": "unhealthy", "code": "stopped", "duration_ms": 0
        });
        assert_eq!(health["checks"][0], expected);
    }
    assert_eq!(server.get("/health/live").await.ok(200)["status"], "healthy");
}

#[actix_web::test]
async fn metrics_are_those_of_the_bus() {
    let server = server().await;
    server.get("/buy/tea").await.ok(200);
    server.get("/buy/moon").await.problem(404, "not_found");
    let processed = |server: &Server| {
        let handlers = server.runtime.metrics().handlers;
        handlers.values().map(|handler| handler.processed).sum::<u64>()
    };
    until("both are counted", || processed(&server) == 2).await;
    let metrics = server.get("/metrics").await.ok(200);
    assert_eq!(metrics["requested"], 2);
    let handlers = metrics["handlers"].as_object().unwrap();
    let busy: Vec<_> = handlers.values().filter(|handler| handler["processed"] == 2).collect();
    assert_eq!(busy.len(), 1, "{metrics}");
    assert_eq!((&busy[0]["errors"], &busy[0]["status"]), (&json!(1), &json!("up")));
    assert_eq!(busy[0]["last_error"]["code"], "not_found");
    let expected = serde_json::to_value(server.runtime.metrics()).unwrap();
    assert_eq!(metrics, expected);
}

fn items(events: &Value) -> Vec<&str> {
    let events = events.as_array().unwrap().iter();
    events.map(|event| event["event_type"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn events_are_the_newest_that_match() {
    let server = server().await;
    let tea = server.get("/buy/tea").await;
    server.get("/buy/moon").await;
    let logged = || server.runtime.events(&callboard::EventQuery::default()).len();
    // Each `shop.buy`, and the `shop.bought` and `shop.buy.error` that nobody subscribes to.
    until("all deliveries are in the log", || logged() >= 3).await;

    let all = server.get("/events").await.ok(200);
    assert_eq!(items(&all).len(), logged());
    assert_eq!(server.get("/events?n=0").await.ok(200), json!([]));
    let newest = server.get("/events?n=1").await.ok(200);
    assert_eq!(newest[0], *all.as_array().unwrap().last().unwrap());
    assert_eq!(server.get("/events?n=100000000").await.ok(200), all);

    let bought = server.get("/events?type=shop.buy").await.ok(200);
    assert_eq!(items(&bought), ["shop.buy", "shop.buy"]);
    assert_eq!(server.get("/events?type=shop.nothing").await.ok(200), json!([]));
    let trace_id = tea.header("x-trace-id");
    let path = format!("/events?trace={trace_id}&type=shop.buy&n=5");
    let of_tea = server.get(&path).await.ok(200);
    assert_eq!((items(&of_tea), &of_tea[0]["trace_id"]), (vec!["shop.buy"], &json!(trace_id)));
    let newest_bought = server.get("/events?type=shop.buy&n=1").await.ok(200);
    assert_ne!(newest_bought[0]["trace_id"], trace_id, "the filter comes before the limit");
}

#[actix_web::test]
async fn a_bad_query_for_events_names_its_field() {
    let server = server().await;
    for (query, field) in [
        ("n=-1", "n"),
        ("n=many", "n"),
        ("n=99999999999999999999", "n"),
        ("n=1&n=2", "n"),
        ("trace=1", "trace"),
        ("trace=", "trace"),
        ("trace=00000000000000000000000000000000", "trace"),
    ] {
        let answer = server.get(&format!("/events?{query}")).await;
        assert_eq!(answer.wrong_field().0, field, "{query}");
    }
}

#[actix_web::test]
async fn they_are_only_for_looking() {
    let server = server().await;
    for path in ["/health", "/health/live", "/health/ready", "/metrics", "/events"] {
        let answer = server.send(Method::DELETE, path).await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
}
