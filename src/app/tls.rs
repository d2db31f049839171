//! TLS by settings: the files of a certificate and its key enter, what a listener needs leaves, and
//! follows the files when they are renewed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, ServerConfig};

use super::app_error::AppError;
use crate::pem;
use crate::settings::TlsSettings;

const CERT_FILE: &str = "SERVER_TLS_CERT_FILE";
const KEY_FILE: &str = "SERVER_TLS_KEY_FILE";

/// What listeners need.
pub(super) struct Tls {
    pub(super) config: ServerConfig,
    pub(super) watch: Watch,
}

/// The thread that looks at the files, which ends when this is dropped.
pub(super) struct Watch {
    _end: mpsc::Sender<()>,
}

impl Tls {
    /// Reads the files, if there are any, and begins to look at them.
    pub(super) fn from_settings(settings: &TlsSettings) -> Result<Option<Self>, AppError> {
        let files = match (&settings.cert_file, &settings.key_file) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => Files { cert: cert.clone(), key: key.clone() },
            _ => return Err(AppError::HalfTls),
        };
        let provider = Arc::new(ring::default_provider());
        let pem = files.read()?;
        let certified = RwLock::new(Arc::new(files.certified(&pem, &provider)?));
        let current = Arc::new(Current(certified));
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        let versions = versions.map_err(|error| files.fault(CERT_FILE, error.to_string()))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&current) as _;
        let config = versions.with_no_client_auth().with_cert_resolver(resolver);
        let seen = pem.print();
        let lookout = Lookout { files, provider, current, seen, fault: None };
        Ok(Some(Self { config, watch: lookout.begin(settings.check_interval)? }))
    }
}

/// The certificate that the next client is shown.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What the files hold.
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Pem {
    /// Tells one content from another without keeping it.
    fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.cert, &self.key).hash(&mut hasher);
        hasher.finish()
    }
}

impl Files {
    fn read(&self) -> Result<Pem, AppError> {
        let read = |variable, path| {
            let unreadable = |error| self.fault(variable, format!("it cannot be read: {error}"));
            pem::read(path).map_err(unreadable)
        };
        Ok(Pem { cert: read(CERT_FILE, &self.cert)?, key: read(KEY_FILE, &self.key)? })
    }

    /// The messages show nothing of what a file holds.
    fn certified(&self, pem: &Pem, provider: &CryptoProvider) -> Result<CertifiedKey, AppError> {
        let bad_cert = |reason: &str| self.fault(CERT_FILE, reason.to_owned());
        let bad_key = |reason: &str| self.fault(KEY_FILE, reason.to_owned());
        let chain = pem::certificates(&pem.cert).map_err(bad_cert)?;
        if chain.is_empty() {
            let reason = "it holds no certificate; expected a PEM text with \
                          `-----BEGIN CERTIFICATE-----`, the server's own first";
            return Err(bad_cert(reason));
        }
        let keys = PrivateKeyDer::pem_slice_iter(&pem.key).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|_| bad_key("its PEM text is damaged"))?;
        let Ok([key]) = <[_; 1]>::try_from(keys) else {
            let is_encrypted = pem.key.windows(9).any(|word| word == b"ENCRYPTED");
            return Err(bad_key(if is_encrypted {
                "its key has a passphrase; store it without one, readable for the server only"
            } else {
                "expected a PEM text with exactly one `-----BEGIN PRIVATE KEY-----`"
            }));
        };
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let cert = self.cert.display();
                bad_key(&format!("it is not the key of the first certificate in {cert}"))
            }
            Error::InvalidCertificate(_) => bad_cert("its first certificate is not valid X.509"),
            _ => bad_key("its key is damaged, or neither RSA, ECDSA nor Ed25519"),
        })
    }

    fn fault(&self, variable: &'static str, reason: String) -> AppError {
        let path = if variable == KEY_FILE { &self.key } else { &self.cert };
        AppError::Tls { variable, path: path.clone(), reason }
    }
}

/// Looks at the files now and then.
///
/// At what they hold, not at their times: a link that points elsewhere has an old time, and a
/// second write may have the time of the first.
struct Lookout {
    files: Files,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    seen: u64,
    /// What was wrong at the last look.
    fault: Option<String>,
}

impl Lookout {
    /// On a thread of its own, because reading a file may take long.
    fn begin(mut self, interval: Duration) -> Result<Watch, AppError> {
        let (end, ended) = mpsc::channel();
        let run = move || {
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                self.look();
            }
        };
        let thread = thread::Builder::new().name("callboard-tls".to_owned()).spawn(run);
        let failed = |source| AppError::System { what: "no thread to watch TLS files", source };
        thread.map(|_| Watch { _end: end }).map_err(failed)
    }

    fn look(&mut self) {
        let renewed = self.files.read().and_then(|pem| {
            let print = pem.print();
            if print == self.seen {
                return Ok(None);
            }
            let certified = self.files.certified(&pem, &self.provider)?;
            self.seen = print;
            Ok(Some(certified))
        });
        let fault = match renewed {
            Ok(None) => None,
            Ok(Some(certified)) => {
                *self.current.0.write() = Arc::new(certified);
                tracing::info!("TLS certificate renewed from {}", self.files.cert.display());
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if fault != self.fault {
            if let Some(fault) = &fault {
                tracing::error!("the TLS certificate stays as it is: {fault}");
            }
            self.fault = fault;
        }
    }
}
