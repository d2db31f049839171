//! How every domain refuses a field of an event: a permanent error that names the field.

use std::fmt::Display;

use callboard::HandlerError;
use serde_json::json;

/// The event can never be handled, because of this field.
pub fn invalid(field: impl Display, message: impl Into<String>) -> HandlerError {
    HandlerError::reject(message).details(json!({ "field": field.to_string() }))
}
