//! Tokens for tests and small applications: a subject and what it may do enter, a signed text leaves.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, crypto, encode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::fault::JwtError;
use super::key::{has_label, of_library, sound_secret};
use crate::settings::JwtAlgorithm;

/// How long a token is valid by default.
const TTL: Duration = Duration::from_mins(30);

/// The claims that have a method of their own.
const OWN: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "permissions"];

/// Signs JSON Web Tokens. `Debug` does not show the key.
///
/// It keeps no list of what it has signed: a token is valid until its time is over. There is no
/// RS256 here; see [`JwtKey`](super::JwtKey) for verifying it.
///
/// ```
/// use callboard::auth::JwtIssuer;
/// use callboard::secs;
///
/// let issuer = JwtIssuer::hs256("correct horse battery staple, twice over")?.ttl(secs(600));
/// let token = issuer.token("ada").permissions(["orders.read"]).claim("team", 7).sign()?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), callboard::auth::JwtError>(())
/// ```
#[derive(Clone)]
pub struct JwtIssuer {
    key: EncodingKey,
    algorithm: JwtAlgorithm,
    key_id: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    ttl: Duration,
}

/// A token that is not signed yet.
#[must_use = "a token is made by `sign`"]
#[derive(Clone, Debug)]
pub struct JwtToken<'a> {
    issuer: &'a JwtIssuer,
    subject: String,
    permissions: Vec<String>,
    ttl: Duration,
    issued_at: Option<SystemTime>,
    not_before: Option<SystemTime>,
    extra: Map<String, Value>,
    fault: Option<&'static str>,
}

impl JwtIssuer {
    /// Signs with HS256 and a secret of at least 32 bytes.
    ///
    /// # Errors
    /// When the secret is too short, or is a key in PEM.
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let secret = sound_secret(secret.as_ref())?;
        Self::checked(JwtAlgorithm::Hs256, EncodingKey::from_secret(secret))
    }

    /// Signs with ES256 and a P-256 private key in PEM (PKCS #8, `PRIVATE KEY`).
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn es256(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Self::private(JwtAlgorithm::Es256, pem.as_ref(), EncodingKey::from_ec_pem)
    }

    /// Signs with `EdDSA` and an Ed25519 private key in PEM (PKCS #8, `PRIVATE KEY`).
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn eddsa(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Self::private(JwtAlgorithm::EdDsa, pem.as_ref(), EncodingKey::from_ed_pem)
    }

    /// Writes this `kid` into each token. Default: none.
    pub fn key_id(mut self, id: impl Into<String>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// Writes this `iss` into each token. Default: none.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Writes this `aud` into each token. Default: none.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets how long tokens are valid, in whole seconds. Default 30 min.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Begins a token for somebody, without permissions.
    pub fn token(&self, subject: impl Into<String>) -> JwtToken<'_> {
        JwtToken {
            issuer: self,
            subject: subject.into(),
            permissions: Vec::new(),
            ttl: self.ttl,
            issued_at: None,
            not_before: None,
            extra: Map::new(),
            fault: None,
        }
    }

    fn private(
        algorithm: JwtAlgorithm,
        pem: &[u8],
        read: fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>,
    ) -> Result<Self, JwtError> {
        let bad = |reason| JwtError::BadKey { algorithm, reason };
        if !has_label(pem, "PRIVATE KEY") {
            return Err(bad("expected a PEM text with `-----BEGIN PRIVATE KEY-----`"));
        }
        let key =
            read(pem).map_err(|_| bad("the PEM text holds a key of another kind, or none"))?;
        Self::checked(algorithm, key)
    }

    fn checked(algorithm: JwtAlgorithm, key: EncodingKey) -> Result<Self, JwtError> {
        // A trial, because the library below looks at the key only when it uses it.
        if crypto::sign(b"", &key, of_library(algorithm)).is_err() {
            let reason = "the key is not valid, or of another curve";
            return Err(JwtError::BadKey { algorithm, reason });
        }
        Ok(Self { key, algorithm, key_id: None, issuer: None, audience: None, ttl: TTL })
    }
}

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

impl JwtToken<'_> {
    /// Adds permissions, the claim `permissions`.
    pub fn permissions<P: Into<String>>(mut self, names: impl IntoIterator<Item = P>) -> Self {
        self.permissions.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets how long this token is valid from when it was issued, in whole seconds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets when the token was issued, in whole seconds: a time long ago makes one that has
    /// expired. Default: now.
    pub fn issued_at(mut self, time: SystemTime) -> Self {
        self.issued_at = Some(time);
        self
    }

    /// Sets when the token begins to be valid, its `nbf`, in whole seconds. Default: at once.
    pub fn not_before(mut self, time: SystemTime) -> Self {
        self.not_before = Some(time);
        self
    }

    /// Adds a claim of the application's own; of two with one name the later wins. What has a
    /// method of its own is refused when the token is signed.
    pub fn claim(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        if OWN.contains(&name.as_str()) {
            self.fault = Some("a registered claim has a method of its own");
        }
        match serde_json::to_value(value) {
            Ok(value) => _ = self.extra.insert(name, value),
            Err(_) => self.fault = Some("the value of a claim is no JSON"),
        }
        self
    }

    /// Signs the token. It is a secret: whoever has it is believed.
    ///
    /// # Errors
    /// [`JwtError::Signing`] when a claim cannot be written, or the subject is empty.
    pub fn sign(self) -> Result<String, JwtError> {
        let subject_fault = self.subject.is_empty().then_some("the subject is empty");
        if let Some(reason) = self.fault.or(subject_fault) {
            return Err(JwtError::Signing { reason });
        }
        let issued_at = numeric(self.issued_at.unwrap_or_else(SystemTime::now));
        let mut claims = self.extra;
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set("sub", json!(self.subject));
        set("iat", json!(issued_at));
        set("exp", json!(issued_at.saturating_add(self.ttl.as_secs())));
        if !self.permissions.is_empty() {
            set("permissions", json!(self.permissions));
        }
        if let Some(time) = self.not_before {
            set("nbf", json!(numeric(time)));
        }
        let JwtIssuer { key, algorithm, key_id, issuer, audience, .. } = self.issuer;
        for (name, value) in [("iss", issuer), ("aud", audience)] {
            if let Some(value) = value {
                set(name, json!(value));
            }
        }
        let mut header = Header::new(of_library(*algorithm));
        header.kid.clone_from(key_id);
        let reason = "the key does not sign";
        encode(&header, &claims, key).map_err(|_| JwtError::Signing { reason })
    }
}

/// Seconds since 1970; a time before that is 1970.
fn numeric(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
