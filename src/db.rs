//! The one handle to a database: a DSN and async closures enter, committed results leave, and no query ever runs on an
//! actix thread.

mod error;
mod dsn;
mod job;
mod lane;
mod threads;
mod sqlite;
pub(crate) mod outcomes;

use std::{fmt, sync::Arc, time::Duration};

use diesel_migrations::EmbeddedMigrations;
use secrecy::ExposeSecret;
use tokio::sync::oneshot;

pub use self::{
    error::{DbError, is_unique_violation},
    sqlite::{InPlace, SqliteConn},
};
use self::{
    job::{Settled, in_transaction, on_connection},
    lane::{Access, Lane},
    sealed::{Backed, Pools},
    sqlite::SqlitePools,
    threads::Threads,
};
use crate::settings::DbSettings;

/// The longest time a call waits for a free connection before it ends with [`DbError::PoolTimeout`].
pub const POOL_WAIT_MAX: Duration = Duration::from_secs(30);

/// The kind of database behind a [`Db`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// SQLite, in a file or in memory.
    Sqlite,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
        })
    }
}

/// A connection type that work can ask for, as in `async |conn: &mut SqliteConn| ..`.
///
/// The type picks the backend: on a database of another one the call ends with [`DbError::Backend`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database connection of callboard",
    label = "the work has to take a connection",
    note = "write the work as `async |conn: &mut SqliteConn| {{ .. }}`"
)]
pub trait Connection: Backed {}

mod sealed {
    use std::ops::DerefMut;

    use diesel::QueryResult;
    use diesel_migrations::EmbeddedMigrations;

    use super::{Access, Backend, DbError, Lane, SqlitePools};

    /// The lanes of the backend that the DSN chose.
    pub enum Pools {
        Sqlite(SqlitePools),
    }

    /// What [`Db`](super::Db) needs of a backend; outside of this crate nobody can name it.
    pub trait Backed: Sized + 'static {
        const BACKEND: Backend;
        type Pool: Clone + Send + 'static;
        /// A connection out of a pool, which goes back there when dropped.
        type Held: DerefMut<Target = Self>;

        fn lane(pools: &Pools, access: Access) -> Option<&Lane<Self::Pool>>;
        fn checkout(pool: &Self::Pool) -> impl Future<Output = Result<Self::Held, DbError>>;
        /// Closes the connection instead of giving it back, which rolls an open transaction back.
        fn discard(held: Self::Held);

        fn begin(&mut self) -> impl Future<Output = QueryResult<()>>;
        /// How many savepoints are open inside of the transaction.
        fn nested_open(&mut self) -> impl Future<Output = QueryResult<u32>>;
        fn commit(&mut self) -> impl Future<Output = QueryResult<()>>;
        fn rollback(&mut self) -> impl Future<Output = QueryResult<()>>;

        fn migrate(
            &mut self,
            migrations: EmbeddedMigrations,
        ) -> impl Future<Output = Result<Vec<String>, DbError>>;
        fn ping(&mut self) -> impl Future<Output = Result<(), DbError>>;
    }
}

/// A database: its connections, and the threads that all work on it runs on.
///
/// Clones share one set of both. Each call moves its work to a thread that may block and waits there for nothing
/// else, so the caller's thread stays free, and so does every other actix thread.
///
/// The work runs outside of actix: it can `send` to an `Addr`, but not `actix::spawn`. It must not call the same [`Db`]
/// again and wait for the answer: it holds the connection that the inner call may wait for, until
/// [`DbError::PoolTimeout`]. Nested transactions are `conn.transaction(..)` of
/// [`AsyncConnection`](diesel_async::AsyncConnection).
///
/// Dropping the last clone closes the connections, which may write to the disk on the dropping thread; see
/// [`close`](Self::close).
///
/// ```
/// use callboard::{
///     db::{Db, DbError, SqliteConn},
///     settings::DbSettings,
/// };
/// use diesel::prelude::*;
/// use diesel_async::RunQueryDsl;
///
/// diesel::table! {
///     orders (id) { id -> BigInt, item -> Text, }
/// }
///
/// async fn items(settings: &DbSettings) -> Result<Vec<String>, DbError> {
///     let db = Db::connect(settings).await?;
///     db.read(async |conn: &mut SqliteConn| {
///         let items = orders::table.order(orders::id).select(orders::item);
///         Ok(items.load(conn).await?)
///     })
///     .await
/// }
/// ```
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
}

/// Work that is still running holds a share too, so the threads outlive the last [`Db`] until that work has ended.
struct Shared {
    // Before the threads: connections close while their runtime still is there.
    pools: Pools,
    threads: Threads,
}

impl Db {
    /// Opens the database that the DSN names, with `pool_min` connections and at least one, so that what is wrong
    /// with it is found here.
    ///
    /// | DSN | database |
    /// |---|---|
    /// | `sqlite://shop.db` | a file, relative to the working folder; made if missing |
    /// | `sqlite:///data/shop.db` | a file by its absolute path; made if missing |
    /// | `sqlite::memory:`, `sqlite://:memory:` | a new memory database of at most 1 GiB, gone with its last [`Db`] |
    ///
    /// SQLite gets one connection for writing and `pool_max - 1`, at least one, for reading; a memory database serves
    /// one call at a time.
    ///
    /// # Errors
    ///
    /// [`DbError::BadDsn`] and [`DbError::UnsupportedBackend`] for the DSN, [`DbError::Connect`] for a missing folder,
    /// a file that is no database, or threads that cannot start. None of them shows the password of the DSN.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened so far; an empty database file may stay.
    pub async fn connect(settings: &DbSettings) -> Result<Self, DbError> {
        let dsn = dsn::parse(settings.dsn.expose_secret())?;
        let threads = Threads::start(settings.pool_max)?;
        let (pool_min, pool_max) = (settings.pool_min, settings.pool_max);
        let handle = threads.handle.clone();
        let opening = threads
            .handle
            .spawn_blocking(move || handle.block_on(SqlitePools::open(&dsn, pool_min, pool_max)));
        let pools = opening.await.map_err(|_| DbError::Closed)??;
        let shared = Arc::new(Shared { pools: Pools::Sqlite(pools), threads });
        Ok(Self { shared })
    }

    /// Applies the migrations that the database has not seen yet, in the order of their versions, and returns their
    /// names.
    ///
    /// Each runs in its own transaction; of two processes that start together, one applies and the other one finds
    /// nothing left to do.
    ///
    /// # Errors
    ///
    /// [`DbError::Migration`] names the one that failed; those before it stay applied. [`DbError::PoolTimeout`] and
    /// [`DbError::Closed`] as for [`transaction`](Self::transaction).
    ///
    /// # Cancel safety
    ///
    /// As for [`transaction`](Self::transaction): once begun, the migrations run to their end.
    pub async fn migrate(&self, migrations: EmbeddedMigrations) -> Result<Vec<String>, DbError> {
        match self.shared.pools {
            Pools::Sqlite(_) => self.migrate_as::<SqliteConn>(migrations).await,
        }
    }

    /// Runs `work` in one transaction, committed when it returns `Ok` and rolled back when it returns `Err` or panics.
    ///
    /// On SQLite the transaction begins with `BEGIN IMMEDIATE`; there is one at a time and callers take turns in the
    /// order of their calls. The commit to a file is on the disk when this returns.
    ///
    /// ```
    /// use callboard::db::{Db, DbError, SqliteConn};
    /// use diesel::prelude::*;
    /// use diesel_async::RunQueryDsl;
    ///
    /// diesel::table! {
    ///     orders (id) { id -> BigInt, item -> Text, }
    /// }
    ///
    /// async fn place(db: &Db, item: String) -> Result<i64, DbError> {
    ///     db.transaction(async move |conn: &mut SqliteConn| {
    ///         let id = diesel::insert_into(orders::table)
    ///             .values(orders::item.eq(item))
    ///             .returning(orders::id)
    ///             .get_result(conn)
    ///             .await?;
    ///         Ok(id)
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of `work` itself, or, made into `E`: a diesel error when the transaction cannot begin or commit,
    /// [`DbError::PoolTimeout`] after [`POOL_WAIT_MAX`], [`DbError::Panicked`], [`DbError::NestedOpen`],
    /// [`DbError::Connect`] when a lost connection cannot be opened again, [`DbError::Backend`] and
    /// [`DbError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for a connection, the work never starts. Dropped later (a timeout, a client that is
    /// gone), this future only stops listening: the work runs to its end on its own thread and commits or rolls back
    /// as if the caller were there. Work that must stop early has to look at a deadline of its own.
    pub async fn transaction<C, T, E>(
        &self,
        work: impl AsyncFnOnce(&mut C) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        C: Connection,
        T: Send + 'static,
        E: From<DbError> + From<diesel::result::Error> + Send + 'static,
    {
        let job = async move |conn: &mut C| in_transaction(conn, work).await;
        self.run(Access::Write, job).await
    }

    /// Runs `work` on a connection that can only read, without a transaction around it.
    ///
    /// On a SQLite file reads run beside each other and beside a write transaction, of which they see nothing until it
    /// is committed. Each query sees the newest commit; queries that must agree with each other belong in one
    /// `conn.transaction(..)`.
    ///
    /// # Errors
    ///
    /// The error of `work` itself, a diesel error when it tries to write among them, or, made into `E`, the same
    /// [`DbError`]s as for [`transaction`](Self::transaction) but those of beginning and committing.
    ///
    /// # Cancel safety
    ///
    /// As for [`transaction`](Self::transaction): before it has a connection, the work never starts; later, it runs to
    /// its end unheard.
    pub async fn read<C, T, E>(
        &self,
        work: impl AsyncFnOnce(&mut C) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        C: Connection,
        T: Send + 'static,
        E: From<DbError> + From<diesel::result::Error> + Send + 'static,
    {
        let job = async move |conn: &mut C| Settled::reusable(work(conn).await);
        self.run(Access::Read, job).await
    }

    /// Asks the database for an answer, through the same lane as [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Safe at any point.
    pub async fn ping(&self) -> Result<(), DbError> {
        match self.shared.pools {
            Pools::Sqlite(_) => self.read(SqliteConn::ping).await,
        }
    }

    /// Waits for the work that has begun or stands in line, then closes all connections; later calls, from any clone,
    /// end with [`DbError::Closed`].
    ///
    /// The wait has no limit of its own, because work has none. Calling it again does nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, the database stays open.
    pub async fn close(&self) {
        match &self.shared.pools {
            Pools::Sqlite(pools) => pools.drain().await,
        }
        let shared = Arc::clone(&self.shared);
        let closing = self.shared.threads.handle.spawn_blocking(move || {
            let Pools::Sqlite(pools) = &shared.pools;
            pools.close();
        });
        if let Err(error) = closing.await {
            tracing::warn!(%error, "the database connections did not close cleanly");
        }
    }

    /// The kind of database that the DSN chose.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self.shared.pools {
            Pools::Sqlite(_) => Backend::Sqlite,
        }
    }

    async fn migrate_as<C: Connection>(
        &self,
        migrations: EmbeddedMigrations,
    ) -> Result<Vec<String>, DbError> {
        // A migration may fail outside of a transaction; whatever it left behind goes with its connection.
        let job = async move |conn: &mut C| Settled::new(conn.migrate(migrations).await);
        self.run(Access::Write, job).await
    }

    /// Waits for a connection, then runs the whole job on one blocking thread.
    ///
    /// The future of the job is made there and never leaves that thread: stable Rust cannot ask an async closure for a
    /// future that is `Send`, and this way it need not be. An own thread also leaves nothing behind for the caller to
    /// cancel half-way.
    async fn run<C, T, E>(
        &self,
        access: Access,
        job: impl AsyncFnOnce(&mut C) -> Settled<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        C: Connection,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let lane = C::lane(&self.shared.pools, access)
            .ok_or_else(|| DbError::Backend { wanted: C::BACKEND, found: self.backend() })?;
        let handle = self.shared.threads.handle.clone();
        let permit = lane.permit(&handle, POOL_WAIT_MAX).await?;
        let pool = lane.pool.clone();
        let shared = Arc::clone(&self.shared);
        let span = tracing::Span::current();
        let (answer, outcome) = oneshot::channel();
        handle.clone().spawn_blocking(move || {
            let result = span.in_scope(|| on_connection(&handle, &pool, job));
            // All of it before the answer: who has that may call again, or drop the database, and find all done.
            drop((pool, permit, shared));
            if answer.send(result).is_err() {
                tracing::debug!(parent: &span, "database work ended after its caller had left");
            }
        });
        outcome.await.unwrap_or_else(|_| Err(DbError::Closed.into()))
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("backend", &self.backend()).finish_non_exhaustive()
    }
}
