//! callboard: an event-driven application framework on actix.
//!
//! Business logic is written as isolated handlers with the runtime of [`callboard_actors`], whose
//! names are all found here too; this crate connects it to the world.
//!
//! The files in the order in which they are best read; each uses only those above it.

pub use callboard_actors::*;

pub mod settings;
pub mod telemetry;
pub mod auth;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "client")]
pub mod client;
mod otlp;
pub mod db;
pub mod health;
pub mod http;
mod listening;
pub mod ws;
pub mod sse;
mod app;
pub use app::{App, AppError, Running};
#[cfg(feature = "testing")]
pub mod testing;

/// What a file with handlers and routes needs.
pub mod prelude {
    pub use crate::http::Routes;
    pub use crate::{
        App, Domain, Event, EventContext, EventHandler, HandlerError, HandlerResult, Policy,
        Replies,
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
