//! The body of a response that can be ended from outside, even while nobody polls it: a body
//! enters, the same body leaves, and ends when the link is cut.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

use super::link::{Frame, Link};

/// A body on a line that the link can cut. It belongs to one thread.
pub(crate) struct Lifeline<F: Frame> {
    state: Rc<RefCell<State>>,
    link: Arc<Link<F>>,
}

struct State {
    /// `None` once cut.
    body: Option<BoxBody>,
    polled_by: Option<Waker>,
}

impl<F: Frame> Lifeline<F> {
    /// The body is dropped, and all that it holds, as soon as the link is cut. The server polls it
    /// no more while the client takes nothing, so it could not be told in any other way.
    pub(crate) fn new(body: BoxBody, link: &Arc<Link<F>>) -> Self {
        let state = Rc::new(RefCell::new(State { body: Some(body), polled_by: None }));
        let (held, cut) = (Rc::clone(&state), Arc::clone(link));
        actix_rt::spawn(async move {
            cut.until_cut().await;
            let mut state = held.borrow_mut();
            let (body, polled_by) = (state.body.take(), state.polled_by.take());
            drop(state);
            drop(body);
            if let Some(server) = polled_by {
                server.wake();
            }
        });
        Self { state, link: Arc::clone(link) }
    }
}

impl<F: Frame> MessageBody for Lifeline<F> {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let mut state = self.state.borrow_mut();
        let Some(body) = &mut state.body else {
            return Poll::Ready(None);
        };
        let next = Pin::new(body).poll_next(cx);
        state.polled_by = Some(cx.waker().clone());
        next
    }
}

impl<F: Frame> Drop for Lifeline<F> {
    fn drop(&mut self) {
        // Ends the task that waits for it, and the session if it is still there.
        self.link.cut();
    }
}
