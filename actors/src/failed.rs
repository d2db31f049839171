//! The error fact: what the bus publishes under `<name>.error` when a delivery has failed.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::HandlerError;
use crate::event::{ERROR_SUFFIX, EVENT_NAME_MAX, Event};

/// The fact that a handler failed on an event `E`, named `<E::NAME>.error`.
///
/// It is published inside the process, in the same chain, and names the internal error text:
/// permit it to clients only if that is what they should read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(bound = "")]
#[non_exhaustive]
pub struct Failed<E: Event> {
    /// The event that was not handled.
    pub event: E,
    /// The handler that failed.
    pub handler: String,
    /// The error's code.
    pub code: String,
    /// The error's text, internal ones included.
    pub message: String,
    /// How many times it was tried.
    pub attempts: u32,
}

impl<E: Event> Failed<E> {
    pub(crate) fn new(event: E, handler: &str, error: &HandlerError, attempts: u32) -> Self {
        let (code, message) = (error.error_code().to_owned(), error.message().to_owned());
        Self { event, handler: handler.to_owned(), code, message, attempts }
    }
}

impl<E: Event> Event for Failed<E> {
    const NAME: &'static str = ErrorName::<E>::NAME;

    /// That of the event.
    fn key(&self) -> Option<Cow<'_, str>> {
        self.event.key()
    }
}

/// Joins `E::NAME` and the suffix at compile time.
struct ErrorName<E>(PhantomData<E>);

const JOINED_MAX: usize = EVENT_NAME_MAX + ERROR_SUFFIX.len();

impl<E: Event> ErrorName<E> {
    const LEN: usize = E::NAME.len() + ERROR_SUFFIX.len();

    const BYTES: &'static [u8; JOINED_MAX] = &{
        assert!(Self::LEN <= JOINED_MAX, "an event name has at most 200 bytes");
        let mut joined = [0; JOINED_MAX];
        let mut at = 0;
        while at < Self::LEN {
            joined[at] = if at < E::NAME.len() {
                E::NAME.as_bytes()[at]
            } else {
                ERROR_SUFFIX.as_bytes()[at - E::NAME.len()]
            };
            at += 1;
        }
        joined
    };

    const NAME: &'static str = match str::from_utf8(Self::BYTES.split_at(Self::LEN).0) {
        Ok(name) => name,
        Err(_) => panic!("two strings joined are a string"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Serialize, Deserialize, JsonSchema)]
    struct Grown {}
    impl Event for Grown {
        const NAME: &'static str = "tree.grown";
    }

    #[test]
    fn the_name_is_the_event_s_name_with_a_suffix() {
        assert_eq!(Failed::<Grown>::NAME, "tree.grown.error");
    }
}
