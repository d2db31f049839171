//! The HTTP edge: requests enter by a table from route to event, replies leave as JSON and errors
//! as problems. What is not in the table cannot be reached.
//!
//! [`Routes`] is the table, [`Route`] one line of it in full, and [`Problem`] the shape of every
//! error. [`operations()`] adds health, metrics and recent events. With a provider of identities
//! ([`Routes::auth`]) all of it is private unless it says otherwise.

mod percent;
mod problem;
pub use problem::{FieldError, Problem};
mod fields;
mod call;
mod patience;
mod bind;
mod path;
mod mount;
mod private;
mod exchange;
mod fault;
pub use fault::{RouteFault, RoutesError};
mod route;
pub use route::Route;
mod routes;
pub use routes::Routes;
mod operations;
pub(crate) use operations::operations_behind;
pub use operations::{not_found, operations, private_operations};
