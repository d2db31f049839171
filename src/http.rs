//! The HTTP edge: requests enter by a table from route to event, replies leave as JSON and errors
//! as problems. What is not in the table cannot be reached.
//!
//! [`Routes`] is the table, [`Route`] one line of it in full, [`Rest`] the convention by which names
//! of events become paths, and [`Problem`] the shape of every error. [`Routes::openapi`] describes the
//! table, [`Operations`] adds health, metrics and recent events, and [`Traffic`] counts requests. With
//! a provider of identities ([`Routes::auth`]) all of it is private unless it says otherwise.

mod percent;
mod problem;
pub use problem::{FieldError, Problem};
mod lineage;
pub(crate) use lineage::Lineage;
mod digest;
mod address;
mod quota;
pub use quota::Quota;
mod meter;
pub(crate) use meter::{admit, tell};
mod validity;
pub(crate) use validity::Check;
#[cfg(feature = "validate")]
pub(crate) use validity::check_of;
mod fields;
mod serving;
pub(crate) use serving::Serving;
mod accept;
mod coding;
mod compression;
pub(crate) use compression::compressed;
mod patience;
mod call;
mod bind;
mod path;
mod traffic;
pub use traffic::Traffic;
mod mount;
mod private;
mod exchange;
mod idempotency;
pub use idempotency::{
    Begun, DbIdempotency, IdempotencyAttempt, IdempotencyError, IdempotencyFuture,
    IdempotencyStore, MemoryIdempotency, StoredResponse,
};
mod repeatable;
mod browser;
pub(crate) use browser::{cross_origin, safe_headers};
mod fault;
pub use fault::{RouteFault, RoutesError};
mod description;
mod types;
mod target;
mod route;
pub use route::Route;
mod naming;
mod rest;
pub use rest::Rest;
mod openapi;
pub use openapi::{Info, openapi_json};
#[cfg(feature = "swagger-ui")]
mod docs;
#[cfg(feature = "swagger-ui")]
pub use docs::docs;
mod routes;
pub use routes::Routes;
mod visit;
pub(crate) use visit::{Visit, fault_of_path, visits};
mod exposition;
mod readings;
pub(crate) use readings::ListenerCounts;
mod operations;
pub(crate) use operations::unknown_path;
pub use operations::{Operations, not_found, operations};
