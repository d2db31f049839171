//! The body of a stream: what it begins with and the frames of a link enter, their bytes leave.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::wire::Out;
use crate::listening::Link;

/// The bytes of one stream.
pub(super) struct Body {
    /// What is sent before anything else; bounded by what is kept.
    beginning: std::vec::IntoIter<Bytes>,
    link: Arc<Link<Out>>,
    is_over: bool,
}

impl Body {
    pub(super) fn new(beginning: Vec<Bytes>, link: Arc<Link<Out>>) -> Self {
        Self { beginning: beginning.into_iter(), link, is_over: false }
    }
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if let Some(block) = self.beginning.next() {
            return Poll::Ready(Some(Ok(block)));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        self.link.poll_next(cx).map(|frame| match frame {
            Out::More(block) => Some(Ok(block)),
            Out::Last(block) => {
                self.is_over = true;
                Some(Ok(block))
            }
        })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.link.abandon();
    }
}
