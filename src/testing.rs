//! What tests need: the bus in virtual time of `callboard_actors`, and a client of a whole
//! application over real sockets.

pub use callboard_actors::testing::*;

mod idempotency_store;
pub use idempotency_store::idempotency_store_conformance;
mod exchange;
mod response;
pub use response::TestResponse;
mod request;
pub use request::TestRequest;
mod session;
pub use session::{TestHandshake, TestSession};
mod app;
pub use app::TestApp;
