//! The HTTP edge: requests enter by a table from route to event, replies leave as JSON and errors
//! as problems. What is not in the table cannot be reached.
//!
//! [`Routes`] is the table, [`Route`] one line of it in full, and [`Problem`] the shape of every
//! error. [`operations()`] adds health, metrics and recent events.

mod percent;
mod problem;
pub use problem::{FieldError, Problem};
mod fields;
mod call;
mod patience;
mod bind;
mod path;
mod mount;
mod exchange;
mod fault;
pub use fault::{RouteFault, RoutesError};
mod route;
pub use route::Route;
mod routes;
pub use routes::Routes;
mod operations;
pub use operations::{not_found, operations};
