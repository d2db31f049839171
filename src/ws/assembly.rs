//! A message in fragments: its parts enter, the whole text leaves, within limits.

use actix_http::ws::{CloseCode, Item};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

/// The most fragments of one message; empty ones would otherwise never reach the limit of bytes.
const FRAGMENTS_MAX: usize = 1024;

/// The message that is being put together.
pub(super) struct Assembly {
    message_max: usize,
    bytes: BytesMut,
    fragments: usize,
    is_binary: bool,
}

/// What a fragment led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assembled {
    /// More has to come.
    Part,
    Text(ByteString),
    Binary,
}

impl Assembly {
    /// Messages have at most `message_max` bytes.
    pub(super) fn new(message_max: usize) -> Self {
        Self { message_max, bytes: BytesMut::new(), fragments: 0, is_binary: false }
    }

    /// Takes the next fragment. That fragments come in order is the decoder's promise.
    ///
    /// # Errors
    /// Why the connection has to close.
    pub(super) fn add(&mut self, item: Item) -> Result<Assembled, CloseCode> {
        match item {
            Item::FirstText(bytes) => self.begin(&bytes, false),
            Item::FirstBinary(bytes) => self.begin(&bytes, true),
            Item::Continue(bytes) => self.append(&bytes),
            Item::Last(bytes) => {
                self.append(&bytes)?;
                self.finish()
            }
        }
    }

    fn begin(&mut self, bytes: &Bytes, is_binary: bool) -> Result<Assembled, CloseCode> {
        self.bytes.clear();
        self.fragments = 0;
        self.is_binary = is_binary;
        self.append(bytes)
    }

    fn append(&mut self, bytes: &Bytes) -> Result<Assembled, CloseCode> {
        self.fragments += 1;
        let fits = self.bytes.len() + bytes.len() <= self.message_max;
        if !fits || self.fragments > FRAGMENTS_MAX {
            return Err(CloseCode::Size);
        }
        // What is refused in the end need not be kept.
        if !self.is_binary {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(Assembled::Part)
    }

    fn finish(&mut self) -> Result<Assembled, CloseCode> {
        if self.is_binary {
            return Ok(Assembled::Binary);
        }
        let bytes = std::mem::take(&mut self.bytes).freeze();
        let text = ByteString::try_from(bytes).map_err(|_| CloseCode::Invalid)?;
        Ok(Assembled::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 8;

    fn put(items: impl IntoIterator<Item = Item>) -> Result<Assembled, CloseCode> {
        let mut assembly = Assembly::new(MAX);
        items.into_iter().try_fold(Assembled::Part, |_, item| assembly.add(item))
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn fragments_become_one_text() {
        let parts =
            [Item::FirstText(bytes("ab")), Item::Continue(bytes("")), Item::Last(bytes("c"))];
        assert_eq!(put(parts), Ok(Assembled::Text("abc".into())));
    }

    #[test]
    fn a_character_may_be_cut_but_not_broken() {
        let [e1, e2] = [0xc3, 0xa9];
        let whole = [Item::FirstText(Bytes::from(vec![e1])), Item::Last(Bytes::from(vec![e2]))];
        assert_eq!(put(whole), Ok(Assembled::Text("é".into())));
        let broken = [Item::FirstText(Bytes::from(vec![e1])), Item::Last(bytes("a"))];
        assert_eq!(put(broken), Err(CloseCode::Invalid));
    }

    #[test]
    fn the_limit_is_on_the_whole() {
        let of = |last| put([Item::FirstText(bytes("12345")), Item::Last(bytes(last))]);
        assert!(matches!(of("678"), Ok(Assembled::Text(_))));
        assert_eq!(of("6789"), Err(CloseCode::Size));
    }

    #[test]
    fn endless_empty_fragments_end() {
        let more = std::iter::repeat_with(|| Item::Continue(bytes("")));
        let parts = [Item::FirstText(bytes(""))].into_iter().chain(more);
        assert_eq!(put(parts.take(FRAGMENTS_MAX)), Ok(Assembled::Part));
        let more = std::iter::repeat_with(|| Item::Continue(bytes("")));
        assert_eq!(put(more.take(FRAGMENTS_MAX + 1)), Err(CloseCode::Size));
    }
}
