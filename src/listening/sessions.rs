//! The table of all sessions: who listens to what and is in which room. Events enter, frames leave
//! to those who hear them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use callboard_actors::Bus;
use parking_lot::RwLock;

use super::link::{Frame, Link};

/// All sessions of one permit list. It outlives the hub's restarts.
pub(crate) struct Sessions<F> {
    state: RwLock<State<F>>,
    last_id: AtomicU64,
    slow_consumers: Arc<AtomicU64>,
    bus: OnceLock<Bus>,
}

struct State<F> {
    links: HashMap<u64, Arc<Link<F>>>,
    listeners: HashMap<&'static str, HashMap<u64, Arc<Link<F>>>>,
    rooms: HashMap<String, HashSet<u64>>,
}

/// A session's place in the table, which is given back when it is dropped.
pub(crate) struct Seat<F: Frame> {
    id: u64,
    sessions: Arc<Sessions<F>>,
    link: Arc<Link<F>>,
    pub(crate) subscriptions: HashSet<&'static str>,
    pub(crate) rooms: HashSet<String>,
}

impl<F> Default for Sessions<F> {
    fn default() -> Self {
        let state =
            State { links: HashMap::new(), listeners: HashMap::new(), rooms: HashMap::new() };
        Self {
            state: RwLock::new(state),
            last_id: AtomicU64::new(0),
            slow_consumers: Arc::default(),
            bus: OnceLock::new(),
        }
    }
}

impl<F: Frame> Sessions<F> {
    /// A place for a session, unless there are `sessions_max` already.
    pub(crate) fn admit(
        self: &Arc<Self>,
        link: &Arc<Link<F>>,
        sessions_max: usize,
    ) -> Option<Seat<F>> {
        let mut state = self.state.write();
        if state.links.len() >= sessions_max {
            return None;
        }
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        state.links.insert(id, Arc::clone(link));
        Some(Seat {
            id,
            sessions: Arc::clone(self),
            link: Arc::clone(link),
            subscriptions: HashSet::new(),
            rooms: HashSet::new(),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.state.read().links.len()
    }

    pub(crate) fn slow_consumers(&self) -> &Arc<AtomicU64> {
        &self.slow_consumers
    }

    /// Remembers which bus the sessions are on.
    pub(crate) fn on_bus(&self, bus: &Bus) {
        self.bus.get_or_init(|| bus.clone());
    }

    /// Brings all sessions to their end if the runtime has come to its own.
    pub(crate) fn end_with_runtime(&self) {
        let runs = |bus: &Bus| bus.health().is_running;
        if self.bus.get().is_none_or(runs) {
            return;
        }
        for link in self.state.read().links.values() {
            link.end();
        }
    }

    /// Sends a frame to all who listen to the event, and are in the room if there is one. The
    /// frame is written once, and only when somebody hears it.
    pub(crate) fn send<E>(
        &self,
        event: &'static str,
        room: Option<&str>,
        frame: impl FnOnce() -> Result<F, E>,
    ) -> Result<(), E> {
        if self.state.read().audience(event, room).next().is_none() {
            return Ok(());
        }
        let frame = frame()?;
        // Under the lock, so that nothing follows the acknowledgement of an `unsubscribe`.
        for link in self.state.read().audience(event, room) {
            link.push(frame.clone());
        }
        Ok(())
    }
}

impl<F> State<F> {
    fn audience<'s>(
        &'s self,
        event: &'static str,
        room: Option<&str>,
    ) -> impl Iterator<Item = &'s Arc<Link<F>>> + use<'s, F> {
        let listeners = self.listeners.get(event);
        let members = room.map(|room| self.rooms.get(room));
        let everybody = listeners.filter(|_| room.is_none()).into_iter();
        let members = members.flatten().into_iter().flatten();
        everybody.flat_map(HashMap::values).chain(members.filter_map(move |id| listeners?.get(id)))
    }
}

impl<F: Frame> Seat<F> {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn subscribe(&mut self, event: &'static str) {
        if self.subscriptions.insert(event) {
            let mut state = self.sessions.state.write();
            let listeners = state.listeners.entry(event).or_default();
            listeners.insert(self.id, Arc::clone(&self.link));
        }
    }

    pub(crate) fn unsubscribe(&mut self, event: &str) {
        if let Some(event) = self.subscriptions.take(event) {
            self.sessions.state.write().remove_listener(event, self.id);
        }
    }

    pub(crate) fn join(&mut self, room: &str) {
        if self.rooms.insert(room.to_owned()) {
            let mut state = self.sessions.state.write();
            state.rooms.entry(room.to_owned()).or_default().insert(self.id);
        }
    }

    pub(crate) fn leave(&mut self, room: &str) {
        if self.rooms.remove(room) {
            self.sessions.state.write().remove_member(room, self.id);
        }
    }
}

impl<F: Frame> Drop for Seat<F> {
    fn drop(&mut self) {
        let mut state = self.sessions.state.write();
        state.links.remove(&self.id);
        for event in &self.subscriptions {
            state.remove_listener(event, self.id);
        }
        for room in &self.rooms {
            state.remove_member(room, self.id);
        }
        // A connection never outlives its session.
        self.link.cut();
    }
}

impl<F> State<F> {
    /// Rooms and names that nobody is interested in leave nothing behind.
    fn remove_listener(&mut self, event: &str, id: u64) {
        if let Some(listeners) = self.listeners.get_mut(event) {
            listeners.remove(&id);
            if listeners.is_empty() {
                self.listeners.remove(event);
            }
        }
    }

    fn remove_member(&mut self, room: &str, id: u64) {
        if let Some(members) = self.rooms.get_mut(room) {
            members.remove(&id);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_gone_leaves_nothing_in_the_table() {
        let sessions = Arc::new(Sessions::<&'static str>::default());
        let link = Link::new(1, Arc::clone(sessions.slow_consumers()));
        let mut seats = [(); 2].map(|()| sessions.admit(&link, 2).unwrap());
        assert!(sessions.admit(&link, 2).is_none());
        for seat in &mut seats {
            seat.subscribe("a.b");
            seat.subscribe("c.d");
            seat.join("lobby");
            seat.join("cellar");
        }
        seats[0].unsubscribe("a.b");
        seats[0].leave("lobby");
        drop(seats);
        let state = sessions.state.read();
        assert!(state.links.is_empty() && state.listeners.is_empty() && state.rooms.is_empty());
    }
}
