//! The actor between the bus and the clients that listen: each event that may be listened to enters,
//! and one frame leaves to all who hear it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use callboard_actors::{Delivery, Event, EventContext, HandlerResult};

/// Reads the name of the room out of an event whose type the rule knows.
type RoomOf = dyn for<'e> Fn(&'e dyn Any) -> Option<&'e str> + Send + Sync;

/// Who hears an event of those who subscribed to it.
#[derive(Clone)]
pub(crate) enum Audience {
    Everybody,
    Room(Arc<RoomOf>),
}

impl Audience {
    pub(crate) fn room<E: Event>(room: impl Fn(&E) -> &str + Send + Sync + 'static) -> Self {
        // Written in place: only against the type of the rule is its lifetime understood.
        Self::Room(Arc::new(move |event| event.downcast_ref().map(&room)))
    }
}

/// Who writes frames, and to whom they go.
pub(crate) trait Outlet: Send + Sync + 'static {
    /// Sends an event to all who listen to it, and are in the room if there is one.
    ///
    /// # Errors
    /// The event's own `Serialize` failed.
    fn deliver<E: Event>(
        &self,
        event: &E,
        room: Option<&str>,
        context: &EventContext,
    ) -> Result<(), serde_json::Error>;

    /// Brings all who listen to their end if the runtime has come to its own.
    fn end_if_stopped(&self);
}

/// Hands events to an outlet. All that is known is there, so a restart forgets nothing.
pub(crate) struct Hub<O> {
    pub(crate) outlet: Arc<O>,
    pub(crate) audiences: Arc<HashMap<&'static str, Audience>>,
}

impl<O: Outlet> Actor for Hub<O> {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.outlet.end_if_stopped();
    }
}

impl<O: Outlet, E: Event> Handler<Delivery<E>> for Hub<O> {
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
        Ok(self.outlet.deliver(&*event, room, &context)?)
    }
}
