//! One permit in full: an event type enters with what is demanded of clients; a line of the permit
//! list leaves.

use std::fmt;

use callboard_actors::{Event, Replies};

use super::permits::Permits;
use crate::auth::{Requirement, permission_setters};
use crate::listening::Audience;

/// What clients may do with an event, and who may: the full form of a line in [`Ws`](super::Ws).
#[must_use = "a permit permits nothing until it is in a list"]
pub struct Permit {
    event: &'static str,
    requirement: Requirement,
    enter: Box<Enter>,
}

/// Puts a line into the list.
type Enter = dyn FnOnce(&mut Permits, Requirement);

impl Permit {
    fn new<E: Event>(enter: impl FnOnce(&mut Permits, Requirement) + 'static) -> Self {
        Self { event: E::NAME, requirement: Requirement::new(), enter: Box::new(enter) }
    }

    /// Clients may publish this event.
    pub fn publish<E: Event>() -> Self {
        Self::new::<E>(Permits::publish::<E>)
    }

    /// Clients may request this event; its reply is sent to the client that did.
    pub fn request<E: Replies>() -> Self {
        Self::new::<E>(Permits::request::<E>)
    }

    /// Clients may subscribe to this event.
    pub fn listen<E: Event>() -> Self {
        Self::new::<E>(|permits, requirement| {
            permits.listen::<E>(Audience::Everybody, requirement);
        })
    }

    /// Clients may subscribe to this event, for the rooms in which they are; see
    /// [`Ws::listen_in_room`](super::Ws::listen_in_room).
    pub fn listen_in_room<E: Event>(room: impl Fn(&E) -> &str + Send + Sync + 'static) -> Self {
        Self::new::<E>(|permits, requirement| {
            permits.listen::<E>(Audience::room(room), requirement);
        })
    }

    permission_setters!(requirement);

    pub(super) fn enter(self, permits: &mut Permits) {
        (self.enter)(permits, self.requirement);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("event", &self.event)
            .field("requirement", &self.requirement)
            .finish_non_exhaustive()
    }
}
