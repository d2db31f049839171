//! Where the actors of a handler live, and how many there are.

use std::fmt;

/// How many actors a handler has, and on which threads.
///
/// | instances | actors | an event is handled | keeps |
/// |---|---|---|---|
/// | `One` | one, where the runtime was started | there | order, state, every limit as it is set |
/// | `PerWorker` | one more on each thread that joined | on the thread of who requests it, if its queue is empty; else there | every limit but `concurrency`, which each actor has for itself |
/// | `Threads(n)` | `n`, each on a thread of its own | where there is a free place | order by key, if it is set; `concurrency` for each actor |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instances {
    /// One actor, on the thread that started the runtime.
    #[default]
    One,
    /// One there, and one on each thread that calls
    /// [`Runtime::join_thread`](crate::Runtime::join_thread), as the workers of an HTTP server do:
    /// what is requested there need not wake another thread. For an
    /// [`EventHandler`](crate::EventHandler); an actor with `&mut self` stays one.
    PerWorker,
    /// So many, each on a thread of its own, for handlers that keep a core busy and wait now and
    /// then; [`blocking`](crate::Policy::blocking) is for those that never wait.
    Threads(usize),
}

impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::PerWorker => f.write_str("per_worker"),
            Self::Threads(threads) => write!(f, "threads({threads})"),
        }
    }
}
