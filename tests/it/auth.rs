//! Authentication as an edge uses it: credentials, requirements, tokens and keys.

mod credentials;
#[cfg(feature = "auth")]
mod keys;
mod requirements;
#[cfg(feature = "auth")]
mod tokens;

use callboard::Identity;
use callboard::auth::{AuthError, Authenticating, Credentials, Provider};

/// A provider of an application's own.
struct Guests;

impl Provider for Guests {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
        Box::pin(async move {
            match credentials.token() {
                "guest" => Ok(Identity::new("guest").into()),
                _ => Err(AuthError::unavailable("the list of guests at 10.0.0.7 is away")),
            }
        })
    }
}
