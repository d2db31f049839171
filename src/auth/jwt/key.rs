//! A key that verifies tokens: a secret or a PEM text enters, a key with one algorithm leaves.

use std::fmt;

use jsonwebtoken::crypto::{self, rust_crypto};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::fault::{JwtError, SECRET_MIN};
use crate::settings::JwtAlgorithm;

/// The length of an Ed25519 public key, in bytes.
const ED25519: usize = 32;

/// The shortest modulus of an RSA key, in bytes: 2048 bits (RFC 7518, section 3.3).
const RSA_MIN: usize = 2048 / 8;

/// A key that verifies tokens, for one algorithm only. `Debug` shows neither key nor secret.
///
/// Making one checks the key at once, so that a wrong one is found at the start and not by the
/// first client.
#[derive(Clone)]
pub struct JwtKey {
    id: Option<String>,
    algorithm: JwtAlgorithm,
    decoding: DecodingKey,
}

impl JwtKey {
    /// A secret for HS256, of at least [`SECRET_MIN`] bytes. Whoever verifies with it can sign too.
    ///
    /// # Errors
    /// When the secret is too short, or is a key in PEM: a public key taken for a secret would let
    /// everybody sign.
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let secret = sound_secret(secret.as_ref())?;
        Self::checked(JwtAlgorithm::Hs256, DecodingKey::from_secret(secret))
    }

    /// An RSA public key of 2048 to 4096 bits in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`), for RS256.
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn rs256(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Self::public(JwtAlgorithm::Rs256, pem.as_ref())
    }

    /// A P-256 public key in PEM (`PUBLIC KEY`), for ES256.
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn es256(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Self::public(JwtAlgorithm::Es256, pem.as_ref())
    }

    /// An Ed25519 public key in PEM (`PUBLIC KEY`), for `EdDSA`.
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn eddsa(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Self::public(JwtAlgorithm::EdDsa, pem.as_ref())
    }

    /// Sets the id by which tokens name this key, their `kid`. Default: none.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The one algorithm of this key.
    pub fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    /// The id by which tokens name this key.
    pub fn key_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// A public key for any algorithm that has one.
    pub(super) fn public(algorithm: JwtAlgorithm, pem: &[u8]) -> Result<Self, JwtError> {
        let bad = |reason| JwtError::BadKey { algorithm, reason };
        let labels: &[&str] = match algorithm {
            JwtAlgorithm::Rs256 => &["PUBLIC KEY", "RSA PUBLIC KEY"],
            _ => &["PUBLIC KEY"],
        };
        if !labels.iter().any(|label| has_label(pem, label)) {
            return Err(bad("expected a PEM text with `-----BEGIN PUBLIC KEY-----`"));
        }
        let read = match algorithm {
            JwtAlgorithm::Rs256 => DecodingKey::from_rsa_pem(pem),
            JwtAlgorithm::Es256 => DecodingKey::from_ec_pem(pem),
            JwtAlgorithm::EdDsa => DecodingKey::from_ed_pem(pem),
            JwtAlgorithm::Hs256 => return Err(bad("HS256 has a secret and no public key")),
        };
        let decoding =
            read.map_err(|_| bad("the PEM text holds a key of another kind, or none"))?;
        Self::checked(algorithm, decoding)
    }

    fn checked(algorithm: JwtAlgorithm, decoding: DecodingKey) -> Result<Self, JwtError> {
        let fault = match algorithm {
            JwtAlgorithm::Rs256 => rsa_fault(&decoding),
            JwtAlgorithm::EdDsa => ed25519_fault(&decoding),
            JwtAlgorithm::Hs256 | JwtAlgorithm::Es256 => None,
        };
        if let Some(reason) = fault {
            return Err(JwtError::BadKey { algorithm, reason });
        }
        // A trial, because the library below looks at most keys only when it uses them.
        if crypto::verify("", b"", &decoding, of_library(algorithm)).is_err() {
            let reason = "the key is not valid, or of another curve";
            return Err(JwtError::BadKey { algorithm, reason });
        }
        Ok(Self { id: None, algorithm, decoding })
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

pub(super) fn of_library(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

pub(super) fn sound_secret(secret: &[u8]) -> Result<&[u8], JwtError> {
    if secret.trim_ascii_start().starts_with(b"-----BEGIN ") {
        return Err(JwtError::PemAsSecret);
    }
    if secret.len() < SECRET_MIN {
        return Err(JwtError::ShortSecret { len: secret.len() });
    }
    Ok(secret)
}

/// Whether a PEM text begins, but for blanks, with this label.
pub(super) fn has_label(pem: &[u8], label: &str) -> bool {
    let opening = format!("-----BEGIN {label}-----");
    pem.trim_ascii_start().starts_with(opening.as_bytes())
}

fn rsa_fault(key: &DecodingKey) -> Option<&'static str> {
    let components = rust_crypto::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key;
    let modulus = key.try_get_as_bytes().and_then(components).map(|(modulus, _)| modulus);
    match modulus {
        Err(_) => Some("the key is not a valid RSA key of up to 4096 bits"),
        Ok(modulus) if modulus.len() < RSA_MIN => Some("the key has fewer than 2048 bits"),
        Ok(_) => None,
    }
}

fn ed25519_fault(key: &DecodingKey) -> Option<&'static str> {
    let is_whole = key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == ED25519);
    (!is_whole).then_some("the key is not a valid Ed25519 key")
}
