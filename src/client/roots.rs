//! Whom a client trusts beside those whom the operating system trusts: PEM enters, certificates leave.

use std::fmt;
use std::path::PathBuf;

use rustls::RootCertStore;

use crate::pem;

/// Root certificates in PEM, one or more, such as that of a private authority. What else the text
/// holds is ignored. Needs the feature `tls`.
///
/// ```no_run
/// use callboard::client::{ClientOptions, ExtraRoots, HttpClient};
///
/// let roots = ExtraRoots::File("/etc/ssl/private/authority.pem".into());
/// let client = HttpClient::new(ClientOptions::default().extra_roots(roots))?;
/// # Ok::<(), callboard::client::ClientError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtraRoots {
    /// In a file of at most 1 MiB, which is read once, when the client starts.
    File(PathBuf),
    /// In this text.
    Pem(Vec<u8>),
}

impl ExtraRoots {
    /// Adds them to a store; otherwise says what is wrong, and nothing of the text.
    pub(crate) fn add_to(&self, store: &mut RootCertStore) -> Result<(), String> {
        match self {
            Self::Pem(text) => add(text, store),
            Self::File(path) => {
                let unreadable = |error| format!("it cannot be read: {error}");
                let added = pem::read(path).map_err(unreadable).and_then(|text| add(&text, store));
                added.map_err(|reason| format!("{}: {reason}", path.display()))
            }
        }
    }
}

fn add(text: &[u8], store: &mut RootCertStore) -> Result<(), String> {
    let certificates = pem::certificates(text)?;
    if certificates.is_empty() {
        let reason = "it holds no certificate; expected a PEM text with \
                      `-----BEGIN CERTIFICATE-----`";
        return Err(reason.to_owned());
    }
    for (number, certificate) in (1..).zip(certificates) {
        let added = store.add(certificate);
        added.map_err(|_| format!("its certificate number {number} is not valid X.509"))?;
    }
    Ok(())
}

impl fmt::Debug for ExtraRoots {
    /// Shows the length of a text, not the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Pem(text) => write!(f, "Pem({} bytes)", text.len()),
        }
    }
}
