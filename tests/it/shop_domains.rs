//! The domains of the shop example on a real bus and a real database, without HTTP.

mod broken_chains;
mod chat_and_quotes;
mod ordering;
mod users;

/// The example, but for its main function.
#[allow(dead_code, unreachable_pub)] // routes are for the program
#[path = "../../examples/shop"]
mod shop {
    pub(super) mod chat;
    pub(super) mod invalid;
    pub(super) mod orders;
    pub(super) mod payments;
    pub(super) mod quotes;
    pub(super) mod schema;
    pub(super) mod stock;
    pub(super) mod users;
}

use callboard::{
    Domain, HandlerError, RequestError, Runtime, RuntimeBuilder, Unheard,
    db::{Db, DbError, SqliteConn},
    settings::Settings,
    testing::TestBus,
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tempfile::TempDir;

use self::shop::{
    chat::{self, ChatSent},
    orders::{
        self, FindOrder, Item, Order, OrderConfirmed, OrderStatus, OrderSweep, PlaceOrder, ledger,
    },
    payments,
    quotes::{self, RequestQuote},
    schema,
    stock::{self, FindStock},
    users::{self as customers, CreateUser, DeleteUser, ListUsers, UpdateUser},
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("examples/shop/migrations");

/// What a new shop has, by sku.
const SEED: [(&str, i64); 3] = [("BOOK", 100_000), ("DECLINE", 100), ("MUG", 10)];

struct Shop {
    bus: TestBus,
    db: Db,
    /// The customer of all orders.
    user_id: i64,
}

impl Shop {
    async fn open() -> Self {
        let db = connect("sqlite::memory:").await;
        Self::over(&db, payments::domain(&db)).await
    }

    /// A shop over a database in a file, where reads run beside the writer.
    async fn open_file() -> (Self, TempDir) {
        let folder = TempDir::new().unwrap();
        let db = connect(&dsn_in(&folder)).await;
        (Self::over(&db, payments::domain(&db)).await, folder)
    }

    /// A shop with a payment domain of the test.
    async fn over(db: &Db, payment: Domain) -> Self {
        // A start with `Refuse` proves that everything which is published has somebody to hear it.
        let outside = Runtime::new()
            .unheard(Unheard::Refuse)
            .requests::<PlaceOrder>()
            .requests::<FindOrder>()
            .requests::<FindStock>()
            .requests::<CreateUser>()
            .requests::<ListUsers>()
            .requests::<UpdateUser>()
            .requests::<DeleteUser>()
            .requests::<RequestQuote>()
            .publishes::<OrderSweep>()
            .listens::<ChatSent>();
        let domains = [
            customers::domain(db),
            orders::domain(db),
            stock::domain(db),
            payment,
            chat::domain(),
            quotes::domain(),
        ];
        let runtime = domains.into_iter().fold(outside, RuntimeBuilder::mount);
        let bus = TestBus::start_with(runtime).await.unwrap();
        // The database works on threads of its own, which know no virtual time.
        tokio::time::resume();
        let ada = CreateUser { name: "Ada".into(), email: "ada@shop.example".into() };
        let user_id = bus.request(ada).await.unwrap().0.id;
        Self { bus, db: db.clone(), user_id }
    }

    fn cart(&self, items: &[(&str, i64)]) -> PlaceOrder {
        let item = |&(sku, quantity): &(&str, i64)| Item { sku: sku.to_owned(), quantity };
        PlaceOrder { user_id: self.user_id, items: items.iter().map(item).collect() }
    }

    async fn order(&self, items: &[(&str, i64)]) -> Result<Order, RequestError> {
        self.bus.request(self.cart(items)).await.map(|OrderConfirmed(order)| order)
    }

    async fn status(&self, order_id: i64) -> OrderStatus {
        let found = self.bus.request(FindOrder { order_id }).await;
        found.unwrap().0.status
    }

    async fn available(&self, sku: &str) -> i64 {
        let found = self.bus.request(FindStock { sku: sku.to_owned() }).await;
        found.unwrap().available
    }

    /// Waits until nothing is in work any more, and gives the orders after an audit: all of them
    /// have ended, and every item is where it belongs.
    async fn close(self) -> Vec<Order> {
        self.bus.quiet().await;
        audit(&self.db).await
    }
}

fn dsn_in(folder: &TempDir) -> String {
    format!("sqlite://{}/shop.db", folder.path().display())
}

async fn connect(dsn: &str) -> Db {
    let settings = Settings::from_vars([("DB_DSN", dsn)]).unwrap();
    let db = Db::connect(&settings.db).await.unwrap();
    db.migrate(MIGRATIONS).await.unwrap();
    db
}

/// All orders, after the proof that they have ended and that stock and confirmed orders add up to
/// what the shop began with.
async fn audit(db: &Db) -> Vec<Order> {
    use schema::{orders, reservations, stock};

    let books = db.transaction(async |conn: &mut SqliteConn| -> Result<_, DbError> {
        let mut all = Vec::new();
        for order_id in orders::table.order(orders::id).select(orders::id).load(conn).await? {
            all.extend(ledger::find(conn, order_id).await?);
        }
        let reserved = reservations::table.select(reservations::order_id);
        let left = stock::table.order(stock::sku).select((stock::sku, stock::available));
        Ok((all, reserved.load::<i64>(conn).await?, left.load::<(String, i64)>(conn).await?))
    });
    let (orders, reserved, mut books) = books.await.unwrap();
    for Order { order_id, status, items, .. } in &orders {
        assert_ne!(*status, OrderStatus::Placed, "order {order_id}");
        let is_sold = *status == OrderStatus::Confirmed;
        for item in items.iter().filter(|_| is_sold) {
            let entry = books.iter_mut().find(|(sku, _)| *sku == item.sku);
            entry.unwrap().1 += item.quantity;
        }
    }
    assert!(reserved.is_empty(), "reserved for {reserved:?}");
    assert_eq!(books, SEED.map(|(sku, count)| (sku.to_owned(), count)), "{orders:?}");
    orders
}

fn statuses(orders: &[Order]) -> Vec<OrderStatus> {
    orders.iter().map(|order| order.status).collect()
}

/// The error with which a handler refused, whichever of the chain it was.
fn refusal<T: std::fmt::Debug>(outcome: Result<T, RequestError>) -> HandlerError {
    match outcome.unwrap_err() {
        RequestError::Handler { error, .. } => error,
        other => panic!("{other}"),
    }
}

/// The field that an event was refused for.
fn invalid_field<T: std::fmt::Debug>(outcome: Result<T, RequestError>) -> String {
    let error = refusal(outcome);
    assert_eq!(error.error_code(), "invalid", "{error}");
    assert!(error.is_public());
    let field = error.error_details().and_then(|details| details["field"].as_str());
    field.unwrap_or_else(|| panic!("{error} names no field")).to_owned()
}
