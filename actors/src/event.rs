//! What travels: the event traits a user implements, and the identifiers that every event carries.

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest event name, in bytes.
pub const EVENT_NAME_MAX: usize = 200;

/// The ending that is reserved for the error facts which the bus publishes itself.
pub(crate) const ERROR_SUFFIX: &str = ".error";

/// A typed event: a serde struct with a name on the wire.
///
/// By convention an order is named in the imperative (`user.create`) and a fact in the past
/// (`user.created`); the part before the first dot is the domain that publishes it.
///
/// ```
/// use callboard_actors::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
/// pub struct UserCreated {
///     pub id: i64,
/// }
/// impl Event for UserCreated {
///     const NAME: &'static str = "user.created";
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "this type has no event name",
    note = "add: impl Event for {Self} {{ const NAME: &'static str = \"domain.verb\"; }}",
    note = "an event also derives Clone, Serialize, Deserialize and JsonSchema"
)]
pub trait Event: Clone + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The name by which the bus routes: lower case, at least two parts joined by dots, at most
    /// [`EVENT_NAME_MAX`] bytes.
    const NAME: &'static str;

    /// What the event is about, such as the identifier of an order: events of one key are kept in
    /// order by [`Policy::ordered_by_key`](crate::Policy::ordered_by_key). Default: none.
    ///
    /// It is asked once, when the event is published.
    fn key(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// An event that has an answer; only such events can be requested.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no reply, so it cannot be requested",
    label = "nothing answers this event",
    note = "add: impl Replies for {Self} {{ type Reply = TheAnswer; }}, or publish it instead"
)]
pub trait Replies: Event {
    /// The event that answers.
    type Reply: Event;
}

/// Identifies one published event: a UUID version 7, so identifiers sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub(crate) Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies one chain of events, across processes: a W3C trace id, written as 32 lower-case
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub(crate) Uuid);

impl TraceId {
    /// Its text, written into a buffer: where each request has one, that costs less than `Display`.
    pub fn encode(self, buffer: &mut [u8; 32]) -> &str {
        self.0.as_simple().encode_lower(buffer)
    }
}

/// A text that is not a trace id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a trace id is 32 hexadecimal digits, not all zero")]
#[non_exhaustive]
pub struct BadTraceId;

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TraceId {
    type Err = BadTraceId;

    fn from_str(text: &str) -> Result<Self, BadTraceId> {
        let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match Uuid::try_parse(text) {
            Ok(id) if plain && !id.is_nil() => Ok(Self(id)),
            _ => Err(BadTraceId),
        }
    }
}

impl Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_simple().serialize(serializer)
    }
}

/// An event type as the runtime knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventType {
    pub(crate) name: &'static str,
    pub(crate) type_id: TypeId,
    pub(crate) type_name: &'static str,
}

impl EventType {
    pub(crate) fn of<E: Event>() -> Self {
        let (name, type_id, type_name) = (E::NAME, TypeId::of::<E>(), std::any::type_name::<E>());
        Self { name, type_id, type_name }
    }
}

/// Says whether `name` can be an event name, and if not, why.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if name.len() > EVENT_NAME_MAX {
        Err("longer than 200 bytes")
    } else if !name.contains('.') {
        Err("an event name has a domain and a verb, like `user.create`")
    } else if !name.split('.').all(part) {
        Err("only lower-case letters, digits, `_` and single dots between the parts are allowed")
    } else {
        Ok(())
    }
}
