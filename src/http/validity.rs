//! The check of an event's content before it enters the bus: an event whose type is erased enters,
//! all that is wrong with it leaves.

use std::any::Any;

#[cfg(feature = "validate")]
use garde::Validate;

use super::problem::{FieldError, Problem};

/// Finds what is wrong with an event of one type.
pub(crate) type Check = fn(&dyn Any) -> Vec<FieldError>;

/// The check that a type brings along.
#[cfg(feature = "validate")]
pub(crate) fn check_of<E: Validate<Context: Default> + 'static>() -> Check {
    |event| {
        let Some(event) = event.downcast_ref::<E>() else {
            // Two types under one name; the runtime does not start with them.
            return vec![FieldError::new("", "the event is of another type than its check")];
        };
        let Err(report) = event.validate() else {
            return Vec::new();
        };
        let faults = report.iter();
        faults.map(|(path, error)| FieldError::new(path.to_string(), error.message())).collect()
    }
}

/// Lets an event pass with which nothing is wrong.
///
/// # Errors
/// The problem that names each wrong field.
pub(super) fn pass(event: &dyn Any, check: Option<Check>) -> Result<(), Problem> {
    let errors = check.map(|check| check(event)).unwrap_or_default();
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}
