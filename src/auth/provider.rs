//! The contract of whoever can tell who a client is: credentials enter, an identity leaves.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use callboard_actors::Identity;

use super::{AuthError, Credentials};

/// What [`Provider::authenticate`] returns; `Box::pin(async move { .. })` makes one.
pub type Authenticating<'a> =
    Pin<Box<dyn Future<Output = Result<Authenticated, AuthError>> + Send + 'a>>;

/// Who a client was found to be. An [`Identity`] becomes one that holds for good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authenticated {
    /// Who it is.
    pub identity: Identity,
    /// Until when the proof holds; what lives longer than a request ends then. `None`: for good.
    pub expires_at: Option<SystemTime>,
}

impl Authenticated {
    /// Sets until when the proof holds.
    pub fn until(mut self, expires_at: SystemTime) -> Self {
        self.expires_at = Some(expires_at);
        self
    }
}

impl From<Identity> for Authenticated {
    fn from(identity: Identity) -> Self {
        Self { identity, expires_at: None }
    }
}

/// Tells who a client is.
///
/// It is asked on any thread, at any time, and by many at once. What it returns goes into the
/// context of all that the client sets off.
///
/// ```
/// use callboard::Identity;
/// use callboard::auth::{AuthError, Authenticating, Credentials, Provider};
///
/// struct OneKey(&'static str);
///
/// impl Provider for OneKey {
///     fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
///         Box::pin(async move {
///             match credentials.token() == self.0 {
///                 true => Ok(Identity::new("operator").into()),
///                 false => Err(AuthError::BadSignature),
///             }
///         })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell who a client is",
    label = "not a provider of identities",
    note = "take a `JwtProvider`, or add: impl auth::Provider for {Self} {{ .. }}",
    note = "a provider is also Send, Sync and 'static"
)]
pub trait Provider: Send + Sync + 'static {
    /// Finds out whose credentials these are.
    ///
    /// # Errors
    /// [`AuthError`]. An implementation that fails for a reason of its own returns
    /// [`AuthError::Unavailable`], never an identity.
    ///
    /// # Cancel safety
    /// The future is dropped when the client has gone or took too long; an implementation must not
    /// leave anything half done then. The edges wait 5 s at most, and answer 503 after that.
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a>;
}

#[diagnostic::do_not_recommend]
impl<P: Provider + ?Sized> Provider for Arc<P> {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
        (**self).authenticate(credentials)
    }
}
