//! A shop: users, orders over a chain of domains, chat, and quotes that take long to compute.
#![allow(unreachable_pub)] // a domain reads as it would in a library of its own

mod schema;
mod invalid;
mod users;
mod orders;
mod stock;
mod payments;
mod chat;
mod quotes;

use callboard::db::Db;
use callboard::http::{DbIdempotency, Info};
use callboard::settings::Settings;
use callboard::sse::Sse;
use callboard::ws::Ws;
use callboard::{App, AppError, secs, telemetry};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use chat::{ChatSend, ChatSent};
use orders::{OrderConfirmed, OrderPlaced, OrderSweep};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("examples/shop/migrations");

#[actix_web::main]
async fn main() -> Result<(), AppError> {
    let settings = Settings::load_over([("DB_DSN", "sqlite://shop.db")])?;
    // Before the application runs, so that the recovery is in the log.
    telemetry::init(&settings.log)?;
    let db = Db::connect(&settings.db).await?;
    db.migrate(MIGRATIONS).await?;
    orders::recover(&db).await?;
    let outcomes = DbIdempotency::open(&db, &settings.server.idempotency).await?;
    App::new(settings)
        .info(Info::new("Shop", env!("CARGO_PKG_VERSION")).description("Users, orders and quotes."))
        .mount(users::domain(&db))
        .mount(orders::domain(&db))
        .mount(stock::domain(&db))
        .mount(payments::domain(&db))
        .mount(chat::domain())
        .mount(quotes::domain())
        .routes(users::routes())
        .routes(orders::routes())
        .routes(stock::routes())
        .routes(quotes::routes())
        .idempotency_store(outcomes)
        .ws(
            "/ws",
            Ws::new()
                .publish::<ChatSend>()
                .listen_in_room::<ChatSent>(|sent| &sent.room)
                .listen::<OrderConfirmed>(),
        )
        .sse("/events/stream", Sse::new().listen::<OrderPlaced>().listen::<OrderConfirmed>())
        .every(secs(5), OrderSweep {})
        .run()
        .await
}
