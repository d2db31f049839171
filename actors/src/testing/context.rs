//! A context for the test of one handler: identity, tenant, headers, attempt and time left enter.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::context::EventContext;
use crate::envelope::{About, Identity, Metadata};
use crate::event::TraceId;

/// A context to be made for the test of one handler, without a runtime.
///
/// [`EventContext::test`] is the short form, for a handler that looks at none of this.
///
/// ```
/// use callboard_actors::Identity;
/// use callboard_actors::testing::TestContext;
///
/// let ctx = TestContext::new()
///     .identity(Identity::new("ada"))
///     .tenant("acme")
///     .header("locale", "fr")
///     .attempt(3)
///     .build();
/// assert_eq!(ctx.identity().unwrap().subject, "ada");
/// assert_eq!((ctx.tenant(), ctx.header("locale")), (Some("acme"), Some("fr")));
/// assert_eq!(ctx.attempt(), 3);
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is no context until it is built"]
pub struct TestContext {
    trace_id: Option<TraceId>,
    identity: Option<Identity>,
    tenant: Option<String>,
    headers: BTreeMap<String, String>,
    source: String,
    remaining: Option<Duration>,
    attempt: u32,
}

impl Default for TestContext {
    fn default() -> Self {
        Self {
            trace_id: None,
            identity: None,
            tenant: None,
            headers: BTreeMap::new(),
            source: "test".to_owned(),
            remaining: None,
            attempt: 1,
        }
    }
}

impl TestContext {
    /// A first attempt, on nobody's behalf.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the trace id of the chain. Default: a random one.
    pub fn trace_id(mut self, trace_id: TraceId) -> Self {
        self.trace_id = Some(trace_id);
        self
    }

    /// Says on whose behalf.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Says for which customer of the application.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Adds a header of the chain.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Says who published the event. Default `test`.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Says how long the requester still waits, from [`build`](Self::build) on. Default: nobody
    /// set a limit.
    pub fn remaining(mut self, left: Duration) -> Self {
        self.remaining = Some(left);
        self
    }

    /// Says which attempt it is, from 1. Default 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Makes the context. What the handler publishes can be read with
    /// [`EventContext::published`], and its requests answer `NoHandler`.
    pub fn build(self) -> EventContext {
        let Self { trace_id, identity, tenant, headers, source, remaining, attempt } = self;
        let fill = |metadata: &mut Metadata| {
            metadata.trace_id = trace_id.unwrap_or(metadata.trace_id);
            *metadata.about_mut() = About { identity, tenant, headers };
            metadata.deadline = remaining.map(|left| Instant::now() + left);
        };
        EventContext::of_test(fill, &source, attempt)
    }
}
