//! What was sent, and from which line of a test: for the messages of failures.

use std::fmt::{self, Write};
use std::panic::Location;
use std::time::Duration;

/// How long a test waits for what has to come; when it is over, the test has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a body is shown, in characters.
const SHOWN_MAX: usize = 2000;

/// What was sent, and by whom.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) what: String,
    pub(super) body: Option<String>,
    pub(super) by: &'static Location<'static>,
}

impl Sent {
    #[track_caller]
    pub(super) fn new(what: String) -> Self {
        Self { what, body: None, by: Location::caller() }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(body) = &self.body {
            write!(f, " {body}")?;
        }
        write!(f, " (at {})", self.by)
    }
}

/// The text of a body, or as much of it as helps.
pub(super) fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        // Writing to a string cannot fail.
        let _ = write!(shown, "… ({} bytes in all)", body.len());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_body_is_shortened_between_characters() {
        assert_eq!(shown(b"short"), "short");
        let long = "ä".repeat(SHOWN_MAX + 1);
        let shown = shown(long.as_bytes());
        assert!(shown.ends_with("ä… (4002 bytes in all)"), "{shown}");
        assert_eq!(shown.matches('ä').count(), SHOWN_MAX);
    }
}
