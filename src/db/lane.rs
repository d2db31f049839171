//! One line of connections: callers enter and wait for a bounded time, the permit to use one connection leaves.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::DbError;

/// What the work wants to do; it decides which line the caller stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Access {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// A pool and the permits to use it.
///
/// The pool has its own waiting line, but nobody ever stands in it: callers wait here, before a thread is taken, so
/// that a thousand waiting callers cost no thread.
#[derive(Debug)]
pub struct Lane<P> {
    pub(super) pool: P,
    permits: Arc<Semaphore>,
    pub(super) size: u32,
    access: Access,
}

impl<P> Lane<P> {
    pub(super) fn new(pool: P, access: Access, size: u32) -> Self {
        // `usize` has at least the 32 bits of `size` on every platform SQLite is bundled for.
        let permits = Arc::new(Semaphore::new(size as usize));
        Self { pool, permits, size, access }
    }

    /// A second pool behind the same permits: work of one pool keeps the other one's work waiting.
    pub(super) fn beside(&self, pool: P, access: Access) -> Self {
        Self { pool, permits: Arc::clone(&self.permits), size: self.size, access }
    }

    /// The clock is that of `runtime`, not the caller's: a test that pauses the caller's clock would otherwise see
    /// each wait for another thread end in a timeout at once.
    pub(super) async fn permit(
        &self,
        runtime: &Handle,
        wait_max: Duration,
    ) -> Result<OwnedSemaphorePermit, DbError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let waiting = {
            let _clock = runtime.enter();
            tokio::time::timeout(wait_max, permit)
        };
        match waiting.await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(DbError::Closed),
            Err(_elapsed) => Err(DbError::PoolTimeout {
                access: self.access.name(),
                size: self.size,
                waited: wait_max,
            }),
        }
    }

    /// Waits until all running work has ended, then refuses all further work.
    pub(super) async fn drain(&self) {
        // An error says that the permits are closed already, by an earlier call or by the lane beside this one.
        if let Ok(_all) = self.permits.acquire_many(self.size).await {
            self.permits.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_size_of_the_lane_and_the_time_waited() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime starts");
        let lane = Lane::new((), Access::Write, 1);
        runtime.block_on(async {
            let held = lane.permit(runtime.handle(), Duration::ZERO).await;
            assert!(held.is_ok());
            let refused = lane.permit(runtime.handle(), Duration::from_millis(1)).await;
            let message = refused.expect_err("the only permit is held").to_string();
            assert_eq!(message, "no write connection came free within 0.001 s: all 1 stayed busy");
            drop(held);
            assert!(lane.permit(runtime.handle(), Duration::ZERO).await.is_ok());
        });
    }
}
