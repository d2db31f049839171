//! What goes out to a client over a WebSocket.

use actix_http::ws::{CloseCode, CloseReason};
use bytestring::ByteString;

use crate::listening::{self, Frame};

/// What goes out to a client.
#[derive(Clone, Debug)]
pub(super) enum Out {
    Text(ByteString),
    Ping,
    /// The last frame.
    Close(CloseReason),
}

impl Out {
    fn close(code: CloseCode, why: &str) -> Self {
        Self::Close(CloseReason { code, description: (!why.is_empty()).then(|| why.to_owned()) })
    }
}

impl Frame for Out {
    fn too_slow() -> Self {
        Self::close(CloseCode::Again, "too slow")
    }
}

/// The way to one client.
pub(super) type Link = listening::Link<Out>;

impl Link {
    /// Sends the last frame, after those that wait; says whether it was not sent already.
    pub(super) fn close(&self, code: CloseCode, why: &str) -> bool {
        self.close_with(Out::close(code, why))
    }
}
