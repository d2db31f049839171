//! The settings of authentication: a reader enters, a group leaves whose parts fit together.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::reader::{Reader, Reading};
use super::syntax::{count, optional, secret, text, whole, whole_seconds, word};

const NO_KEY: &str =
    "there is no key to verify tokens with: set AUTH_SECRET or AUTH_PUBLIC_KEY_FILE";

/// How the tokens of clients are verified. By default nothing is set, and no token is valid.
///
/// | `AUTH_SECRET` | `AUTH_PUBLIC_KEY_FILE` | `AUTH_ALGORITHM` | outcome |
/// |---|---|---|---|
/// | not set | not set | not set | no token is valid |
/// | set | not set | `HS256` or not set | HS256 |
/// | not set | set | `RS256`, `ES256` or `EdDSA` | that algorithm |
/// | any other combination | | | a fault |
///
/// `AUTH_KEY_ID`, `AUTH_ISSUER` and `AUTH_AUDIENCE` without a key are a fault too.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuthSettings {
    /// `AUTH_ALGORITHM`: the one algorithm that tokens may be signed with; none.
    pub algorithm: Option<JwtAlgorithm>,
    /// `AUTH_SECRET`: the secret of HS256, at least 32 bytes, which is never shown; none.
    pub secret: Option<SecretString>,
    /// `AUTH_PUBLIC_KEY_FILE`: the PEM file of the public key that verifies tokens; none.
    pub public_key_file: Option<PathBuf>,
    /// `AUTH_KEY_ID`: the `kid` of the key; none, which only tokens without a `kid` match.
    pub key_id: Option<String>,
    /// `AUTH_ISSUER`: the `iss` that a token must have; none, which means any.
    pub issuer: Option<String>,
    /// `AUTH_AUDIENCE`: the `aud` that a token must have; none, which means that it has none.
    pub audience: Option<String>,
    /// `AUTH_LEEWAY`: how far clocks may differ, in whole seconds, 0 to 300; 30.
    pub leeway: Duration,
    /// `AUTH_TOKEN_MAX`: the longest token, in bytes; 8192.
    pub token_max: usize,
    /// `AUTH_KNOWN_TOKENS`: the tokens that are remembered, so that they need not be verified again
    /// until they expire, 0 for none; 1024.
    pub known_tokens: usize,
}

/// An algorithm of RFC 7518 that signs tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256, one secret for signing and verifying: `HS256`.
    Hs256,
    /// RSA PKCS #1 v1.5 with SHA-256: `RS256`.
    Rs256,
    /// ECDSA on P-256 with SHA-256: `ES256`.
    Es256,
    /// Ed25519: `EdDSA`.
    EdDsa,
}

impl JwtAlgorithm {
    const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name that tokens and settings give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for JwtAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AuthSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let algorithm = reader.read(
            "AUTH_ALGORITHM",
            "",
            optional(word(JwtAlgorithm::ALL.map(|algorithm| (algorithm.name(), algorithm)))),
            "algorithm that tokens are signed with",
        );
        let secret =
            reader.read("AUTH_SECRET", "", optional(secret()), "secret that signs tokens, HS256");
        let file = optional(text("the path of a PEM file"));
        let meaning = "file of the public key that verifies tokens";
        let file = reader.read("AUTH_PUBLIC_KEY_FILE", "", file, meaning);
        let named = || optional(text("the text that tokens carry"));
        let key_id = reader.read("AUTH_KEY_ID", "", named(), "`kid` of the key");
        let issuer = reader.read("AUTH_ISSUER", "", named(), "`iss` that a token must have");
        let audience = reader.read("AUTH_AUDIENCE", "", named(), "`aud` that a token must have");
        if algorithm.is_sound() && secret.is_sound() && file.is_sound() {
            demand_one_key(reader, &algorithm, &secret, &file);
            if secret.value.is_none() && file.value.is_none() {
                demand_no_use(reader, [&key_id, &issuer, &audience]);
            }
        }
        Self {
            algorithm: algorithm.value,
            secret: secret.value,
            public_key_file: file.value.map(PathBuf::from),
            key_id: key_id.value,
            issuer: issuer.value,
            audience: audience.value,
            leeway: reader.get(
                "AUTH_LEEWAY",
                "30",
                whole_seconds(0..=300),
                "difference of clocks that is overlooked, in seconds",
            ),
            token_max: reader.get("AUTH_TOKEN_MAX", "8192", count(), "longest token, in bytes"),
            known_tokens: reader.get(
                "AUTH_KNOWN_TOKENS",
                "1024",
                whole(0..=1_000_000),
                "tokens that are remembered, 0 for none",
            ),
        }
    }
}

fn demand_one_key(
    reader: &mut Reader,
    algorithm: &Reading<Option<JwtAlgorithm>>,
    secret: &Reading<Option<SecretString>>,
    file: &Reading<Option<String>>,
) {
    let hs256 = Some(JwtAlgorithm::Hs256);
    match (&secret.value, &file.value, algorithm.value) {
        (Some(_), Some(_), _) => reader.misplaced(
            file,
            "so is AUTH_SECRET: keep the one whose key signs the tokens, unset the other",
        ),
        (Some(_), None, other) if other.is_some() && other != hs256 => reader.misplaced(
            secret,
            "AUTH_ALGORITHM is not HS256: unset it, or set AUTH_PUBLIC_KEY_FILE instead",
        ),
        (None, Some(_), None) => reader.misplaced(
            file,
            "AUTH_ALGORITHM is not: set it to what the key is for, RS256, ES256 or EdDSA",
        ),
        (None, Some(_), other) if other == hs256 => reader.misplaced(
            file,
            "AUTH_ALGORITHM is HS256, which has no public key: set RS256, ES256 or EdDSA",
        ),
        (None, None, Some(_)) => reader.misplaced(algorithm, NO_KEY),
        _ => {}
    }
}

fn demand_no_use(reader: &mut Reader, readings: [&Reading<Option<String>>; 3]) {
    for reading in readings.into_iter().filter(|reading| reading.value.is_some()) {
        reader.misplaced(reading, NO_KEY);
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
