//! What can be wrong with a table of routes, in words for the one who wrote it.

use std::fmt::Write as _;

/// Everything that is wrong with a table of routes.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} in the routes:{}", count(.faults.len()), list(.faults))]
#[non_exhaustive]
pub struct RoutesError {
    /// The faults, none of which hides another.
    pub faults: Vec<RouteFault>,
}

/// One thing that is wrong with a route. `route` is its line in the listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteFault {
    /// A path that no route can have.
    #[error("`{route}`: {reason}")]
    BadPath {
        /// The route.
        route: String,
        /// What is wrong with the path.
        reason: &'static str,
    },
    /// A parameter of the path that would be lost.
    #[error("`{route}`: the event has no field `{parameter}`")]
    UnknownParameter {
        /// The route.
        route: String,
        /// The parameter.
        parameter: String,
    },
    /// Two routes for one request.
    #[error("`{first}` and `{second}` take the same requests")]
    Duplicate {
        /// A route.
        first: String,
        /// Another one.
        second: String,
    },
    /// Two routes with one name for generated programs.
    #[error("`{first}` and `{second}` have the same operation id, `{id}`")]
    SharedId {
        /// The id.
        id: String,
        /// A route.
        first: String,
        /// Another one.
        second: String,
    },
    /// A check of an event that has no route.
    #[error("`{event}` is to be valid, but no route takes it")]
    UnusedCheck {
        /// The event.
        event: &'static str,
    },
    /// An event that path, query and body cannot make.
    #[error("`{route}`: the event is not a struct with named fields")]
    NoFields {
        /// The route.
        route: String,
    },
    /// A status for successes that is none.
    #[error("`{route}`: {status} is not the status of a success, 200 to 299")]
    BadStatus {
        /// The route.
        route: String,
        /// The status.
        status: u16,
    },
    /// A status for errors that is none.
    #[error("`{route}`: {status}, for `{code}`, is not the status of an error, 400 to 599")]
    BadErrorStatus {
        /// The route.
        route: String,
        /// The code of the error.
        code: String,
        /// The status.
        status: u16,
    },
    /// Permissions that nobody can have, or that nobody asks for.
    #[error("`{route}`: {reason}")]
    BadAccess {
        /// The route.
        route: String,
        /// What is wrong, and what to do about it.
        reason: &'static str,
    },
    /// A rate limit that cannot work.
    #[error("`{route}`: {reason}")]
    BadQuota {
        /// The route.
        route: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An `Idempotency-Key` where doing it twice is no different.
    #[error(
        "`{route}`: GET changes nothing, so it needs no Idempotency-Key: leave out `idempotent`"
    )]
    NeedlessKey {
        /// The route.
        route: String,
    },
    /// A timeout that cannot work.
    #[error("`{route}`: the timeout is 0, or longer than a year")]
    BadTimeout {
        /// The route.
        route: String,
    },
}

fn count(faults: usize) -> String {
    if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") }
}

fn list(faults: &[RouteFault]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  - {fault}");
        text
    })
}
