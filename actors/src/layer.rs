//! What wraps a delivery: the contract of a user's own layers, and the machines of the built-in ones.

use std::any::type_name;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::envelope::Envelope;
use crate::error::HandlerResult;

pub(crate) mod breaker;
pub(crate) mod bulkhead;
pub(crate) mod dedupe;
pub(crate) mod limiter;
pub(crate) mod retry;

/// The future of a [`Layer`]. It stays on the handler's thread, so it need not be `Send`.
pub type LayerFuture<'a> = Pin<Box<dyn Future<Output = HandlerResult<()>> + 'a>>;

/// A wrapper around deliveries: sees what comes in, decides whether it goes on, sees the outcome.
///
/// Any `async fn(&Inbound, Next<'_>) -> HandlerResult<()>` is a layer; a struct with state
/// implements the trait. Where it stands is said by the policy that has it:
/// [`Policy::around_delivery`](crate::Policy::around_delivery) or
/// [`Policy::around_attempt`](crate::Policy::around_attempt).
///
/// ```
/// use callboard_actors::{Domain, HandlerError, HandlerResult, Inbound, Next, Policy};
///
/// async fn tenant_only(inbound: &Inbound, next: Next<'_>) -> HandlerResult<()> {
///     if inbound.envelope().metadata().tenant().is_none() {
///         return Err(HandlerError::forbidden("a tenant is required"));
///     }
///     next.run().await
/// }
///
/// let domain = Domain::new("billing").policy(Policy::default().around_delivery(tenant_only));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer",
    label = "this cannot wrap a delivery",
    note = "a layer is an `async fn(&Inbound, Next<'_>) -> HandlerResult<()>`, or implements `Layer`"
)]
pub trait Layer: Send + Sync + 'static {
    /// Handles one delivery, or one attempt; calls [`Next::run`] to let it go on.
    ///
    /// A layer that does not call `next` answers in the handler's place: `Ok` counts as handled,
    /// with no outputs. A panic becomes an error of the kind `Panic`.
    fn call<'a>(&'a self, inbound: &'a Inbound, next: Next<'a>) -> LayerFuture<'a>;

    /// The name by which a printed policy shows it. Default: that of its type.
    fn name(&self) -> &str {
        type_name::<Self>()
    }
}

#[diagnostic::do_not_recommend]
impl<F> Layer for F
where
    F: AsyncFn(&Inbound, Next<'_>) -> HandlerResult<()> + Send + Sync + 'static,
{
    fn call<'a>(&'a self, inbound: &'a Inbound, next: Next<'a>) -> LayerFuture<'a> {
        Box::pin(self(inbound, next))
    }
}

/// What a layer sees of a delivery.
#[derive(Clone, Debug)]
pub struct Inbound {
    pub(crate) envelope: Envelope,
    pub(crate) handler: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) attempt: u32,
}

impl Inbound {
    /// The event, with its context.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The handler's name, `domain.Handler`.
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// The name of the handler's domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Which attempt it is, from 1; 0 around the whole delivery.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// What lies further inside.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    pub(crate) inbound: &'a Inbound,
    pub(crate) rest: &'a [Arc<dyn Layer>],
    pub(crate) inmost: &'a (dyn Fn() -> LayerFuture<'a> + 'a),
    /// Has the actor rebuilt, as after a panic of its own with this text.
    #[cfg(feature = "testing")]
    pub(crate) condemn: &'a (dyn Fn(&str) + 'a),
}

impl Next<'_> {
    /// Lets the delivery go on, and gives its outcome. A second call delivers once more; around a
    /// whole delivery, a handler that dedupes takes that for a duplicate, an error of that kind.
    ///
    /// # Errors
    /// Those of the layers further inside, and of the handler.
    pub async fn run(&self) -> HandlerResult<()> {
        match self.rest {
            [] => (self.inmost)().await,
            [first, rest @ ..] => first.call(self.inbound, Self { rest, ..*self }).await,
        }
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("layers", &self.rest.len()).finish_non_exhaustive()
    }
}
