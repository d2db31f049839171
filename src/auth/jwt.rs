//! JSON Web Tokens (RFC 7519): keys verify what clients show, or sign what they are given.
//!
//! The algorithm belongs to the key and is never taken from a token. RSA only verifies: its private
//! keys leak through timing in the library below (RUSTSEC-2023-0071), so nothing here uses one.

mod fault;
pub use fault::{JwtError, SECRET_MIN};
mod key;
pub use key::JwtKey;
mod known;
mod verify;
pub use verify::{JwtProvider, LEEWAY_MAX};
mod issue;
pub use issue::{JwtIssuer, JwtToken};
