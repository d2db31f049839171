//! Where systems run: one thread with an actix system and a tokio runtime, and threads of their own.

use std::future::pending;
use std::sync::mpsc;
use std::thread;

use actix_rt::{Arbiter, System, SystemRunner};
use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;
use crate::machine;
use crate::peers::{Peer, Setup};

/// What a system runs on: each on what it is at home on, all on one thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// An actix system.
    Actix,
    /// A current-thread tokio runtime.
    Tokio,
}

/// The runtimes of this thread. While one works the other stands still, so that no system is slowed
/// down by what another left behind.
pub(crate) struct Stage {
    actix: SystemRunner,
    tokio: Runtime,
}

impl Stage {
    pub(crate) fn new() -> Result<Self, Failure> {
        let tokio = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { actix: System::new(), tokio })
    }

    /// Runs a future to its end.
    pub(crate) fn run<F: Future>(&self, ground: Ground, future: F) -> F::Output {
        match ground {
            Ground::Actix => self.actix.block_on(future),
            Ground::Tokio => self.tokio.block_on(future),
        }
    }

    /// Starts a system on this thread.
    pub(crate) fn here<P: Peer>(&self, setup: Setup) -> Result<P, Failure> {
        self.run(P::GROUND, P::start(setup))
    }

    /// Starts a system on a thread of its own, where it stays until the process ends.
    pub(crate) fn away<P: Peer>(&self, setup: Setup) -> Result<P, Failure> {
        let (started, peer) = mpsc::channel();
        match P::GROUND {
            Ground::Actix => {
                let arbiter = self.actix.block_on(async { Arbiter::new() });
                arbiter.spawn_fn(move || {
                    machine::pin(machine::AWAY);
                    // Whoever waits for it is still there, or nobody needs it.
                    actix_rt::spawn(async move { drop(started.send(P::start(setup).await)) });
                });
            }
            Ground::Tokio => {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                thread::spawn(move || {
                    machine::pin(machine::AWAY);
                    runtime.block_on(async move {
                        drop(started.send(P::start(setup).await));
                        pending::<()>().await;
                    });
                });
            }
        }
        peer.recv().map_err(|error| Failure::of(P::SYSTEM)(&error))?
    }
}
