//! PEM files: a path enters, what the file holds leaves, up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The largest file that is read, in bytes: a long chain has a hundredth of it, the roots of an
/// operating system a quarter.
const FILE_MAX: u64 = 1024 * 1024;

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_MAX} bytes")));
    }
    Ok(content)
}

/// The certificates in a PEM text, as many as there are. The error shows nothing of the text.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>();
    certificates.map_err(|_| "its PEM text is damaged")
}
