//! The files of Swagger UI: the archive that a crate brings along enters, single files leave, packed
//! as they are.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::DeflateDecoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

/// The folder of the files that are served.
const FOLDER: &str = "/dist/";

/// What an entry of the archive's directory begins with, in bytes, before its name.
const ENTRY: usize = 46;
/// The same of the header before a file's content.
const HEADER: usize = 30;
/// What the record at the end of the archive begins with.
const END: [u8; 4] = *b"PK\x05\x06";

/// One file.
#[derive(Clone)]
pub(super) struct Packed {
    content: &'static [u8],
    is_deflated: bool,
    size: u32,
    pub(super) crc32: u32,
    /// The content as gzip, which differs from an archive's in a few bytes around it.
    pub(super) gzip: Option<Bytes>,
}

impl Packed {
    pub(super) fn unpacked(&self) -> io::Result<Vec<u8>> {
        if !self.is_deflated {
            return Ok(self.content.to_vec());
        }
        let mut content = Vec::new();
        DeflateDecoder::new(self.content).take(u64::from(self.size)).read_to_end(&mut content)?;
        Ok(content)
    }

    fn gzip(&self) -> Bytes {
        // No name, no time, an unknown system (RFC 1952).
        let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let (crc32, size) = (self.crc32.to_le_bytes(), self.size.to_le_bytes());
        [&head[..], self.content, &crc32, &size].concat().into()
    }
}

/// Finds a file by its name.
pub(super) fn find(name: &str) -> Option<Packed> {
    let archive = SWAGGER_UI_VENDORED;
    let end = archive.windows(END.len()).rposition(|bytes| *bytes == END)?;
    let (count, mut at) = (number(archive, end + 10, 2)?, number(archive, end + 16, 4)?);
    for _ in 0..count {
        let length = number(archive, at + 28, 2)?;
        let path = archive.get(at + ENTRY..at + ENTRY + length)?;
        let file = path.strip_suffix(name.as_bytes());
        // The folder stands in one that is named after the version, and there alone.
        let is_wanted = file.is_some_and(|folder| {
            folder.ends_with(FOLDER.as_bytes()) && folder.split(|b| *b == b'/').count() == 3
        });
        if is_wanted {
            return entry(archive, at);
        }
        at += ENTRY + length + number(archive, at + 30, 2)? + number(archive, at + 32, 2)?;
    }
    None
}

/// Reads what the directory says at this place.
fn entry(archive: &'static [u8], at: usize) -> Option<Packed> {
    let long = |offset| u32::try_from(number(archive, at + offset, 4)?).ok();
    let header = number(archive, at + 42, 4)?;
    let begin =
        header + HEADER + number(archive, header + 26, 2)? + number(archive, header + 28, 2)?;
    let content = archive.get(begin..begin + number(archive, at + 20, 4)?)?;
    let is_deflated = match number(archive, at + 10, 2)? {
        0 => false,
        8 => true,
        _ => return None,
    };
    let (crc32, size) = (long(16)?, long(24)?);
    let packed = Packed { content, is_deflated, size, crc32, gzip: None };
    let gzip = is_deflated.then(|| packed.gzip());
    Some(Packed { gzip, ..packed })
}

/// A number of so many bytes, the smallest first.
fn number(archive: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = archive.get(at..at + length)?.iter().rev();
    Some(bytes.fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use flate2::Crc;
    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_file_is_what_was_packed() {
        for name in ["swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"] {
            let packed = find(name).unwrap();
            let content = packed.unpacked().unwrap();
            let mut crc = Crc::new();
            crc.update(&content);
            assert_eq!((crc.sum(), content.len()), (packed.crc32, packed.size as usize), "{name}");
            if let Some(gzip) = packed.gzip {
                let mut same = Vec::new();
                GzDecoder::new(&*gzip).read_to_end(&mut same).unwrap();
                assert!(same == content, "{name}");
            }
        }
        assert!(find("nothing.js").is_none() && find("").is_none_or(|folder| folder.size == 0));
    }
}
