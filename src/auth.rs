//! Who a client is and what it may do: credentials enter, a verified [`Identity`] or a refusal
//! leaves.
//!
//! A [`Provider`] tells who somebody is, a [`Requirement`] what somebody must be permitted. The
//! provider that verifies JSON Web Tokens needs the feature `auth`, which is on by default; the
//! rest is always there, so that an edge needs no feature to keep strangers out.
//!
//! [`Identity`]: crate::Identity

mod error;
pub use error::AuthError;
mod credentials;
pub use credentials::Credentials;
mod provider;
pub use provider::{Authenticated, Authenticating, Provider};
mod requirement;
pub(crate) use requirement::permission_setters;
pub use requirement::{Forbidden, Requirement};
mod guard;
pub(crate) use guard::{Guard, Refused};
mod access;
pub(crate) use access::Access;
#[cfg(feature = "auth")]
mod jwt;
pub use crate::settings::JwtAlgorithm;
#[cfg(feature = "auth")]
pub use jwt::{JwtError, JwtIssuer, JwtKey, JwtProvider, JwtToken, LEEWAY_MAX, SECRET_MIN};
