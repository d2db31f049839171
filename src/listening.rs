//! What WebSocket sessions and streams of events have in common: clients that listen enter with
//! what they want to hear; events of the bus leave to each of them, written once for all.
//!
//! The files in the order in which they are best read; each uses only those above it.

mod link;
pub(crate) use link::{Frame, Link};
mod lifeline;
pub(crate) use lifeline::Lifeline;
mod turns;
pub(crate) use turns::{Turn, turns};
mod sessions;
pub(crate) use sessions::{Seat, Sessions};
mod hub;
pub(crate) use hub::{Audience, Outlet};
mod ears;
pub(crate) use ears::{Denied, Disagreement, Ears, Names, check};
mod visitor;
pub(crate) use visitor::{Door, Visitor};
