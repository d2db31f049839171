//! TLS for calls: root certificates enter, what connections need leaves, and for a handshake that
//! failed the reason in plain words.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use super::error::ClientError;
use super::roots::ExtraRoots;

/// What connections to `https://` need.
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// Why nobody is trusted at all, if so.
    distrust: Option<String>,
}

impl Tls {
    /// The roots are those of the operating system: in a container they come with its packages, and
    /// whoever runs it can add to them, or take others by `SSL_CERT_FILE`, without another build.
    /// Roots that are compiled in would get old with the program.
    pub(super) fn new(extra_roots: Option<&ExtraRoots>) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if let Some(extra) = extra_roots {
            extra.add_to(&mut roots).map_err(|reason| ClientError::ExtraRoots { reason })?;
        }
        // A program that never calls https:// needs none, so this is told where it matters.
        let distrust = roots.is_empty().then(|| {
            let error = found.errors.first().map(|error| format!(" ({error})"));
            format!(
                "this machine has no root certificates{}: install `ca-certificates`, or name a PEM \
                 file in SSL_CERT_FILE",
                error.unwrap_or_default()
            )
        });
        let failed = |error| ClientError::Start { reason: io::Error::other(error) };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // Not HTTP/2: there a call is not alone on its connection, so that breaking it off does not
        // close it, and `connections_max` would limit nothing.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), distrust })
    }

    /// Why a handshake failed, and whether another attempt would fail as well; `None` where it was
    /// the connection that failed.
    pub(super) fn refusal(&self, error: &io::Error) -> Option<(String, bool)> {
        let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else {
            let is_name = error.kind() == io::ErrorKind::InvalidInput && error.get_ref().is_some();
            return is_name
                .then(|| ("no certificate can be for such a host name".to_owned(), true));
        };
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        if let Some(distrust) = self.distrust.as_ref().filter(|_| *error == unknown) {
            return Some((distrust.clone(), true));
        }
        let passing = Error::AlertReceived(AlertDescription::InternalError);
        Some((format!("{} ({error})", meaning(error)), *error != passing))
    }
}

fn meaning(error: &Error) -> &'static str {
    use CertificateError as Bad;
    match error {
        Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "its certificate leads to no root that is trusted here: add the root to those of the \
             operating system, or as `extra_roots`"
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for another host name"
        }
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet"
        }
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
            "its certificate is not valid"
        }
        Error::InvalidMessage(_) => "it does not speak TLS",
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "it does not speak HTTP/1.1 over TLS"
        }
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
        ) => "it speaks neither TLS 1.3 nor TLS 1.2 with a cipher that is safe",
        Error::AlertReceived(_) => "it refused the TLS handshake",
        _ => "the TLS handshake failed",
    }
}
