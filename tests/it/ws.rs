//! The WebSocket edge over real sockets: what clients may do, what they are told, and how those
//! that do not behave are got rid of.

mod ends;
mod errors;
mod limits;
mod peer;
mod permits;
mod server;
mod silence;
#[cfg(feature = "validate")]
mod validating;
