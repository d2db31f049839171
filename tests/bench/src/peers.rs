//! The systems side by side: what each has to be able to do, and a file for each.

pub(crate) mod callboard;
pub(crate) mod actix;
pub(crate) mod kameo;
pub(crate) mod ractor;
pub(crate) mod mpsc;

use crate::failure::Failure;
use crate::stage::Ground;
use crate::work::{Order, Tally, Total};

/// Who is wired to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One handler that answers.
    Desk,
    /// The same, an actor with `&mut self`; for the peers there is nothing else.
    Actor,
    /// Three handlers; the last one answers.
    Chain,
    /// So many handlers, each of which gets every order.
    Audience(usize),
    /// Four workers; orders of one key keep their order.
    Keyed,
    /// callboard only: one handler that subscribes by a pattern, and ten whose patterns do not match.
    Patterns,
    /// callboard only: an audience of one on a bus that knows so many other names.
    Names(Known),
    /// callboard only: an audience of one among so many handlers of another event.
    Crowd(usize),
    /// callboard only: an audience of one that can be paused, and has room for what comes meanwhile.
    Backlog,
}

/// How many names a bus knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Ten.
    Few,
    /// A thousand.
    Many,
}

/// How a system is set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) shape: Shape,
    /// Whether what callboard can do without is switched off.
    pub(crate) is_bare: bool,
    /// Counts what the audience has handled.
    pub(crate) tally: Tally,
}

/// How many workers share the keys.
pub(crate) const WORKERS: usize = 4;

/// A system that can be raced.
pub(crate) trait Peer: Clone + Send + Sized + 'static {
    /// As the tables call it.
    const SYSTEM: &'static str;
    /// What it runs on.
    const GROUND: Ground;

    /// Starts its handlers on this thread.
    async fn start(setup: Setup) -> Result<Self, Failure>;
    /// Sends an order to the first handler, and waits for the answer of the last.
    async fn request(&self, order: Order) -> Result<Total, Failure>;
    /// Sends an order to the audience, or to the worker that has its key.
    async fn publish(&self, order: Order) -> Result<(), Failure>;
    /// Has orders wait, or handled again, where it can do that.
    fn pause(&self, _is_paused: bool) {}
}
