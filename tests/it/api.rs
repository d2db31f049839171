//! The public API as an application types it: what stands here compiles, or the design is broken.

use actix::{Actor, Context, Handler};
use callboard::prelude::*;
use callboard::testing::TestBus;
use callboard::{Bus, Delivery, PublishError, RequestError, Restart, Runtime, Subscriber, secs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct CreateUser {
    name: String,
}
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct UserCreated {
    id: i64,
    name: String,
}
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct UserRenamed {
    id: i64,
}
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct HealthCheck {}

impl Event for CreateUser {
    const NAME: &'static str = "user.create";
}
impl Event for UserCreated {
    const NAME: &'static str = "user.created";
}
impl Event for UserRenamed {
    const NAME: &'static str = "user.renamed";
}
impl Event for HealthCheck {
    const NAME: &'static str = "health.check";
}
impl Replies for CreateUser {
    type Reply = UserCreated;
}

/// What a user's own database layer looks like to a handler.
#[derive(Clone, Default)]
struct Users;

impl Users {
    async fn insert_user(&self, name: &str) -> std::io::Result<i64> {
        std::future::ready(i64::try_from(name.len()).map_err(std::io::Error::other)).await
    }
}

#[derive(Clone)]
struct Register {
    db: Users,
}

impl EventHandler for Register {
    type Input = CreateUser;
    type Output = UserCreated;

    async fn handle(&self, event: &CreateUser, ctx: &EventContext) -> HandlerResult<UserCreated> {
        if event.name.is_empty() {
            return Err(HandlerError::reject("name is empty"));
        }
        let id = self.db.insert_user(&event.name).await?;
        ctx.publish(UserRenamed { id });
        Ok(UserCreated { id, name: event.name.clone() })
    }

    fn policy(&self) -> Policy {
        Policy::default().timeout(secs(2)).attempts_max(3)
    }
}

#[derive(Default)]
struct Census {
    seen: u64,
}

impl Actor for Census {
    type Context = Context<Self>;
}

impl Handler<Delivery<UserCreated>> for Census {
    type Result = HandlerResult<()>;

    fn handle(&mut self, _: Delivery<UserCreated>, _: &mut Context<Self>) -> Self::Result {
        self.seen += 1;
        Ok(())
    }
}

fn domain(db: &Users) -> Domain {
    Domain::new("user").handler(Register { db: db.clone() }).actor(
        Subscriber::new(Census::default).on::<UserCreated, ()>().policy(
            Policy::default().restart(Restart::Always).restarts_max(5).restarts_within(secs(60)),
        ),
    )
}

fn routes() -> Routes {
    Routes::new().post::<CreateUser>("/users")
}

#[actix_web::test]
async fn inside_an_existing_server() {
    let runtime = Runtime::new().mount(domain(&Users)).start().await.unwrap();
    let api = routes().install(runtime.bus());
    let app = actix_web::App::new()
        .route("/legacy", actix_web::web::get().to(async || "as it was"))
        .configure(api.clone());
    let app = actix_web::test::init_service(app).await;
    let request = actix_web::test::TestRequest::post().uri("/users");
    let request = request.set_json(serde_json::json!({ "name": "Ada" })).to_request();
    let response = actix_web::test::call_service(&app, request).await;
    assert_eq!(response.status(), 201);
    runtime.stop().await;
}

async fn anywhere(bus: &Bus) -> Result<i64, RequestError> {
    let name = "Ada".to_owned();
    let user = bus.request(CreateUser { name: name.clone() }).timeout(secs(5)).await?;
    let renamed = bus.request(CreateUser { name }).until::<UserRenamed>().await?;
    assert_eq!(renamed.id, user.id);
    Ok(user.id)
}

async fn published(bus: &Bus) -> Result<(), PublishError> {
    bus.publish(UserCreated { id: 1, name: "Ada".to_owned() }).await
}

#[actix_web::test]
async fn on_the_bus() {
    let bus = TestBus::start([domain(&Users)]).await.unwrap();
    assert_eq!(anywhere(&bus).await.unwrap(), 3);
    published(&bus).await.unwrap();
    let checks = bus.schedule(HealthCheck {}).every(secs(60)).unwrap();
    tokio::time::sleep(secs(61)).await;
    checks.cancel();
    assert_eq!(bus.published::<HealthCheck>().count(), 1);
}

#[actix_web::test]
async fn in_tests() {
    let event = CreateUser { name: "Grace".to_owned() };
    let ctx = EventContext::test();
    let created = Register { db: Users }.handle(&event, &ctx).await.unwrap();
    assert_eq!((created.id, ctx.published::<UserRenamed>()[0].id), (5, 5));

    let bus = TestBus::start([domain(&Users)]).await.unwrap();
    let tracked = bus.publish_tracked(event).await.unwrap();
    assert_eq!(tracked.published::<UserCreated>().one().name, "Grace");
}
