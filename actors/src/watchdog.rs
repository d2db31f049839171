//! The watchdog of one runtime: a thread of its own that reports attempts which take too long, also
//! when they keep the thread of everything else.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::clock::{millis, secs};
use crate::router::Router;
use crate::seat::Stuck;

/// The thread ends when this is dropped.
pub(crate) type Leash = Sender<()>;

/// How often it looks: a quarter of the shortest limit, within these bounds.
const TICK: (Duration, Duration) = (millis(5), secs(1));

/// Starts the thread, which ends with the runtime too.
pub(crate) fn start(router: &Arc<Router>) -> Leash {
    let (leash, end) = channel();
    let router = Arc::downgrade(router);
    let watchdog = thread::Builder::new().name("callboard-watchdog".to_owned());
    if let Err(error) = watchdog.spawn(move || watch(&router, &end)) {
        tracing::error!(%error, "no watchdog, the system gives no thread");
    }
    leash
}

fn watch(router: &Weak<Router>, end: &Receiver<()>) {
    let mut tick = TICK.0;
    while end.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
        let Some(router) = router.upgrade() else { return };
        let table = router.table();
        let limits = table.seats().iter().map(|seat| seat.rules.stuck_after);
        tick = limits.min().map_or(TICK.1, |limit| (limit / 4).clamp(TICK.0, TICK.1));
        for seat in table.seats() {
            for stuck in seat.newly_stuck() {
                let Stuck { handler, event, trace_id, attempt, running_for } = stuck;
                tracing::error!(handler, event, %trace_id, attempt, ?running_for, "stuck");
            }
        }
    }
}
