//! What a test can track: a publication or a request with all that the builder was told.

use crate::event::{Event, TraceId};
use crate::publish::Publish;
use crate::request::Request;

/// What [`TestBus::track`](crate::testing::TestBus::track) follows: a [`Publish`] or a [`Request`].
pub trait Track: IntoFuture + sealed::Traced {}

impl<E: Event> Track for Publish<E> {}
impl<E: Event, R: Event> Track for Request<E, R> {}

pub(crate) mod sealed {
    use super::{Event, Publish, Request, TraceId};

    pub trait Traced {
        /// The trace that it begins or continues, fixed from now on.
        fn fix_trace_id(&mut self) -> TraceId;
    }

    impl<E: Event> Traced for Publish<E> {
        fn fix_trace_id(&mut self) -> TraceId {
            self.address_mut().fix_trace_id()
        }
    }

    impl<E: Event, R: Event> Traced for Request<E, R> {
        fn fix_trace_id(&mut self) -> TraceId {
            self.address_mut().fix_trace_id()
        }
    }
}
