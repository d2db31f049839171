//! How the task behind a handler is called: by its supervisor, by whoever changed something that it
//! has to look at, from any thread.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Why a host is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Call {
    /// Look again whether the next event may be taken.
    Look = 1,
    /// End the actors, and ask what follows.
    Recall = 2,
    /// Finish what was begun, and end: the handler is gone.
    Quit = 4,
    /// End for good, now.
    Retire = 8,
}

/// The bell of one host, which answers several calls at once.
#[derive(Default)]
pub(crate) struct Bell {
    calls: AtomicU8,
    host: AtomicWaker,
}

/// The calls since the last answer.
#[derive(Clone, Copy)]
pub(crate) struct Calls(u8);

impl Bell {
    pub(crate) fn ring(&self, call: Call) {
        self.calls.fetch_or(call as u8, Ordering::AcqRel);
        self.host.wake();
    }

    /// Takes the calls, and has the task woken at the next one.
    pub(crate) fn answer(&self, cx: &Context<'_>) -> Calls {
        self.host.register(cx.waker());
        if self.calls.load(Ordering::Acquire) == 0 {
            return Calls(0);
        }
        Calls(self.calls.swap(0, Ordering::AcqRel))
    }
}

impl Calls {
    pub(crate) fn has(self, call: Call) -> bool {
        self.0 & call as u8 != 0
    }
}
