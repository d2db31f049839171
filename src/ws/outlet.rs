//! How an event is sent to all sessions that listen to it: written once, as a frame of text.

use callboard_actors::{Event, EventContext};

use super::frame::Notice;
use super::link::Out;
use crate::listening::{self, Outlet};

/// The sessions of one permit list.
pub(super) type Sessions = listening::Sessions<Out>;

/// A session's place among them.
pub(super) type Seat = listening::Seat<Out>;

impl Outlet for Sessions {
    fn deliver<E: Event>(
        &self,
        event: &E,
        room: Option<&str>,
        context: &EventContext,
    ) -> Result<(), serde_json::Error> {
        let notice = Notice {
            event_type: Some(E::NAME),
            payload: Some(event),
            id: None,
            trace_id: Some(context.trace_id()),
            error: None,
        };
        self.send(E::NAME, room, || notice.write().map(Out::Text))
    }

    fn end_if_stopped(&self) {
        self.end_with_runtime();
    }
}
