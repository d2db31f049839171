//! Strict percent-decoding: a piece of a URI enters, its text leaves, or the finding that it holds
//! none.

use std::borrow::Cow;

/// A stray `%`, or bytes that are not UTF-8.
#[derive(Debug)]
pub(super) struct BadEncoding;

/// Decodes one segment of a path.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, BadEncoding> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                decoded.push(digit(*high)? << 4 | digit(*low)?);
                tail
            }
            (b'%', _) => return Err(BadEncoding),
            (byte, tail) => {
                decoded.push(*byte);
                tail
            }
        };
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| BadEncoding)
}

/// Decodes a name or a value of a query string, in which `+` is a space.
pub(super) fn decode_query(text: &str) -> Result<Cow<'_, str>, BadEncoding> {
    if text.contains('+') {
        decode(&text.replace('+', " ")).map(|text| Cow::Owned(text.into_owned()))
    } else {
        decode(text)
    }
}

fn digit(byte: u8) -> Result<u8, BadEncoding> {
    let digit = char::from(byte).to_digit(16).ok_or(BadEncoding)?;
    u8::try_from(digit).map_err(|_| BadEncoding)
}
