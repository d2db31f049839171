//! The threads of one database: a size enters, a runtime of its own leaves, and ends without blocking anybody.

use tokio::runtime::{Builder, Handle, Runtime};

use super::DbError;

/// Threads that serve timers and sockets awaited inside the work; the queries run on threads of their own.
const WORKER_THREADS: usize = 2;

/// Blocking threads beyond one per connection, for what the work itself moves to a blocking thread (files, hashing).
/// Without them such work could wait for a thread that only its own end would set free.
const SPARE_THREADS_MAX: usize = 64;

const THREAD_NAME: &str = "callboard-db";

/// The runtime that all work on a database runs on.
pub(super) struct Threads {
    pub(super) handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    pub(super) fn start(pool_max: u32) -> Result<Self, DbError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .max_blocking_threads(SPARE_THREADS_MAX.saturating_add(pool_max as usize))
            .thread_name(THREAD_NAME)
            .enable_all()
            .build()
            .map_err(|error| DbError::Connect {
                database: THREAD_NAME.to_owned(),
                reason: format!("its threads do not start: {error}"),
            })?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime that is simply dropped waits for its threads, and tokio panics when that happens in async code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
