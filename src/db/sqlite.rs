//! The SQLite backend: the database that a DSN names enters, prepared connections leave.

mod migration;

use std::{
    error::Error,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use diesel::{
    ConnectionError, ConnectionResult, QueryResult, QueryableByName, SqliteConnection,
    connection::{AnsiTransactionManager, TransactionManager},
    result::Error as QueryError,
    sql_types::Text,
};
use diesel_async::{
    AsyncConnection, RunQueryDsl, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, PoolError as OpenError, RecyclingMethod,
        deadpool::{Object, Pool, PoolError},
    },
    sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper},
};
use diesel_migrations::EmbeddedMigrations;

use super::{
    Backend, DbError,
    dsn::Dsn,
    lane::{Access, Lane},
    sealed::{Backed, Pools},
};

/// A SQLite connection, as the work given to [`Db::transaction`](super::Db::transaction) and
/// [`Db::read`](super::Db::read) sees it.
pub type SqliteConn = SyncConnectionWrapper<SqliteConnection, InPlace>;

/// Runs each query on the thread that polls it, at once and to its end.
///
/// diesel-async by itself moves each query to another thread and back, 33 µs for an insert of 1 µs as measured in a
/// release build, and panics when the future of a query is dropped on an actix thread. Here the work has a thread of
/// its own already, so its queries stay on it: there is no hop, and no moment at which a query is half done.
#[derive(Debug, Clone, Copy)]
pub struct InPlace(());

impl SpawnBlocking for InPlace {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<R, Box<dyn Error + Send + Sync>>> + Send + 'a>>
    where
        R: Send + 'static,
    {
        // Lazy: a query that nobody awaits is a query that never ran, as everywhere in Rust.
        Box::pin(async move { Ok(task()) })
    }

    fn get_runtime() -> Self {
        Self(())
    }
}

/// The lanes over one SQLite database.
pub struct SqlitePools {
    write: Lane<SqlitePool>,
    read: Lane<SqlitePool>,
    /// A memory database lives as long as its last connection. This one is never used, so no panic can break it.
    _anchor: Option<SqliteConn>,
}

impl SqlitePools {
    pub(super) async fn open(dsn: &Dsn, pool_min: u32, pool_max: u32) -> Result<Self, DbError> {
        let pools = match dsn {
            Dsn::SqliteFile(path) => Self::over_file(path, pool_max)?,
            Dsn::SqliteMemory => Self::in_memory().await?,
        };
        // The writer first, whatever `pool_min` says: it makes the file, or finds out that it cannot.
        let mut opened = vec![SqliteConn::checkout(&pools.write.pool).await?];
        for _ in 0..pool_min.saturating_sub(1).min(pools.read.size) {
            opened.push(SqliteConn::checkout(&pools.read.pool).await?);
        }
        drop(opened);
        Ok(pools)
    }

    /// SQLite has one writer at a time, so a second write connection could only wait, unfairly and by polling,
    /// for what the one permit of the lane hands out in order.
    fn over_file(path: &str, pool_max: u32) -> Result<Self, DbError> {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        if folder != Path::new("") && !folder.is_dir() {
            return Err(DbError::Connect {
                database: path.to_owned(),
                reason: format!("the folder `{}` does not exist", folder.display()),
            });
        }
        // SQLite takes a name that starts with `file:` for a URI; with `./` before it, it is a plain name again.
        let url = if Path::new(path).is_relative() { format!("./{path}") } else { path.to_owned() };
        let readers = pool_max.saturating_sub(1).max(1);
        let pool = |access, size| SqlitePool::new(path, &url, access, Journal::Wal, size);
        Ok(Self {
            write: Lane::new(pool(Access::Write, 1)?, Access::Write, 1),
            read: Lane::new(pool(Access::Read, readers)?, Access::Read, readers),
            _anchor: None,
        })
    }

    /// A memory database has no WAL, so a reader beside a writer would find it locked: both stand in one line.
    async fn in_memory() -> Result<Self, DbError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // The name is what the connections of one `Db` share, and what two of them must not share.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let url = format!("file:/callboard-{count}?vfs=memdb");
        let pool = |access| SqlitePool::new(":memory:", &url, access, Journal::Memory, 1);
        let write = Lane::new(pool(Access::Write)?, Access::Write, 1);
        let read = write.beside(pool(Access::Read)?, Access::Read);
        let anchor = SqliteConn::checkout(&write.pool).await?;
        Ok(Self { write, read, _anchor: Some(Object::take(anchor)) })
    }

    pub(super) async fn drain(&self) {
        self.write.drain().await;
        self.read.drain().await;
    }

    /// Closes the idle connections. The last one writes the WAL back into the file, which belongs on a thread that may
    /// block.
    pub(super) fn close(&self) {
        self.read.pool.connections.close();
        self.write.pool.connections.close();
    }
}

/// Connections of one kind to one database.
#[derive(Clone)]
pub struct SqlitePool {
    connections: Pool<SqliteConn>,
    /// What errors call the database.
    name: Arc<str>,
}

impl SqlitePool {
    fn new(
        name: &str,
        url: &str,
        access: Access,
        journal: Journal,
        size: u32,
    ) -> Result<Self, DbError> {
        let mut config = ManagerConfig::default();
        // A file does not hang up, so asking `SELECT 1` before each use would find nothing.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |url| Box::pin(set_up(url, access, journal)));
        let connections = Pool::builder(AsyncDieselConnectionManager::new_with_config(url, config))
            .max_size(size as usize)
            .build()
            .map_err(|error| cannot_open(name, &error))?;
        let name = Arc::from(name);
        Ok(Self { connections, name })
    }
}

/// How changes that are not committed yet are kept.
#[derive(Debug, Clone, Copy)]
enum Journal {
    /// Beside the file: readers go on reading the old rows while a writer writes.
    Wal,
    /// A memory database has no file to put a journal beside.
    Memory,
}

#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

async fn set_up(url: &str, access: Access, journal: Journal) -> ConnectionResult<SqliteConn> {
    let mut conn = SqliteConn::establish(url).await?;
    prepare(&mut conn, access, journal)
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

async fn prepare(conn: &mut SqliteConn, access: Access, journal: Journal) -> QueryResult<()> {
    // First, so that the next statements wait for another process that is just opening or closing the file.
    conn.batch_execute("PRAGMA busy_timeout = 5000").await?;
    if let Journal::Wal = journal {
        // SQLite answers with the old mode instead of an error where it cannot do WAL, as on some network drives.
        let answer: JournalMode =
            diesel::sql_query("PRAGMA journal_mode = WAL").get_result(conn).await?;
        if answer.journal_mode != "wal" {
            let text = format!("the journal mode stays `{}`, not WAL", answer.journal_mode);
            return Err(QueryError::QueryBuilderError(text.into()));
        }
    }
    // FULL, not the usual NORMAL: under NORMAL a power cut may undo the last commits, and an order that was answered
    // must not vanish. Durable first; speed comes from putting more into one transaction.
    conn.batch_execute("PRAGMA synchronous = FULL").await?;
    conn.batch_execute("PRAGMA foreign_keys = ON").await?;
    if access == Access::Read {
        // A write that slips into `Db::read` fails here, instead of going around the one line for writers.
        conn.batch_execute("PRAGMA query_only = ON").await?;
    }
    Ok(())
}

fn cannot_open(database: &str, error: &dyn Error) -> DbError {
    DbError::Connect { database: database.to_owned(), reason: error.to_string() }
}

impl super::Connection for SqliteConn {}

impl Backed for SqliteConn {
    const BACKEND: Backend = Backend::Sqlite;
    type Pool = SqlitePool;
    type Held = Object<SqliteConn>;

    fn lane(pools: &Pools, access: Access) -> Option<&Lane<SqlitePool>> {
        match (pools, access) {
            (Pools::Sqlite(pools), Access::Read) => Some(&pools.read),
            (Pools::Sqlite(pools), Access::Write) => Some(&pools.write),
        }
    }

    async fn checkout(pool: &SqlitePool) -> Result<Object<SqliteConn>, DbError> {
        pool.connections.get().await.map_err(|error| match error {
            PoolError::Closed => DbError::Closed,
            PoolError::Backend(OpenError::QueryError(error)) => DbError::Query(error),
            PoolError::Backend(OpenError::ConnectionError(error)) => {
                cannot_open(&pool.name, &error)
            }
            other => cannot_open(&pool.name, &other),
        })
    }

    fn discard(held: Object<SqliteConn>) {
        drop(Object::take(held));
    }

    async fn begin(&mut self) -> QueryResult<()> {
        // IMMEDIATE takes the write lock now. A plain BEGIN takes it at the first write, where SQLite answers "busy"
        // without waiting if another process wrote since our first read.
        self.spawn_blocking(|conn| {
            AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")
        })
        .await
    }

    async fn nested_open(&mut self) -> QueryResult<u32> {
        self.spawn_blocking(|conn| {
            let depth =
                AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth()?;
            depth.map_or(Err(QueryError::NotInTransaction), |depth| Ok(depth.get() - 1))
        })
        .await
    }

    async fn commit(&mut self) -> QueryResult<()> {
        self.spawn_blocking(AnsiTransactionManager::commit_transaction).await
    }

    async fn rollback(&mut self) -> QueryResult<()> {
        self.spawn_blocking(AnsiTransactionManager::rollback_transaction).await
    }

    async fn migrate(&mut self, migrations: EmbeddedMigrations) -> Result<Vec<String>, DbError> {
        self.spawn_blocking(move |conn| Ok(migration::run_pending(conn, &migrations))).await?
    }

    async fn ping(&mut self) -> Result<(), DbError> {
        // Of a table, because a bare `SELECT 1` does not touch the file.
        let query = "SELECT 1 FROM sqlite_schema LIMIT 1";
        Ok(self.batch_execute(query).await?)
    }
}
