//! The provider that believes signed tokens: a token enters, the identity in it or a refusal leaves.

use std::collections::HashSet;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use callboard_actors::Identity;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::fault::JwtError;
use super::key::{JwtKey, of_library};
use super::known::Known;
use crate::auth::{AuthError, Authenticated, Authenticating, Credentials, Provider};
use crate::settings::{AuthSettings, JwtAlgorithm};

/// The greatest leeway: more would make short-lived tokens long-lived.
pub const LEEWAY_MAX: Duration = Duration::from_mins(5);

/// How far clocks may differ by default.
const LEEWAY: Duration = Duration::from_secs(30);

/// The longest token by default, in bytes; servers rarely take longer headers.
const TOKEN_MAX: usize = 8 * 1024;

/// How many tokens are remembered by default.
const KNOWN_TOKENS: usize = 1024;

/// Believes JSON Web Tokens that one of its keys has signed. Cheap to clone.
///
/// What is checked, in this order: the length of the token, its form, the key that it names, that
/// its algorithm is the one of that key, its signature, `exp`, `nbf`, `iss`, `aud`, `sub`.
///
/// | in the token | outcome |
/// |---|---|
/// | a `kid` | only the key of this id is tried |
/// | no `kid` | the keys without an id are tried; a single key is, whatever its id |
/// | `alg` is `none`, or not the one of the key | refused |
/// | `exp` is missing or over, `nbf` lies ahead | refused, but for the [`leeway`](Self::leeway) |
/// | `iss` | must be one of [`issuer`](Self::issuer), if there is one |
/// | `aud` | one of it must be one of [`audience`](Self::audience); without any, refused |
/// | `crit` in the header | refused: nothing critical is understood |
///
/// The identity is `sub`, a text that is not empty; its permissions are those of the list
/// `permissions` and the words of `scope`. It holds until `exp` and the leeway are over.
///
/// ```
/// use callboard::auth::{JwtIssuer, JwtKey, JwtProvider};
///
/// let secret = "correct horse battery staple, twice over";
/// let provider = JwtProvider::new([JwtKey::hs256(secret)?.id("2026-01")])?
///     .issuer("https://id.example")
///     .audience("shop");
///
/// let issuer = JwtIssuer::hs256(secret)?
///     .key_id("2026-01")
///     .issuer("https://id.example")
///     .audience("shop");
/// let token = issuer.token("ada").permissions(["orders.read"]).sign()?;
/// let ada = provider.verify(&token)?;
/// assert_eq!(ada.subject, "ada");
/// assert_eq!(ada.permissions, ["orders.read"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct JwtProvider {
    keys: Arc<[Trusted]>,
    token_max: usize,
    known: Arc<Known>,
}

/// A key with what the tokens must hold that it has signed.
#[derive(Clone)]
struct Trusted {
    key: JwtKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    /// Seconds since 1970, in any form: it is validated elsewhere.
    exp: Option<serde_json::Value>,
    permissions: Option<Vec<String>>,
    scope: Option<String>,
}

impl JwtProvider {
    /// Trusts these keys.
    ///
    /// # Errors
    /// When there is no key, or two have the same id.
    pub fn new(keys: impl IntoIterator<Item = JwtKey>) -> Result<Self, JwtError> {
        let keys: Arc<[Trusted]> = keys.into_iter().map(Trusted::new).collect();
        if keys.is_empty() {
            return Err(JwtError::NoKeys);
        }
        let mut ids = HashSet::new();
        if let Some(id) = keys.iter().filter_map(|key| key.key.key_id()).find(|id| !ids.insert(*id))
        {
            return Err(JwtError::DuplicateId { id: id.to_owned() });
        }
        Ok(Self { keys, token_max: TOKEN_MAX, known: Arc::new(Known::new(KNOWN_TOKENS)) })
    }

    /// Trusts the key of the settings; `None` when they name none. It reads the file of the key, so
    /// it belongs before the start and not on a thread that serves.
    ///
    /// # Errors
    /// When the key cannot be read or used.
    pub fn from_settings(settings: &AuthSettings) -> Result<Option<Self>, JwtError> {
        let Some(mut key) = configured_key(settings)? else {
            return Ok(None);
        };
        if let Some(id) = &settings.key_id {
            key = key.id(id);
        }
        let mut provider = Self::new([key])?.leeway(settings.leeway);
        provider = provider.token_max(settings.token_max).known_tokens(settings.known_tokens);
        if let Some(issuer) = &settings.issuer {
            provider = provider.issuer(issuer);
        }
        if let Some(audience) = &settings.audience {
            provider = provider.audience(audience);
        }
        Ok(Some(provider))
    }

    /// Demands this `iss`; called again, it allows another one too. Default: any, or none.
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        let issuer = issuer.into();
        self.demanding(|validation| {
            validation.iss.get_or_insert_default().insert(issuer.clone());
            validation.required_spec_claims.insert("iss".to_owned());
        })
    }

    /// Demands this `aud`; called again, it allows another one too. Default: a token must have
    /// none, because one that has is meant for somebody else.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        let audience = audience.into();
        self.demanding(|validation| {
            validation.aud.get_or_insert_default().insert(audience.clone());
            validation.required_spec_claims.insert("aud".to_owned());
        })
    }

    /// Sets how far the clocks of issuer and verifier may differ, in whole seconds; more than
    /// [`LEEWAY_MAX`], 5 min, counts as that. Default 30 s.
    pub fn leeway(self, leeway: Duration) -> Self {
        let leeway = leeway.min(LEEWAY_MAX).as_secs();
        self.demanding(|validation| validation.leeway = leeway)
    }

    /// Sets the longest token, in bytes. Default 8 KiB.
    pub fn token_max(mut self, bytes: usize) -> Self {
        self.token_max = bytes;
        self
    }

    /// Sets how many tokens are remembered, so that one that comes again need not be verified again
    /// until it expires; 0 for none. Of more than that the ones that came last are remembered, by
    /// their digests. Default 1024.
    pub fn known_tokens(mut self, tokens: usize) -> Self {
        self.known = Arc::new(Known::new(tokens));
        self
    }

    /// Does at once what [`authenticate`](Provider::authenticate) does: no key is ever fetched. It
    /// takes well below a millisecond of computing.
    ///
    /// # Errors
    /// Any [`AuthError`] but `Missing`, `Scheme` and `Unavailable`.
    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        self.know(token).map(|known| known.identity)
    }

    fn know(&self, token: &str) -> Result<Authenticated, AuthError> {
        if token.len() > self.token_max {
            return Err(malformed("the token is too long"));
        }
        self.known.get_or_find(token, || self.examine(token))
    }

    fn examine(&self, token: &str) -> Result<Authenticated, AuthError> {
        let header = decode_header(token).map_err(|_| malformed("this is not a signed token"))?;
        if header.crit.is_some() {
            return Err(malformed("the header has a critical part that is not understood"));
        }
        let is_candidate = |trusted: &&Trusted| match (&header.kid, trusted.key.key_id()) {
            (Some(wanted), id) => id == Some(wanted),
            (None, None) => true,
            (None, Some(_)) => self.keys.len() == 1,
        };
        let mut refusal = AuthError::UnknownKey;
        for trusted in self.keys.iter().filter(is_candidate) {
            match trusted.claims(token) {
                Ok(claims) => return claims.known(trusted.validation.leeway),
                // Another key may have signed it.
                Err(AuthError::BadSignature) => refusal = AuthError::BadSignature,
                Err(other) => return Err(other),
            }
        }
        Err(refusal)
    }

    fn demanding(mut self, change: impl Fn(&mut Validation)) -> Self {
        let keys = self.keys.iter().cloned().map(|mut trusted| {
            change(&mut trusted.validation);
            trusted
        });
        self.keys = keys.collect();
        self.known = Arc::new(self.known.renewed());
        self
    }
}

impl Provider for JwtProvider {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Authenticating<'a> {
        Box::pin(ready(self.know(credentials.token())))
    }
}

impl fmt::Debug for JwtProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&JwtKey> = self.keys.iter().map(|trusted| &trusted.key).collect();
        f.debug_struct("JwtProvider").field("keys", &keys).finish_non_exhaustive()
    }
}

impl Trusted {
    fn new(key: JwtKey) -> Self {
        let mut validation = Validation::new(of_library(key.algorithm()));
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        Self { key, validation }
    }

    fn claims(&self, token: &str) -> Result<Claims, AuthError> {
        let decoded = decode(token, self.key.decoding(), &self.validation);
        decoded.map(|decoded| decoded.claims).map_err(|error| refusal(error.kind()))
    }
}

impl Claims {
    fn known(self, leeway: u64) -> Result<Authenticated, AuthError> {
        // A time so far ahead that no clock has it is as good as none.
        let seconds = self.exp.as_ref().and_then(serde_json::Value::as_f64);
        let end = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let end = end.and_then(|end| UNIX_EPOCH.checked_add(end));
        let expires_at = end.and_then(|end| end.checked_add(Duration::from_secs(leeway)));
        Ok(Authenticated { expires_at, ..self.identity()?.into() })
    }

    fn identity(self) -> Result<Identity, AuthError> {
        let subject = self.sub.filter(|sub| !sub.is_empty());
        let mut identity = Identity::new(subject.ok_or(malformed("the token has no `sub`"))?);
        let scope = self.scope.unwrap_or_default();
        let scope = scope.split(' ').map(str::to_owned);
        for permission in self.permissions.into_iter().flatten().chain(scope) {
            if !permission.is_empty() && !identity.permissions.contains(&permission) {
                identity.permissions.push(permission);
            }
        }
        Ok(identity)
    }
}

fn refusal(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => AuthError::BadSignature,
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidIssuer => AuthError::WrongIssuer,
        ErrorKind::InvalidAudience => AuthError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => AuthError::WrongIssuer,
            "aud" => AuthError::WrongAudience,
            _ => malformed("the token has no `exp`"),
        },
        ErrorKind::InvalidClaimFormat(_) => malformed("`exp` or `nbf` is not a time"),
        _ => malformed("the claims of the token do not have their form"),
    }
}

fn configured_key(settings: &AuthSettings) -> Result<Option<JwtKey>, JwtError> {
    let unfit = |reason| Err(JwtError::Settings { reason });
    match (&settings.secret, &settings.public_key_file, settings.algorithm) {
        (None, None, None) => Ok(None),
        (Some(secret), None, None | Some(JwtAlgorithm::Hs256)) => {
            JwtKey::hs256(secret.expose_secret()).map(Some)
        }
        (None, Some(path), Some(algorithm)) => {
            let pem = std::fs::read(path)
                .map_err(|reason| JwtError::File { path: path.clone(), reason })?;
            JwtKey::public(algorithm, &pem).map(Some)
        }
        (Some(_), Some(_), _) => unfit("there are a secret and a public key: keep one"),
        (Some(_), None, Some(_)) => unfit("a secret is for HS256 only"),
        (None, Some(_), None) => unfit("a public key needs its algorithm"),
        (None, None, Some(_)) => unfit("the algorithm has no key: set a secret or a key file"),
    }
}

fn malformed(reason: &'static str) -> AuthError {
    AuthError::Malformed { reason }
}
