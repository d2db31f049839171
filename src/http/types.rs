//! The types that a route speaks, by their schemas: what it takes and what it gives.

use callboard_actors::{Event, Replies};
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};

/// Adds a type to the schemas that a generator knows.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The types of one route.
#[derive(Clone, Copy)]
pub(super) struct Types {
    pub(super) event: SchemaOf,
    /// None where the answer is that the event was published.
    pub(super) reply: Option<Reply>,
}

/// The type of a reply.
#[derive(Clone, Copy)]
pub(super) struct Reply {
    pub(super) name: &'static str,
    pub(super) schema: SchemaOf,
}

impl Types {
    pub(super) fn requested<E: Replies>() -> Self {
        let reply = Reply { name: E::Reply::NAME, schema: schema_of::<E::Reply> };
        Self { event: schema_of::<E>, reply: Some(reply) }
    }

    pub(super) fn published<E: Event>() -> Self {
        Self { event: schema_of::<E>, reply: None }
    }
}
