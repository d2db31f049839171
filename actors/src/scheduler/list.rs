//! The schedules of one runtime that have not ended: a bounded list that closes when it stops.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::scheduler::entry::Entry;

/// The schedules that have not ended, oldest first.
pub(crate) struct Schedules {
    kept: Mutex<Kept>,
    max: usize,
}

#[derive(Default)]
struct Kept {
    entries: Vec<Arc<Entry>>,
    latest_id: u64,
    is_closed: bool,
}

/// Why a schedule was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full { max: usize },
    Closed,
}

/// Takes a schedule off the list when it is dropped.
pub(crate) struct Listed {
    schedules: Arc<Schedules>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.schedules.remove(self.id);
    }
}

impl Schedules {
    pub(crate) fn new(max: usize) -> Self {
        Self { kept: Mutex::default(), max }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Adds the schedule that is built for a new id. It stays until the guard is dropped or it is
    /// removed.
    pub(crate) fn add(
        self: &Arc<Self>,
        build: impl FnOnce(u64) -> Entry,
    ) -> Result<(Arc<Entry>, Listed), Refused> {
        let mut kept = self.kept.lock();
        if kept.is_closed {
            return Err(Refused::Closed);
        }
        if kept.entries.len() >= self.max {
            return Err(Refused::Full { max: self.max });
        }
        kept.latest_id += 1;
        let id = kept.latest_id;
        let entry = Arc::new(build(id));
        kept.entries.push(Arc::clone(&entry));
        Ok((entry, Listed { schedules: Arc::clone(self), id }))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.kept.lock().entries.clone()
    }

    pub(crate) fn remove(&self, id: u64) {
        let mut kept = self.kept.lock();
        let at = kept.entries.iter().position(|entry| entry.id == id);
        let removed = at.map(|at| kept.entries.remove(at));
        drop(kept);
        // The last handle may be this one, and the event's own `Drop` may ask for the list.
        drop(removed);
    }

    /// Cancels all schedules; none can be added after.
    pub(crate) fn close(&self) {
        let mut kept = self.kept.lock();
        kept.is_closed = true;
        let entries = std::mem::take(&mut kept.entries);
        drop(kept);
        for entry in entries {
            entry.end.cancel();
        }
    }
}
