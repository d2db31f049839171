//! What goes wrong, as a client reads it: internal errors enter, codes and public texts leave.

use std::borrow::Cow;

use callboard_actors::{ErrorKind, HandlerError, PublishError, RequestError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::auth::Forbidden;
use crate::http::FieldError;
use crate::listening::Denied;

/// The `error` of a frame: a code for programs and a text for people.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

/// Why a payload is not the event that its frame names.
#[derive(Debug)]
pub(super) enum BadPayload {
    /// It is of another type.
    Unreadable {
        /// The path to the field, such as `lines[2].price`; `None` when the whole is wrong.
        field: Option<String>,
        reason: String,
    },
    /// It breaks the rules of its content.
    Invalid(Vec<FieldError>),
}

impl Refusal {
    pub(super) fn new(
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code: code.into(), message: message.into(), details: None }
    }

    pub(super) fn malformed(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new("malformed", reason)
    }

    /// The same for an event that does not exist: a client learns no names by trying them.
    pub(super) fn not_permitted() -> Self {
        Self::new("not_permitted", "this event is not permitted here")
    }

    /// The client is known, but may not do this.
    fn forbidden(forbidden: &Forbidden) -> Self {
        Self::new(forbidden.code(), forbidden.to_string())
    }

    /// It would take a client that is known.
    fn unauthorized() -> Self {
        Self::new("unauthorized", "who asks for this must be known")
    }

    pub(super) fn limit(what: &'static str, max: usize) -> Self {
        Self::new("limit", format!("a session has at most {max} {what}"))
    }

    pub(super) fn binary() -> Self {
        Self::new("unsupported", "only text frames with JSON are understood")
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// An error whose text stays inside.
    pub(super) fn internal(code: &str) -> Self {
        Self {
            code: code.to_owned().into(),
            message: "the event could not be handled".into(),
            details: None,
        }
    }

    fn handler(error: &HandlerError) -> Self {
        if error.is_public() {
            Self {
                code: error.error_code().to_owned().into(),
                message: error.message().to_owned().into(),
                details: error.error_details().cloned(),
            }
        } else if let Some(after) = error.retry_after() {
            Self {
                details: Some(json!({ "retry_after_ms": after.as_millis() })),
                ..Self::new(error.error_code().to_owned(), "too much at once, try again later")
            }
        } else if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Deadline) {
            Self::new("timeout", "the event was not handled in time")
        } else {
            Self::internal(error.error_code())
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotPermitted => Self::not_permitted(),
            Denied::Unknown => Self::unauthorized(),
            Denied::Forbidden(forbidden) => Self::forbidden(&forbidden),
        }
    }
}

impl From<BadPayload> for Refusal {
    fn from(bad: BadPayload) -> Self {
        let (field, reason) = match bad {
            BadPayload::Unreadable { field, reason } => (field, reason),
            BadPayload::Invalid(errors) => {
                return Self {
                    details: Some(json!({ "errors": errors })),
                    ..Self::new("invalid", "the event's content is wrong")
                };
            }
        };
        let message = match &field {
            Some(field) => format!("`{field}`: {reason}"),
            None => reason,
        };
        Self {
            details: field.map(|field| json!({ "field": field })),
            ..Self::new("invalid", message)
        }
    }
}

impl From<&RequestError> for Refusal {
    fn from(error: &RequestError) -> Self {
        match error {
            RequestError::Handler { error, .. } => Self::handler(error),
            RequestError::Timeout { .. } => Self::new("timeout", "no reply in time"),
            RequestError::Full { .. } => Self::full(),
            RequestError::Shutdown { .. } => Self::shutdown(),
            // Names of handlers and types are in the texts of the others.
            error => Self::internal(error.code()),
        }
    }
}

impl From<&PublishError> for Refusal {
    fn from(error: &PublishError) -> Self {
        match error {
            PublishError::Full { .. } => Self::full(),
            PublishError::Shutdown { .. } => Self::shutdown(),
            PublishError::TypeClash { .. } => Self::internal("type_clash"),
            PublishError::TooManyHops { .. } => Self::internal("too_many_hops"),
            _ => Self::internal("refused"),
        }
    }
}

impl Refusal {
    fn full() -> Self {
        Self::new("full", "too much is waiting, try again later")
    }

    fn shutdown() -> Self {
        Self::new("shutdown", "the server is shutting down")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_handlers_and_types_stay_inside() {
        let trace_id = "0af7651916cd43dd8448eb211c80319c".parse().unwrap();
        let (event, registered) = ("user.find", "shop::Secret");
        let handler = || "user.Secret".to_owned();
        let requests = [
            RequestError::Unavailable { event, handler: handler(), trace_id },
            RequestError::Full { event, handler: handler(), queue_max: 1, trace_id },
            RequestError::Ambiguous { event, handlers: handler(), trace_id },
            RequestError::TypeClash { event, registered, trace_id },
            RequestError::Handler {
                event,
                handler: handler(),
                error: HandlerError::retry("Secret").details(json!("Secret")),
                trace_id,
            },
        ];
        let publishes = [
            PublishError::Full { event, handler: handler(), queue_max: 1 },
            PublishError::TypeClash { event, registered },
        ];
        let refusals = requests.iter().map(|error| (Refusal::from(error), error.code()));
        let refused = ["full", "type_clash"];
        let publishes = publishes.iter().map(Refusal::from).zip(refused);
        for (refusal, code) in refusals.chain(publishes) {
            let text = serde_json::to_string(&refusal).unwrap();
            assert!(!text.contains("Secret"), "{text}");
            assert_eq!(refusal.code, code);
        }
    }
}
