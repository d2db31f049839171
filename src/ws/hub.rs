//! The actor between the bus and the sessions: each event that may be listened to enters, and one
//! frame leaves to all who hear it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use callboard_actors::{Delivery, Event, HandlerResult};

use super::frame::Notice;
use super::sessions::Sessions;

/// Reads the name of the room out of an event whose type the rule knows.
type RoomOf = dyn for<'e> Fn(&'e dyn Any) -> Option<&'e str> + Send + Sync;

/// Who hears an event of those who subscribed to it.
#[derive(Clone)]
pub(super) enum Audience {
    Everybody,
    Room(Arc<RoomOf>),
}

impl Audience {
    pub(super) fn room<E: Event>(room: impl Fn(&E) -> &str + Send + Sync + 'static) -> Self {
        // Written in place: only against the type of the rule is its lifetime understood.
        Self::Room(Arc::new(move |event| event.downcast_ref().map(&room)))
    }
}

/// Hands events to sessions. What it knows is in the shared table, so a restart forgets nothing.
pub(super) struct Hub {
    pub(super) sessions: Arc<Sessions>,
    pub(super) audiences: Arc<HashMap<&'static str, Audience>>,
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.sessions.end_if_stopped();
    }
}

impl<E: Event> Handler<Delivery<E>> for Hub {
    type Result = HandlerResult<()>;

    fn handle(&mut self, delivery: Delivery<E>, _: &mut Context<Self>) -> HandlerResult<()> {
        let (event, context) = delivery.into_parts();
        let room = match self.audiences.get(E::NAME) {
            Some(Audience::Everybody) => None,
            Some(Audience::Room(room_of)) => match room_of(&*event) {
                Some(room) => Some(room),
                None => return Ok(()),
            },
            None => return Ok(()),
        };
        let frame = || {
            let notice = Notice {
                event_type: Some(E::NAME),
                payload: Some(&*event),
                id: None,
                trace_id: Some(context.trace_id()),
                error: None,
            };
            notice.write()
        };
        Ok(self.sessions.deliver(E::NAME, room, frame)?)
    }
}
