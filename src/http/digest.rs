//! The digest of texts by which they can be told apart without being kept: bytes enter, 32 bytes
//! leave.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// SHA-256 of some parts, with the length before each, so that no two lists of parts look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Digest {
    pub(super) fn of<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> Self {
        let digest = parts.into_iter().fold(Sha256::new(), |digest, part| {
            digest.chain_update((part.len() as u64).to_be_bytes()).chain_update(part)
        });
        Self(digest.finalize().into())
    }
}

/// In hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
