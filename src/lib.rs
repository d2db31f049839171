//! callboard: an event-driven application framework on actix.
//!
//! Business logic is written as isolated handlers with the runtime of [`callboard_actors`], whose
//! names are all found here too; this crate connects it to the world.
//!
//! The files in the order in which they are best read; each uses only those above it.

pub use callboard_actors::*;

pub mod settings;
pub mod db;

/// What a file with handlers needs.
pub mod prelude {
    pub use callboard_actors::prelude::*;
}
