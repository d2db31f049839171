//! What a route does, whatever its type: an event type enters, the functions that know it leave.

use callboard_actors::{Event, Replies, RuntimeBuilder};

use super::bind::Binder;
use super::exchange::{Terms, publishing, requesting};
use super::fields::Fields;
use super::mount::Endpoint;
use super::types::Types;

/// What a route does with its event type, which is erased.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) event: &'static str,
    pub(super) types: Types,
    pub(super) declare: fn(RuntimeBuilder) -> RuntimeBuilder,
    pub(super) fields: fn() -> Fields,
    pub(super) endpoint: fn(Binder, Terms) -> Box<dyn Endpoint>,
}

impl Target {
    pub(super) fn requesting<E: Replies>() -> Self {
        Self {
            event: E::NAME,
            types: Types::requested::<E>(),
            declare: RuntimeBuilder::requests::<E>,
            fields: Fields::of::<E>,
            endpoint: requesting::<E>,
        }
    }

    pub(super) fn publishing<E: Event>() -> Self {
        Self {
            event: E::NAME,
            types: Types::published::<E>(),
            declare: RuntimeBuilder::publishes::<E>,
            fields: Fields::of::<E>,
            endpoint: publishing::<E>,
        }
    }
}
