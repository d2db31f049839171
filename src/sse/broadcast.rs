//! All streams of one list: an event enters, its block leaves to all who hear it and is kept for
//! those who come back.

use std::sync::Arc;

use bytes::Bytes;
use callboard_actors::{Bus, Event, EventContext};
use parking_lot::Mutex;

use super::replay::{Kept, Replay, Since};
use super::wire::{self, Out};
use crate::listening::{self, Link, Outlet, Sessions};
use crate::settings::SseSettings;

/// A stream's place among all.
pub(super) type Seat = listening::Seat<Out>;

/// The streams of one list, and what they had.
#[derive(Default)]
pub(super) struct Broadcast {
    pub(super) streams: Arc<Sessions<Out>>,
    /// Locked while an event is numbered and sent and while a stream begins, so that each event is
    /// either kept for it already or sent to it.
    replay: Mutex<Replay>,
}

/// What a client wants to hear.
pub(super) struct Wanted {
    pub(super) names: Vec<&'static str>,
    pub(super) rooms: Vec<String>,
    /// The id of the last event that it had, as it says.
    pub(super) last_id: Option<String>,
}

impl Broadcast {
    /// Opens a stream and gives what it begins with; nothing where there are too many.
    pub(super) fn open(
        &self,
        wanted: Wanted,
        link: &Arc<Link<Out>>,
        bus: &Bus,
        settings: &SseSettings,
    ) -> Option<(Seat, Vec<Bytes>)> {
        let mut replay = self.replay.lock();
        let mut seat = self.streams.admit(link, settings.streams_max)?;
        wanted.names.iter().for_each(|name| seat.subscribe(name));
        wanted.rooms.iter().for_each(|room| seat.join(room));
        replay.begin(settings.replay_max, || bus.new_trace_id());
        let head = replay.head()?;
        let hears = |kept: &Kept| {
            seat.subscriptions.contains(kept.name)
                && kept.room.as_deref().is_none_or(|room| seat.rooms.contains(room))
        };
        let names = wanted.names.iter().copied();
        let since = wanted.last_id.map(|id| replay.since(&id, names, hears));
        let beginning = match since {
            None => vec![wire::beginning(settings.retry, Some(head))],
            Some(Since::Gap(gap)) => vec![wire::beginning_with_gap(settings.retry, head, gap)],
            Some(Since::Blocks(blocks)) => {
                // A client that is lost again before it has all of them must not skip the rest.
                let id = Some(head).filter(|_| blocks.is_empty());
                let beginning = wire::beginning(settings.retry, id);
                std::iter::once(beginning).chain(blocks).collect()
            }
        };
        Some((seat, beginning))
    }
}

impl Outlet for Broadcast {
    fn deliver<E: Event>(
        &self,
        event: &E,
        room: Option<&str>,
        _: &EventContext,
    ) -> Result<(), serde_json::Error> {
        if !self.replay.lock().has_begun() {
            return Ok(());
        }
        let data = serde_json::to_string(event)?;
        let mut replay = self.replay.lock();
        let Some(block) = replay.record(E::NAME, room, &data) else {
            return Ok(());
        };
        self.streams.send(E::NAME, room, || Ok(Out::More(block)))
    }

    fn end_if_stopped(&self) {
        self.streams.end_with_runtime();
    }
}
