//! The codings of contents: plain bytes enter and gzip leaves, or the other way round, within a
//! limit.

use std::io::{self, Read, Write};

use actix_web::web;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Up to so many bytes are worked on where they are; it takes a millisecond or less. More goes to
/// another thread.
const INLINE_MAX: usize = 32 * 1024;

/// What unpacking is done in, in bytes.
const STEP: usize = 16 * 1024;

/// Why bytes could not be unpacked.
#[derive(Debug)]
pub(super) enum Unpacking {
    /// They are more than the limit.
    TooLarge,
    /// They are no gzip, or not all of it.
    Broken(String),
}

/// Packs bytes; none where that makes them no shorter.
pub(super) async fn pack(bytes: Bytes) -> Option<Bytes> {
    let before = bytes.len();
    let packed = if before <= INLINE_MAX {
        gzip(&bytes).ok()
    } else {
        web::block(move || gzip(&bytes)).await.ok()?.ok()
    };
    packed.filter(|packed| packed.len() < before).map(Bytes::from)
}

/// Unpacks bytes up to a limit. A few of them can hold a thousand times as many, so it is counted
/// while they come out.
pub(super) async fn unpack(bytes: Bytes, max: usize) -> Result<Bytes, Unpacking> {
    if bytes.len() <= INLINE_MAX && max <= INLINE_MAX {
        return gunzip(&bytes, max);
    }
    let unpacked = web::block(move || gunzip(&bytes, max)).await;
    unpacked.map_err(|error| Unpacking::Broken(error.to_string()))?
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn gunzip(bytes: &[u8], max: usize) -> Result<Bytes, Unpacking> {
    let mut decoder = MultiGzDecoder::new(bytes);
    let (mut plain, mut step) = (Vec::new(), vec![0; STEP]);
    loop {
        match decoder.read(&mut step) {
            Ok(0) => return Ok(plain.into()),
            Ok(more) if more > max - plain.len() => return Err(Unpacking::TooLarge),
            Ok(more) => plain.extend_from_slice(&step[..more]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unpacking::Broken(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out_again_up_to_the_limit() {
        let plain = vec![b'a'; 100_000];
        let packed = gzip(&plain).unwrap();
        assert!(packed.len() < 1_000);
        assert_eq!(gunzip(&packed, 100_000).unwrap(), plain);
        assert!(matches!(gunzip(&packed, 99_999), Err(Unpacking::TooLarge)));
        let twice = [&packed[..], &packed].concat();
        assert_eq!(gunzip(&twice, 200_000).unwrap().len(), 200_000, "two members");
        assert!(matches!(gunzip(&twice, 199_999), Err(Unpacking::TooLarge)));
    }

    #[test]
    fn what_is_no_gzip_or_not_all_of_it_is_refused() {
        let packed = gzip(b"some text that is packed").unwrap();
        let trailing = [&packed[..], b"more"].concat();
        let mut wrong = packed.clone();
        wrong[packed.len() - 6] ^= 1;
        for broken in [&packed[..packed.len() - 1], b"", b"{}", &trailing, &wrong] {
            assert!(matches!(gunzip(broken, 1_000), Err(Unpacking::Broken(_))), "{broken:?}");
        }
    }
}
