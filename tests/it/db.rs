//! The database handle as an application uses it: from actix threads, over files and memory.

use std::{pin::pin, rc::Rc, time::Duration};

use callboard::{
    db::{Backend, Db, DbError, SqliteConn, is_unique_violation},
    settings::{DbSettings, Settings},
};
use diesel::{
    prelude::*,
    result::Error as QueryError,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tempfile::TempDir;
use tokio::sync::oneshot;

use self::schema::{counters, notes};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations/db");
const BROKEN_MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations/db_broken");

mod schema {
    diesel::table! {
        counters (id) { id -> BigInt, name -> Text, value -> BigInt, }
    }

    diesel::table! {
        notes (id) { id -> BigInt, counter_id -> BigInt, }
    }
}

/// The error of a domain, as an application would write it.
#[derive(Debug)]
enum Refusal {
    SoldOut,
    Taken,
    Database(String),
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        if is_unique_violation(&error) { Self::Taken } else { Self::Database(error.to_string()) }
    }
}

fn settings(dsn: &str) -> DbSettings {
    pool(dsn, 1, 4)
}

/// Written by hand, so that it can hold what reading settings would refuse.
fn pool(dsn: &str, min: u32, max: u32) -> DbSettings {
    let mut settings = Settings::default().db;
    settings.dsn = dsn.to_owned().into();
    settings.pool_min = min;
    settings.pool_max = max;
    settings
}

/// An empty database in a file; the folder goes with the guard.
async fn file() -> (Db, String, TempDir) {
    let folder = TempDir::new().unwrap();
    let dsn = format!("sqlite://{}/shop.db", folder.path().display());
    let db = open(&dsn).await;
    (db, dsn, folder)
}

async fn memory() -> Db {
    open("sqlite::memory:").await
}

/// A database of each kind, for what must be the same on both.
async fn both() -> ([Db; 2], TempDir) {
    let (file, _, folder) = file().await;
    ([file, memory().await], folder)
}

async fn open(dsn: &str) -> Db {
    let db = Db::connect(&settings(dsn)).await.unwrap();
    db.migrate(MIGRATIONS).await.unwrap();
    db
}

async fn refused(dsn: &str) -> DbError {
    Db::connect(&settings(dsn)).await.unwrap_err()
}

async fn insert(conn: &mut SqliteConn, name: &str) -> QueryResult<i64> {
    diesel::insert_into(counters::table)
        .values(counters::name.eq(name))
        .returning(counters::id)
        .get_result(conn)
        .await
}

async fn add(db: &Db, name: &'static str) -> Result<i64, DbError> {
    db.transaction(async move |conn: &mut SqliteConn| Ok(insert(conn, name).await?)).await
}

async fn names(db: &Db) -> Vec<String> {
    let names: Result<_, DbError> = db
        .read(async |conn: &mut SqliteConn| {
            Ok(counters::table.order(counters::id).select(counters::name).load(conn).await?)
        })
        .await;
    names.unwrap()
}

/// A transaction that inserts `name`, tells that it did, and commits when it is told to.
fn held(
    db: &Db,
    name: &'static str,
) -> (impl Future<Output = Result<(), DbError>>, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (started, has_started) = oneshot::channel();
    let (release, released) = oneshot::channel();
    let transaction = db.transaction(async move |conn: &mut SqliteConn| {
        insert(conn, name).await?;
        started.send(()).unwrap();
        released.await.unwrap();
        // A timer fires only as long as the threads of the database live.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    });
    (transaction, has_started, release)
}

#[actix::test]
async fn migrations_are_applied_once() {
    let db = Db::connect(&settings("sqlite::memory:")).await.unwrap();
    assert_eq!(
        db.migrate(MIGRATIONS).await.unwrap(),
        ["2026-01-01-000000_create_counters", "2026-01-02-000000_create_notes"]
    );
    assert!(db.migrate(MIGRATIONS).await.unwrap().is_empty());
    assert!(add(&db, "visits").await.is_ok());
}

#[actix::test]
async fn a_failed_migration_names_itself_and_leaves_nothing() {
    let db = Db::connect(&settings("sqlite::memory:")).await.unwrap();
    let error = db.migrate(BROKEN_MIGRATIONS).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("2026-01-02-000000_forget_a_column"), "{message}");
    assert!(message.contains("no_such_column"), "{message}");

    assert!(add(&db, "visits").await.is_ok(), "the first one stays");
    let half_done: Result<usize, DbError> = db
        .transaction(async |conn: &mut SqliteConn| {
            let query = diesel::sql_query("SELECT id FROM half_done");
            Ok(query.execute(conn).await?)
        })
        .await;
    let message = half_done.unwrap_err().to_string();
    assert!(message.contains("no such table: half_done"), "{message}");
}

#[actix::test]
async fn ok_commits() {
    let (db, _, _folder) = file().await;
    let id = add(&db, "visits").await.unwrap();
    assert_eq!(id, 1);
    assert_eq!(names(&db).await, ["visits"]);
}

#[actix::test]
async fn err_rolls_back_and_arrives_as_it_was() {
    let (databases, _folder) = both().await;
    for db in databases {
        let result: Result<(), Refusal> = db
            .transaction(async |conn: &mut SqliteConn| {
                insert(conn, "visits").await?;
                Err(Refusal::SoldOut)
            })
            .await;
        assert!(matches!(result, Err(Refusal::SoldOut)), "{result:?}");
        assert!(names(&db).await.is_empty());
        assert!(add(&db, "visits").await.is_ok());
    }
}

#[actix::test]
async fn a_panic_rolls_back_and_the_next_transaction_works() {
    let (databases, _folder) = both().await;
    for db in databases {
        add(&db, "before").await.unwrap();
        for name in ["first", "second"] {
            let result: Result<(), DbError> = db
                .transaction(async move |conn: &mut SqliteConn| {
                    insert(conn, name).await?;
                    panic!("the {name} till is on fire");
                })
                .await;
            let message = result.unwrap_err().to_string();
            let text = format!("the work on the database panicked: the {name} till is on fire");
            assert_eq!(message, text);
        }
        let read: Result<(), DbError> =
            db.read(async |_: &mut SqliteConn| panic!("the scanner too")).await;
        assert!(matches!(read, Err(DbError::Panicked { .. })), "{read:?}");

        add(&db, "after").await.unwrap();
        assert_eq!(names(&db).await, ["before", "after"]);
    }
}

#[actix::test]
async fn a_panic_inside_of_a_query_does_not_poison_the_pool() {
    let db = memory().await;
    let result: Result<(), DbError> = db
        .transaction(async |conn: &mut SqliteConn| {
            insert(conn, "visits").await?;
            let query = conn.spawn_blocking(|_| -> QueryResult<()> { panic!("while locked") });
            Ok(query.await?)
        })
        .await;
    assert!(matches!(result, Err(DbError::Panicked { .. })), "{result:?}");
    assert!(names(&db).await.is_empty());
    assert!(add(&db, "visits").await.is_ok());
}

async fn visit(db: Db, id: i64) -> Result<(), DbError> {
    db.transaction(async move |conn: &mut SqliteConn| {
        let row = counters::table.find(id);
        let value: i64 = row.select(counters::value).first(conn).await?;
        // Whoever could come between the read and the write, now is the moment.
        tokio::task::yield_now().await;
        let update = diesel::update(row).set(counters::value.eq(value + 1));
        update.execute(conn).await?;
        Ok(())
    })
    .await
}

async fn visits(db: &Db, id: i64) -> i64 {
    let value: Result<i64, DbError> = db
        .read(async move |conn: &mut SqliteConn| {
            let row = counters::table.find(id);
            Ok(row.select(counters::value).first(conn).await?)
        })
        .await;
    value.unwrap()
}

#[actix::test]
async fn concurrent_transactions_do_not_lose_an_update() {
    let (databases, _folder) = both().await;
    for db in databases {
        let id = add(&db, "visits").await.unwrap();
        let running: Vec<_> = (0..50).map(|_| actix::spawn(visit(db.clone(), id))).collect();
        for visit in running {
            visit.await.unwrap().unwrap();
        }
        assert_eq!(visits(&db, id).await, 50);
    }
}

#[actix::test]
async fn two_handles_on_one_file_take_turns() {
    let (db, dsn, _folder) = file().await;
    // To SQLite, a second handle is what another process would be.
    let other = open(&dsn).await;
    let id = add(&db, "visits").await.unwrap();
    for _ in 0..20 {
        let (one, two) = tokio::join!(visit(db.clone(), id), visit(other.clone(), id));
        one.unwrap();
        two.unwrap();
    }
    assert_eq!(visits(&other, id).await, 40);
}

#[actix::test]
async fn two_handles_that_migrate_together_apply_each_once() {
    let folder = TempDir::new().unwrap();
    let dsn = format!("sqlite://{}/shop.db", folder.path().display());
    let db = Db::connect(&settings(&dsn)).await.unwrap();
    let other = Db::connect(&settings(&dsn)).await.unwrap();
    let (one, two) = tokio::join!(db.migrate(MIGRATIONS), other.migrate(MIGRATIONS));
    let mut applied = [one.unwrap(), two.unwrap()].concat();
    applied.sort();
    assert_eq!(applied, ["2026-01-01-000000_create_counters", "2026-01-02-000000_create_notes"]);
}

#[actix::test]
async fn a_caller_that_times_out_leaves_a_transaction_that_still_commits() {
    let (db, _, _folder) = file().await;
    let (transaction, has_started, release) = held(&db, "visits");
    let outcome = tokio::time::timeout(Duration::from_millis(20), transaction).await;
    assert!(outcome.is_err(), "the transaction cannot have ended");

    has_started.await.unwrap();
    assert!(names(&db).await.is_empty(), "not committed yet");
    release.send(()).unwrap();
    // There is one writer, so this waits for the commit of the one that nobody listens to.
    add(&db, "after").await.unwrap();
    assert_eq!(names(&db).await, ["visits", "after"]);
}

#[actix::test]
async fn a_caller_that_leaves_the_line_never_starts() {
    let (db, _, _folder) = file().await;
    let (transaction, has_started, release) = held(&db, "first");
    let leaves = async {
        has_started.await.unwrap();
        let waiting = add(&db, "impatient");
        let outcome = tokio::time::timeout(Duration::from_millis(20), waiting).await;
        assert!(outcome.is_err(), "the writer is taken");
        release.send(()).unwrap();
    };
    let (first, ()) = tokio::join!(transaction, leaves);
    first.unwrap();
    add(&db, "last").await.unwrap();
    assert_eq!(names(&db).await, ["first", "last"]);
}

#[actix::test]
async fn a_paused_clock_does_not_end_the_wait_for_a_connection() {
    let (db, _, _folder) = file().await;
    let (transaction, has_started, release) = held(&db, "first");
    tokio::time::pause();
    let waits = async {
        has_started.await.unwrap();
        let later = async {
            // Two virtual minutes pass at once; the wait is for a real thread and must not see them.
            tokio::time::sleep(Duration::from_mins(2)).await;
            release.send(()).unwrap();
        };
        tokio::join!(add(&db, "second"), later).0
    };
    let (first, second) = tokio::join!(transaction, waits);
    first.unwrap();
    assert_eq!(second.unwrap(), 2);
}

#[actix::test]
async fn reads_run_while_a_write_transaction_is_open() {
    let (db, _, _folder) = file().await;
    add(&db, "old").await.unwrap();
    let (transaction, has_started, release) = held(&db, "new");
    let reads = async {
        has_started.await.unwrap();
        let (one, two, three) = tokio::join!(names(&db), names(&db), names(&db));
        assert_eq!([one, two, three], [["old"], ["old"], ["old"]]);
        db.ping().await.unwrap();
        release.send(()).unwrap();
    };
    let (written, ()) = tokio::join!(transaction, reads);
    written.unwrap();
    assert_eq!(names(&db).await, ["old", "new"]);
}

#[actix::test]
async fn a_transaction_inside_of_a_read_sees_one_moment() {
    async fn all(conn: &mut SqliteConn) -> QueryResult<Vec<String>> {
        counters::table.select(counters::name).load(conn).await
    }

    let (db, _, _folder) = file().await;
    add(&db, "old").await.unwrap();
    let (looked, has_looked) = oneshot::channel();
    let (changed, has_changed) = oneshot::channel::<()>();
    let read = db.read(async move |conn: &mut SqliteConn| {
        let work = async move |conn: &mut SqliteConn| {
            let before = all(conn).await?;
            looked.send(()).unwrap();
            has_changed.await.unwrap();
            Ok::<_, QueryError>([before, all(conn).await?])
        };
        let agreed = conn.transaction(work).await?;
        Ok::<_, DbError>((agreed, all(conn).await?))
    });
    let write = async {
        has_looked.await.unwrap();
        add(&db, "new").await.unwrap();
        changed.send(()).unwrap();
    };
    let (read, ()) = tokio::join!(read, write);
    let (agreed, after) = read.unwrap();
    assert_eq!(agreed, [["old"], ["old"]]);
    assert_eq!(after.len(), 2);
}

#[actix::test]
async fn reads_of_a_memory_database_wait_for_the_write_transaction() {
    let db = memory().await;
    let (transaction, has_started, release) = held(&db, "new");
    let reads = async {
        has_started.await.unwrap();
        let mut read = pin!(names(&db));
        let early = tokio::time::timeout(Duration::from_millis(20), &mut read).await;
        assert!(early.is_err(), "the transaction is open");
        release.send(()).unwrap();
        read.await
    };
    let (written, read) = tokio::join!(transaction, reads);
    written.unwrap();
    assert_eq!(read, ["new"]);
}

#[actix::test]
async fn a_read_cannot_write() {
    let (databases, _folder) = both().await;
    for db in databases {
        let result: Result<i64, DbError> =
            db.read(async |conn: &mut SqliteConn| Ok(insert(conn, "visits").await?)).await;
        let message = result.unwrap_err().to_string();
        assert!(message.contains("readonly"), "{message}");
        assert!(names(&db).await.is_empty());
    }
}

#[actix::test]
async fn a_unique_violation_is_recognised() {
    let db = memory().await;
    let id = add(&db, "visits").await.unwrap();
    assert!(add(&db, "visits").await.unwrap_err().is_unique_violation());

    let same_key: Result<usize, DbError> = db
        .transaction(async move |conn: &mut SqliteConn| {
            let row = (counters::id.eq(id), counters::name.eq("other"));
            let insert = diesel::insert_into(counters::table).values(row);
            Ok(insert.execute(conn).await?)
        })
        .await;
    assert!(same_key.unwrap_err().is_unique_violation());

    let refusal: Result<i64, Refusal> =
        db.transaction(async |conn: &mut SqliteConn| Ok(insert(conn, "visits").await?)).await;
    assert!(matches!(refusal, Err(Refusal::Taken)), "{refusal:?}");

    let missing: Result<i64, DbError> = db
        .read(async |conn: &mut SqliteConn| {
            let row = counters::table.find(404);
            Ok(row.select(counters::value).first(conn).await?)
        })
        .await;
    assert!(!missing.unwrap_err().is_unique_violation());
}

#[actix::test]
async fn a_commit_that_fails_rolls_back() {
    let db = memory().await;
    let result: Result<usize, Refusal> = db
        .transaction(async |conn: &mut SqliteConn| {
            insert(conn, "visits").await?;
            // The foreign key is checked at the commit only.
            let note = diesel::insert_into(notes::table).values(notes::counter_id.eq(404));
            Ok(note.execute(conn).await?)
        })
        .await;
    assert!(
        matches!(&result, Err(Refusal::Database(text)) if text == "FOREIGN KEY constraint failed"),
        "{result:?}"
    );
    add(&db, "after").await.unwrap();
    assert_eq!(names(&db).await, ["after"]);
}

#[actix::test]
async fn a_nested_transaction_rolls_back_alone() {
    let db = memory().await;
    let outer: Result<(), DbError> = db
        .transaction(async |conn: &mut SqliteConn| {
            insert(conn, "outer").await?;
            let inner = conn
                .transaction::<(), QueryError, _>(async |conn| {
                    insert(conn, "inner").await?;
                    Err(QueryError::RollbackTransaction)
                })
                .await;
            assert_eq!(inner, Err(QueryError::RollbackTransaction));
            Ok(())
        })
        .await;
    outer.unwrap();
    assert_eq!(names(&db).await, ["outer"]);
}

#[actix::test]
async fn a_nested_transaction_left_open_rolls_everything_back() {
    let (db, dsn, _folder) = file().await;
    let other = open(&dsn).await;
    let outer: Result<(), DbError> = db
        .transaction(async |conn: &mut SqliteConn| {
            insert(conn, "outer").await?;
            let inner = conn.transaction::<(), QueryError, _>(async |conn| {
                insert(conn, "inner").await?;
                std::future::pending().await
            });
            let timeout = tokio::time::timeout(Duration::from_millis(1), inner).await;
            assert!(timeout.is_err());
            Ok(())
        })
        .await;
    assert!(matches!(outer, Err(DbError::NestedOpen { open: 1 })), "{outer:?}");
    // The lock of the file is free at once, not when the broken connection is next looked at.
    add(&other, "after").await.unwrap();
    assert_eq!(names(&db).await, ["after"]);
}

#[actix::test]
async fn the_work_has_its_own_thread_and_may_keep_what_is_not_send() {
    let db = memory().await;
    let transaction = db.transaction(async |conn: &mut SqliteConn| {
        let name = Rc::new("visits".to_owned());
        let id = insert(conn, &name).await?;
        tokio::time::sleep(Duration::ZERO).await;
        assert_eq!(Rc::strong_count(&name), 1);
        let thread = std::thread::current().name().map(ToOwned::to_owned);
        Ok::<_, DbError>((id, thread))
    });
    // The caller's side can be moved between threads, whatever the work holds.
    let transaction = assert_send(transaction);
    let (id, thread) = transaction.await.unwrap();
    assert_eq!((id, thread.as_deref()), (1, Some("callboard-db")));
}

fn assert_send<F: Future + Send>(future: F) -> F {
    future
}

#[derive(QueryableByName)]
struct Pragmas {
    #[diesel(sql_type = Text)]
    journal: String,
    #[diesel(sql_type = BigInt)]
    synchronous: i64,
    #[diesel(sql_type = BigInt)]
    foreign_keys: i64,
    #[diesel(sql_type = BigInt)]
    timeout: i64,
}

#[actix::test]
async fn every_connection_to_a_file_is_durable_and_strict() {
    async fn pragmas(conn: &mut SqliteConn) -> Result<Pragmas, DbError> {
        let query = "SELECT journal_mode AS journal, synchronous, foreign_keys, timeout
            FROM pragma_journal_mode, pragma_synchronous, pragma_foreign_keys, pragma_busy_timeout";
        Ok(diesel::sql_query(query).get_result(conn).await?)
    }

    let (db, _, _folder) = file().await;
    let write = db.transaction(pragmas).await.unwrap();
    let read = db.read(pragmas).await.unwrap();
    for pragmas in [write, read] {
        assert_eq!(pragmas.journal, "wal");
        assert_eq!(pragmas.synchronous, 2, "2 is FULL");
        assert_eq!(pragmas.foreign_keys, 1);
        assert_eq!(pragmas.timeout, 5000);
    }
}

/// Each SQLite connection keeps a descriptor of its own for the file, and Linux lists them.
#[cfg(target_os = "linux")]
#[actix::test]
async fn connect_opens_pool_min_connections_and_at_least_one() {
    for (pool_min, pool_max, expected) in [(0, 4, 1), (1, 4, 1), (3, 4, 3), (9, 4, 4), (9, 0, 2)] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("shop.db");
        let dsn = format!("sqlite://{}", path.display());
        let db = Db::connect(&pool(&dsn, pool_min, pool_max)).await;
        let open = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| *target == path)
            .count();
        assert_eq!(open, expected, "pool_min {pool_min}, pool_max {pool_max}");
        db.unwrap().close().await;
    }
}

#[actix::test]
async fn a_bad_dsn_says_what_is_wrong_without_repeating_it() {
    for (dsn, expected) in [
        ("", "it has no scheme"),
        ("s3cret.db", "it has no scheme"),
        ("sqlite:s3cret.db", "it has no scheme"),
        ("sqlite://", "it names no file"),
        ("sqlite://s3cret.db?mode=memory", "no parameters"),
        ("s3cret word://shop", "scheme is malformed"),
        ("postgres://shop:s3cret@db/shop", "SQLite only"),
        ("MySQL://shop:s3cret@db/shop", "asks for `mysql`"),
    ] {
        let error = refused(dsn).await;
        let (message, debug) = (error.to_string(), format!("{error:?}"));
        assert!(message.contains(expected), "{dsn}: {message}");
        assert!(!message.contains("s3cret"), "{dsn}: {message}");
        assert!(!debug.contains("s3cret"), "{dsn}: {debug}");
    }
    let error = refused("postgres://shop:s3cret@db/shop").await;
    assert!(
        matches!(&error, DbError::UnsupportedBackend { scheme } if scheme == "postgres"),
        "{error:?}"
    );
}

#[actix::test]
async fn a_path_that_cannot_be_opened_is_named() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing/shop.db");
    let error = refused(&format!("sqlite://{}", missing.display())).await;
    let message = error.to_string();
    assert!(matches!(error, DbError::Connect { .. }), "{message}");
    assert!(message.contains("missing/shop.db"), "{message}");
    assert!(message.contains("missing` does not exist"), "{message}");

    let error = refused(&format!("sqlite://{}", folder.path().display())).await;
    let message = error.to_string();
    assert!(message.contains("unable to open database file"), "{message}");

    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "milk, eggs, and all that is no database at all").unwrap();
    let error = refused(&format!("sqlite://{}", text.display())).await;
    let message = error.to_string();
    assert!(message.contains("notes.txt"), "{message}");
    assert!(message.contains("not a database"), "{message}");
}

#[cfg(unix)]
#[actix::test]
async fn two_slashes_name_a_file_relative_to_the_working_folder() {
    let folder = TempDir::new().unwrap();
    let depth = std::env::current_dir().unwrap().components().count() - 1;
    let relative = format!("{}{}", "../".repeat(depth), &folder.path().to_str().unwrap()[1..]);
    let db = open(&format!("sqlite://{relative}/shop.db")).await;
    assert!(folder.path().join("shop.db").is_file());
    add(&db, "visits").await.unwrap();
}

#[actix::test]
async fn a_memory_database_is_shared_by_all_calls_and_by_nobody_else() {
    let (db, other) = (memory().await, open("sqlite://:memory:").await);
    assert_eq!(db.backend(), Backend::Sqlite);
    assert_eq!(db.backend().to_string(), "sqlite");
    add(&db, "visits").await.unwrap();
    assert_eq!(names(&db.clone()).await, ["visits"]);
    assert!(names(&other).await.is_empty());
}

#[actix::test]
async fn a_file_opened_again_keeps_its_rows() {
    let (db, dsn, _folder) = file().await;
    add(&db, "visits").await.unwrap();
    drop(db);
    let db = open(&dsn).await;
    assert_eq!(names(&db).await, ["visits"]);
}

#[actix::test]
async fn a_closed_database_refuses_all_clones_and_leaves_one_file() {
    let (db, _, folder) = file().await;
    let clone = db.clone();
    add(&db, "visits").await.unwrap();
    names(&db).await;
    db.close().await;
    db.close().await;
    let error = add(&clone, "later").await.unwrap_err();
    assert!(matches!(error, DbError::Closed), "{error:?}");
    let error = clone.ping().await.unwrap_err();
    assert!(matches!(error, DbError::Closed), "{error:?}");
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "the WAL is written back");
}

/// Closes while something is held, and sees that the close ends only after it is released.
async fn close_after(db: &Db, has_started: oneshot::Receiver<()>, release: oneshot::Sender<()>) {
    has_started.await.unwrap();
    let mut closing = pin!(db.close());
    let early = tokio::time::timeout(Duration::from_millis(20), &mut closing).await;
    assert!(early.is_err(), "not all work has ended");
    release.send(()).unwrap();
    closing.await;
}

#[actix::test]
async fn close_waits_for_a_transaction() {
    let (db, dsn, _folder) = file().await;
    let (transaction, has_started, release) = held(&db, "visits");
    let (written, ()) = tokio::join!(transaction, close_after(&db, has_started, release));
    written.unwrap();
    assert_eq!(names(&open(&dsn).await).await, ["visits"]);
}

#[actix::test]
async fn close_waits_for_a_read() {
    let (db, _, _folder) = file().await;
    let (started, has_started) = oneshot::channel();
    let (release, released) = oneshot::channel();
    let read = db.read(async move |_: &mut SqliteConn| {
        started.send(()).unwrap();
        released.await.unwrap();
        Ok::<_, DbError>(())
    });
    let (read, ()) = tokio::join!(read, close_after(&db, has_started, release));
    read.unwrap();
}

#[actix::test]
async fn work_outlives_the_last_handle() {
    let (db, dsn, _folder) = file().await;
    let other = open(&dsn).await;
    let (transaction, has_started, release) = held(&db, "visits");
    let outcome = tokio::time::timeout(Duration::from_millis(20), transaction).await;
    assert!(outcome.is_err(), "the transaction cannot have ended");
    has_started.await.unwrap();
    drop(db);
    release.send(()).unwrap();
    // The first transaction holds the lock of the file, so this one waits for its end.
    add(&other, "after").await.unwrap();
    assert_eq!(names(&other).await, ["visits", "after"]);
}
