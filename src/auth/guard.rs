//! Stands at a door: credentials enter, somebody known and permitted leaves, or a refusal.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use callboard_actors::Identity;
use futures_util::poll;
use tokio::time::timeout;

use super::credentials::Credentials;
use super::error::AuthError;
use super::provider::{Authenticated, Provider};
use super::requirement::{Forbidden, Requirement};

/// How long a provider may take. It answers a stranger, who must not hold a connection for long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets in whom a provider knows and a requirement permits.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) requirement: Requirement,
}

/// Why somebody is not let in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Who it is, is not known.
    Unknown(AuthError),
    /// It may not do this.
    Forbidden(Forbidden),
}

impl Guard {
    /// Finds out who shows these credentials, and whether that is enough.
    pub(crate) async fn admit(
        &self,
        credentials: Result<Credentials, AuthError>,
    ) -> Result<Authenticated, Refused> {
        let known = self.identify(credentials).await?;
        self.permit(&known.identity)?;
        Ok(known)
    }

    /// Finds out who shows these credentials.
    pub(crate) async fn identify(
        &self,
        credentials: Result<Credentials, AuthError>,
    ) -> Result<Authenticated, Refused> {
        let credentials = credentials.map_err(Refused::Unknown)?;
        let mut asking = self.provider.authenticate(&credentials);
        let late = |_| Err(AuthError::unavailable("the provider took too long"));
        // Most know at once, and need no timer.
        let answer = match poll!(&mut asking) {
            Poll::Ready(answer) => answer,
            Poll::Pending => timeout(PATIENCE, asking).await.unwrap_or_else(late),
        };
        answer.inspect_err(log_unavailable).map_err(Refused::Unknown)
    }

    /// Whether somebody may come in.
    pub(crate) fn permit(&self, identity: &Identity) -> Result<(), Refused> {
        check(&self.requirement, identity)
    }
}

fn check(requirement: &Requirement, identity: &Identity) -> Result<(), Refused> {
    requirement.check(identity).map_err(|forbidden| {
        tracing::debug!(subject = identity.subject, missing = ?forbidden.missing, "forbidden");
        Refused::Forbidden(forbidden)
    })
}

/// Nobody comes in then, and clients are not told why.
fn log_unavailable(error: &AuthError) {
    if let AuthError::Unavailable { internal } = error {
        tracing::warn!(reason = internal, "{error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::provider::Authenticating;
    use super::*;

    struct Silent;

    impl Provider for Silent {
        fn authenticate<'a>(&'a self, _: &'a Credentials) -> Authenticating<'a> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_does_not_answer_is_not_waited_for() {
        let guard = Guard { provider: Arc::new(Silent), requirement: Requirement::new() };
        let begun = Instant::now();
        let refused = guard.admit(Ok(Credentials::bearer("token"))).await;
        let Err(Refused::Unknown(AuthError::Unavailable { .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
