//! The answer of another service, read to its end.

use std::borrow::Cow;
use std::fmt;

use awc::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::error::ClientError;

/// What another service answered, with its whole body. `Debug` shows neither headers nor body.
#[derive(Clone)]
pub struct ClientResponse {
    pub(super) origin: String,
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

impl ClientResponse {
    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in any case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.as_str().eq_ignore_ascii_case(name))?;
        value.to_str().ok()
    }

    /// All headers; a name may come several times.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// The body, as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Reads the body as JSON, whatever its content type says.
    ///
    /// # Errors
    /// [`ClientError::BadJson`] when it is not, or does not fit the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        let bad = |reason| ClientError::BadJson { origin: self.origin.clone(), reason };
        let value = serde_path_to_error::deserialize(&mut reader);
        let value = value.map_err(|error| bad(error.to_string()))?;
        reader.end().map_err(|error| bad(error.to_string()))?;
        Ok(value)
    }

    /// Lets only successes through.
    ///
    /// # Errors
    /// [`ClientError::Status`] for any status but 200 to 299.
    pub fn error_for_status(self) -> Result<Self, ClientError> {
        if self.is_success() {
            return Ok(self);
        }
        Err(ClientError::Status { origin: self.origin, status: self.status })
    }
}

impl fmt::Debug for ClientResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientResponse")
            .field("origin", &self.origin)
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
