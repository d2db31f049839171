//! One job on one connection: a pool and an async closure enter, its result leaves, and the connection goes back clean.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;

use super::{Connection, DbError};

/// What a job ended with, and whether the next one can have its connection.
pub(super) struct Settled<T, E> {
    result: Result<T, E>,
    reusable: bool,
}

impl<T, E> Settled<T, E> {
    /// A connection on which something failed is closed rather than examined.
    pub(super) fn new(result: Result<T, E>) -> Self {
        let reusable = result.is_ok();
        Self { result, reusable }
    }

    pub(super) fn reusable(result: Result<T, E>) -> Self {
        Self { result, reusable: true }
    }
}

/// Begins, runs the work, and commits or rolls back as its result says.
pub(super) async fn in_transaction<C, T, E>(
    conn: &mut C,
    work: impl AsyncFnOnce(&mut C) -> Result<T, E>,
) -> Settled<T, E>
where
    C: Connection,
    E: From<DbError> + From<diesel::result::Error>,
{
    if let Err(error) = conn.begin().await {
        return Settled::new(Err(error.into()));
    }
    let result = work(conn).await;
    let nested = conn.nested_open().await;
    match (result, nested) {
        (Ok(value), Ok(0)) => Settled::new(conn.commit().await.map(|()| value).map_err(E::from)),
        (Ok(_), Ok(open)) => Settled::new(Err(DbError::NestedOpen { open }.into())),
        (Ok(_), Err(error)) => Settled::new(Err(error.into())),
        // The error of the work is what the caller asked about; closing the connection rolls back as well.
        (Err(error), nested) => Settled {
            result: Err(error),
            reusable: matches!(nested, Ok(0)) && conn.rollback().await.is_ok(),
        },
    }
}

/// Takes a connection, runs the job on it and gives it back, or closes it if the job left it in doubt.
pub(super) fn on_connection<C, T, E>(
    handle: &Handle,
    pool: &C::Pool,
    job: impl AsyncFnOnce(&mut C) -> Settled<T, E>,
) -> Result<T, E>
where
    C: Connection,
    E: From<DbError>,
{
    let mut held = caught(|| handle.block_on(C::checkout(pool))).flatten()?;
    match caught(|| handle.block_on(job(&mut held))) {
        Ok(Settled { result, reusable }) => {
            if !reusable {
                C::discard(held);
            }
            result
        }
        Err(panicked) => {
            C::discard(held);
            tracing::error!(error = %panicked, "database work panicked");
            Err(panicked.into())
        }
    }
}

fn caught<R>(run: impl FnOnce() -> R) -> Result<R, DbError> {
    // Nothing half-changed is seen afterwards: the connection is thrown away, and the rest belonged to the work.
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| DbError::panicked(payload.as_ref()))
}
