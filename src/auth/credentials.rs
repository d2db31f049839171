//! What a client shows to prove who it is: the values of a header enter, credentials leave.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::AuthError;

/// The longest value of an `Authorization` header that is looked at, in bytes.
const HEADER_MAX: usize = 64 * 1024;

const SCHEME: &str = "Bearer";

/// What a client shows. `Debug` never shows the secret.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A bearer token (RFC 6750): whoever has it is believed.
    Bearer(SecretString),
}

impl Credentials {
    /// A bearer token from elsewhere than a header, such as the first frame of a session. Its form
    /// is checked by whoever verifies it.
    pub fn bearer(token: impl Into<String>) -> Self {
        Self::Bearer(SecretString::from(token.into()))
    }

    /// Reads the values of all `Authorization` headers of a request.
    ///
    /// ```
    /// use callboard::auth::{AuthError, Credentials};
    ///
    /// let credentials = Credentials::from_authorization([b"Bearer eyJ0.eyJz.c2ln"])?;
    /// assert_eq!(credentials.token(), "eyJ0.eyJz.c2ln");
    ///
    /// let nothing: [&[u8]; 0] = [];
    /// assert_eq!(Credentials::from_authorization(nothing).unwrap_err(), AuthError::Missing);
    /// # Ok::<(), AuthError>(())
    /// ```
    ///
    /// # Errors
    /// [`AuthError::Missing`] without a value, [`AuthError::Scheme`] for another scheme than
    /// `Bearer`, whose case does not matter, and [`AuthError::Malformed`] for several values, for
    /// more than 64 KiB, and for anything that is not one token of RFC 6750.
    pub fn from_authorization<V: AsRef<[u8]>>(
        values: impl IntoIterator<Item = V>,
    ) -> Result<Self, AuthError> {
        let mut values = values.into_iter();
        let value = values.next().ok_or(AuthError::Missing)?;
        if values.next().is_some() {
            return Err(malformed("there are several Authorization headers"));
        }
        parse(value.as_ref())
    }

    /// The token. Keep it out of logs.
    pub fn token(&self) -> &str {
        let Self::Bearer(token) = self;
        token.expose_secret()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Bearer(token) = self;
        f.debug_tuple("Bearer").field(token).finish()
    }
}

fn parse(value: &[u8]) -> Result<Credentials, AuthError> {
    if value.len() > HEADER_MAX {
        return Err(malformed("the Authorization header is too long"));
    }
    let Ok(value) = str::from_utf8(value) else {
        return Err(malformed("the Authorization header is not text"));
    };
    let value = value.trim_matches([' ', '\t']);
    if value.is_empty() {
        return Err(malformed("the Authorization header is empty"));
    }
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(AuthError::Scheme);
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() {
        return Err(malformed("there is no token behind Bearer"));
    }
    if !is_token(token) {
        return Err(malformed("what stands behind Bearer is not a token"));
    }
    Ok(Credentials::bearer(token))
}

/// Whether a text is a `b64token` of RFC 6750, section 2.1.
fn is_token(text: &str) -> bool {
    let odd = |c: u8| {
        let plain =
            c.is_ascii_alphanumeric() | matches!(c, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        u8::from(!plain)
    };
    let body = text.trim_end_matches('=');
    // Without an early end, many bytes are looked at in one step.
    !body.is_empty() && body.bytes().fold(0, |any, c| any | odd(c)) == 0
}

fn malformed(reason: &'static str) -> AuthError {
    AuthError::Malformed { reason }
}
