//! Why somebody is not let in: the finding of a provider enters, what a client may be told leaves.

/// Says that credentials prove nothing.
///
/// What it displays is for clients and says nothing about keys, settings or the application.
///
/// | error | code | 401 | `WWW-Authenticate` |
/// |---|---|---|---|
/// | `Missing`, `Scheme` | `unauthorized` | yes | `Bearer` |
/// | `Malformed`, `BadSignature`, `UnknownKey`, `WrongIssuer`, `WrongAudience` | `invalid_token` | yes | `Bearer error="invalid_token", …` |
/// | `Expired` | `token_expired` | yes | `Bearer error="invalid_token", …` |
/// | `NotYetValid` | `token_not_yet_valid` | yes | `Bearer error="invalid_token", …` |
/// | `Unavailable` | `auth_unavailable` | no: 503 | |
///
/// Source: RFC 6750, section 3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There are no credentials.
    #[error("credentials are missing")]
    Missing,
    /// The credentials are of another scheme than `Bearer`.
    #[error("the scheme of the credentials is not Bearer")]
    Scheme,
    /// The header or the token does not have the form it must have.
    #[error("the credentials are malformed: {reason}")]
    Malformed {
        /// What is wrong with the form.
        reason: &'static str,
    },
    /// The token's time is over.
    #[error("the token has expired")]
    Expired,
    /// The token's time has not begun.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The signature does not fit the key, or the algorithm is not the key's own.
    #[error("the signature of the token is not valid")]
    BadSignature,
    /// No trusted key has the `kid` of the token. Clients are told what `BadSignature` tells.
    #[error("the signature of the token is not valid")]
    UnknownKey,
    /// Somebody else issued the token.
    #[error("the issuer of the token is not trusted")]
    WrongIssuer,
    /// The token is meant for somebody else.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// The provider cannot tell at the moment.
    #[error("credentials cannot be verified at the moment")]
    Unavailable {
        /// Why, for the log; clients are not told.
        internal: String,
    },
}

impl AuthError {
    /// An error for a provider that cannot reach what it needs; `internal` says why, for the log.
    pub fn unavailable(internal: impl Into<String>) -> Self {
        Self::Unavailable { internal: internal.into() }
    }

    /// The stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing | Self::Scheme => "unauthorized",
            Self::Malformed { .. }
            | Self::BadSignature
            | Self::UnknownKey
            | Self::WrongIssuer
            | Self::WrongAudience => "invalid_token",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Unavailable { .. } => "auth_unavailable",
        }
    }

    /// Whether the client is to be answered with 401. It can do nothing about the rest, which is
    /// 503.
    pub fn is_unauthorized(&self) -> bool {
        !matches!(self, Self::Unavailable { .. })
    }

    /// The value of the `WWW-Authenticate` header; none where the answer is not 401.
    ///
    /// Without credentials it names the scheme alone; an error code would blame a client that has
    /// not tried yet.
    pub fn www_authenticate(&self) -> Option<String> {
        match self {
            Self::Unavailable { .. } => None,
            Self::Missing | Self::Scheme => Some("Bearer".to_owned()),
            // No text of an error holds a quote or a backslash, which would need escaping.
            other => Some(format!("Bearer error=\"invalid_token\", error_description=\"{other}\"")),
        }
    }
}
