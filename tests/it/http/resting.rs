//! Routes by convention: which method and path the name of an event asks for, and what is served
//! there.

use awc::http::Method;
use callboard::http::{Rest, RouteFault, Routes};
use callboard::{Domain, Event, EventHandler, Replies};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Server, answer, events};

events! {
    "user.create" => CreateUser { name: String } -> Answered;
    "users.list" => ListUsers { limit: Option<i64>, tag: Option<Vec<String>> } -> Answered;
    "user.get" => GetUser { user_id: i64 } -> Answered;
    "user.find" => FindUser { email: String } -> Answered;
    "user.update" => UpdateUser { user_id: i64, name: String } -> Answered;
    "user.delete" => DeleteUser { user_id: i64, reason: Option<String> } -> Answered;
    "user.bulk_delete" => DeleteUsers { ids: Vec<i64> } -> Answered;
    "user.activate" => ActivateUser { id: i64 } -> Answered;
    "user.answered" => Answered { answer: Value };
    "ox.list" => ListOxen {} -> Answered;
    "billing.invoice.search" => SearchInvoices {} -> Answered;
    "task.get" => GetTask { name: String } -> Answered;
}

/// Proves lines of a table, each for an event of one name with one field.
macro_rules! lines {
    ($($name:literal $field:ident => $line:literal;)*) => {$({
        #[derive(Clone, Serialize, Deserialize, JsonSchema)]
        struct Order { $field: i64 }
        impl Event for Order {
            const NAME: &'static str = $name;
        }
        impl Replies for Order {
            type Reply = Answered;
        }
        let route = Rest::new().route::<Order>();
        assert_eq!(route.to_string(), concat!($line, " -> ", $name));
        let faults = Routes::new().route(route).faults();
        assert!(faults.is_empty(), "{faults:?}");
    })*};
}

#[test]
fn each_action_has_its_method_and_path() {
    lines! {
        "user.create" x => "POST /users";
        "user.list" x => "GET /users";
        "user.get" user_id => "GET /users/{user_id}";
        "user.get" id => "GET /users/{id}";
        "user.update" user_id => "PUT /users/{user_id}";
        "user.patch" user_id => "PATCH /users/{user_id}";
        "user.delete" user_id => "DELETE /users/{user_id}";
        "user.search" x => "POST /users/search";
        "user.find" x => "GET /users/find";
        "user.query" x => "POST /users/query";
        "user.bulk_create" x => "POST /users/bulk";
        "user.bulk_update" x => "PUT /users/bulk";
        "user.bulk_delete" x => "DELETE /users/bulk";
        "user.import" x => "POST /users/import";
        "user.verify" x => "POST /users/verify";
        "user.login" x => "POST /users/login";
        "user.refresh_token" x => "POST /users/refresh-token";
        "user.change_password" x => "POST /users/change-password";
        "user.refresh" user_id => "POST /users/{user_id}/refresh";
        "user.move" user_id => "POST /users/{user_id}/move";
        "user.deactivate" id => "POST /users/{id}/deactivate";
        "user.test" id => "POST /users/{id}/test";
        "team.get_members" team_id => "GET /teams/{team_id}/get-members";
        "team.add_member" team_id => "POST /teams/{team_id}/add-member";
        "team.add_tags" team_id => "POST /teams/{team_id}/add-tags";
        "team.remove_member" team_id => "DELETE /teams/{team_id}/remove-member";
        "team.remove_tags" team_id => "DELETE /teams/{team_id}/remove-tags";
        "user.greet_warmly" x => "POST /users/greet-warmly";
        "billing.invoice.get" invoice_id => "GET /billing/invoices/{invoice_id}";
        "order_item.get" order_item_id => "GET /order-items/{order_item_id}";
    }
}

#[test]
fn resources_stand_in_the_plural_whichever_way_they_are_written() {
    lines! {
        "users.list" x => "GET /users";
        "users.get" user_id => "GET /users/{user_id}";
        "category.list" x => "GET /categories";
        "categories.get" category_id => "GET /categories/{category_id}";
        "key.list" x => "GET /keys";
        "box.list" x => "GET /boxes";
        "boxes.get" box_id => "GET /boxes/{box_id}";
        "address.list" x => "GET /addresses";
        "addresses.get" address_id => "GET /addresses/{address_id}";
        "status.list" x => "GET /statuses";
        "statuses.get" status_id => "GET /statuses/{status_id}";
        "branch.list" x => "GET /branches";
        "caches.get" cache_id => "GET /caches/{cache_id}";
        "houses.get" house_id => "GET /houses/{house_id}";
        "databases.get" database_id => "GET /databases/{database_id}";
        "leaf.list" x => "GET /leaves";
        "knives.get" knife_id => "GET /knives/{knife_id}";
        "proof.list" x => "GET /proofs";
        "person.list" x => "GET /people";
        "order_people.get" order_person_id => "GET /order-people/{order_person_id}";
        "news.list" x => "GET /news";
        "goods.get" goods_id => "GET /goods/{goods_id}";
        "movies.get" movie_id => "GET /movies/{movie_id}";
    }
}

#[test]
fn plurals_and_a_prefix_can_be_added() {
    let convention = Rest::new().prefix("/api/v1/").plural("ox", "oxen");
    let routes = Routes::new().convention(convention).rest::<ListOxen>().rest::<SearchInvoices>();
    let lines: Vec<_> = routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "GET /api/v1/oxen -> ox.list",
            "POST /api/v1/billing/invoices/search -> billing.invoice.search"
        ]
    );
}

#[test]
fn an_event_without_its_id_is_a_fault() {
    let faults = Routes::new().rest::<GetTask>().faults();
    let route = "GET /tasks/{task_id} -> task.get".to_owned();
    assert_eq!(faults, [RouteFault::UnknownParameter { route, parameter: "task_id".to_owned() }]);
}

fn echo<E: Replies<Reply = Answered>>() -> impl EventHandler<Input = E, Output = Answered> {
    answer(|event: E| Ok(Answered { answer: json!([E::NAME, event]) }))
}

#[actix_web::test]
async fn fields_come_from_where_the_method_has_them() {
    let domain = Domain::new("user")
        .handler(echo::<CreateUser>())
        .handler(echo::<ListUsers>())
        .handler(echo::<GetUser>())
        .handler(echo::<FindUser>())
        .handler(echo::<UpdateUser>())
        .handler(echo::<DeleteUser>())
        .handler(echo::<DeleteUsers>())
        .handler(echo::<ActivateUser>());
    let routes = Routes::new()
        .rest::<CreateUser>()
        .rest::<ListUsers>()
        .rest::<GetUser>()
        .rest::<FindUser>()
        .rest::<UpdateUser>()
        .rest::<DeleteUser>()
        .rest::<DeleteUsers>()
        .route(Rest::new().route::<ActivateUser>().status(202));
    let server = Server::start(domain, routes).await;
    let ada = json!({ "name": "Ada" });
    let none = Value::Null;
    for (method, path, body, status, expected) in [
        (Method::POST, "/users", &ada, 200, json!(["user.create", { "name": "Ada" }])),
        (
            Method::GET,
            "/users?limit=5&tag=a&tag=b",
            &none,
            200,
            json!(["users.list", { "limit": 5, "tag": ["a", "b"] }]),
        ),
        (Method::GET, "/users/7", &none, 200, json!(["user.get", { "user_id": 7 }])),
        (
            Method::GET,
            "/users/find?email=a@b",
            &none,
            200,
            json!(["user.find", { "email": "a@b" }]),
        ),
        (
            Method::PUT,
            "/users/7",
            &ada,
            200,
            json!(["user.update", { "user_id": 7, "name": "Ada" }]),
        ),
        (
            Method::DELETE,
            "/users/7?reason=spam",
            &none,
            200,
            json!(["user.delete", { "user_id": 7, "reason": "spam" }]),
        ),
        (
            Method::DELETE,
            "/users/bulk?ids=1&ids=2",
            &none,
            200,
            json!(["user.bulk_delete", { "ids": [1, 2] }]),
        ),
        (Method::POST, "/users/7/activate", &none, 202, json!(["user.activate", { "id": 7 }])),
    ] {
        let request = server.request(method, path);
        let sent = if body.is_null() { request.send() } else { request.send_json(body) };
        let answer = Answer::of(sent.await.unwrap()).await;
        assert_eq!((answer.status, &answer.json()["answer"]), (status, &expected), "{path}");
    }
}
