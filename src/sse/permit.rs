//! One event in full: its type enters with what is demanded of clients; a line of the list leaves.

use std::fmt;

use callboard_actors::Event;

use super::permits::Permits;
use crate::auth::{Requirement, permission_setters};
use crate::listening::Audience;

/// An event that clients may listen to, and who may: the full form of a line in [`Sse`](super::Sse).
#[must_use = "a permit permits nothing until it is in a list"]
pub struct Permit {
    event: &'static str,
    requirement: Requirement,
    enter: Box<Enter>,
}

/// Puts a line into the list.
type Enter = dyn FnOnce(&mut Permits, Requirement);

impl Permit {
    fn new<E: Event>(audience: Audience) -> Self {
        let enter = move |permits: &mut Permits, requirement| {
            permits.listen::<E>(audience, requirement);
        };
        Self { event: E::NAME, requirement: Requirement::new(), enter: Box::new(enter) }
    }

    /// Clients may listen to this event.
    pub fn listen<E: Event>() -> Self {
        Self::new::<E>(Audience::Everybody)
    }

    /// Clients may listen to this event, for the rooms that they name; see
    /// [`Sse::listen_in_room`](super::Sse::listen_in_room).
    pub fn listen_in_room<E: Event>(room: impl Fn(&E) -> &str + Send + Sync + 'static) -> Self {
        Self::new::<E>(Audience::room(room))
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
