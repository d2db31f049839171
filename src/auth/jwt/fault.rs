//! What can be wrong with the keys of tokens, in words for the one who starts the application.

use std::io;
use std::path::PathBuf;

use crate::settings::JwtAlgorithm;

/// The shortest secret of HS256, in bytes: a shorter one is weaker than the algorithm (RFC 7518,
/// section 3.2).
pub const SECRET_MIN: usize = 32;

/// Says that a key, or a set of keys, cannot be used. No message shows a key or a part of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// The secret of HS256 can be guessed.
    #[error(
        "a secret of HS256 has at least {SECRET_MIN} bytes, this one has {len}: \
         take the output of `openssl rand -base64 48`"
    )]
    ShortSecret {
        /// Its length in bytes.
        len: usize,
    },
    /// What was given as a secret is a key in PEM, which may be public.
    #[error("a secret of HS256 is not a PEM key: take it for RS256, ES256 or EdDSA instead")]
    PemAsSecret,
    /// A PEM text does not hold the key that the algorithm needs.
    #[error("this is not a key for {algorithm}: {reason}")]
    BadKey {
        /// What the key is taken for.
        algorithm: JwtAlgorithm,
        /// What is wrong, and what is expected.
        reason: &'static str,
    },
    /// A file with a key cannot be read.
    #[error("the key file {} cannot be read: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why, in the words of the operating system.
        reason: io::Error,
    },
    /// There is no key at all.
    #[error("there is no key, so no token could be valid: add one")]
    NoKeys,
    /// Two keys have the same id.
    #[error("two keys have the id {id:?}: give each its own, so that a token can name one")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// Settings say which algorithm, but not with which key, or the other way round.
    #[error("the settings do not fit together: {reason}")]
    Settings {
        /// What does not fit.
        reason: &'static str,
    },
    /// A token could not be made.
    #[error("the token cannot be signed: {reason}")]
    Signing {
        /// What is wrong with the token.
        reason: &'static str,
    },
}
