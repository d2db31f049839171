//! The settings of TLS: a reader enters, a certificate with its key or neither leaves.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::syntax::{optional, seconds, text, whole_seconds};

const HSTS_WITHOUT_TLS: &str =
    "SERVER_TLS_CERT_FILE is not: browsers heed it over TLS only, set it where TLS ends";

/// In seconds: what the lists that browsers bring along ask for.
const TWO_YEARS: u64 = 63_072_000;

/// Whether clients come over TLS. By default they do not.
///
/// | `SERVER_TLS_CERT_FILE` | `SERVER_TLS_KEY_FILE` | clients speak |
/// |---|---|---|
/// | not set | not set | HTTP/1.1 |
/// | set | set | HTTP/2 or HTTP/1.1, as they choose, over TLS 1.3 or 1.2 |
/// | one of them is set | | a fault |
///
/// Needs the feature `tls`; without it these settings are refused at the start.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsSettings {
    /// `SERVER_TLS_CERT_FILE`: the PEM file of the certificate, the server's own first, then those
    /// that lead to a root; none.
    pub cert_file: Option<PathBuf>,
    /// `SERVER_TLS_KEY_FILE`: the PEM file of its private key, without a passphrase; none.
    pub key_file: Option<PathBuf>,
    /// `SERVER_TLS_CHECK_INTERVAL`: how often the files are looked at, so that a renewed certificate
    /// is used without a restart, in seconds, up to a year; 10.
    pub check_interval: Duration,
    /// `SERVER_TLS_HANDSHAKE_TIMEOUT`: the time a client has to agree on a connection, in seconds,
    /// up to a year; 5.
    pub handshake_timeout: Duration,
    /// `SERVER_TLS_HSTS_MAX_AGE`: how long browsers remember to come to this host over TLS only
    /// (`Strict-Transport-Security`), in whole seconds, up to two years, 0 to make them forget it;
    /// none, and nothing is said about it.
    ///
    /// It holds for every port of the host, whatever serves there, and cannot be called back from
    /// browsers that do not return: begin with an hour, and mind `localhost`. It does not hold for
    /// subdomains, nor where the host is an IP address. Behind a proxy that ends TLS it is the proxy
    /// that says it.
    pub hsts_max_age: Option<Duration>,
}

impl TlsSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let file = || optional(text("the path of a PEM file"));
        let meaning = "file of the certificate, the server's own first";
        let cert = reader.read("SERVER_TLS_CERT_FILE", "", file(), meaning);
        let key = reader.read("SERVER_TLS_KEY_FILE", "", file(), "file of its private key");
        if cert.is_sound() && key.is_sound() {
            match (&cert.value, &key.value) {
                (Some(_), None) => reader.misplaced(
                    &cert,
                    "SERVER_TLS_KEY_FILE is not: set it to the file of the certificate's key",
                ),
                (None, Some(_)) => reader.misplaced(
                    &key,
                    "SERVER_TLS_CERT_FILE is not: set it to the file of the key's certificate",
                ),
                _ => {}
            }
        }
        let hsts_max_age = reader.read(
            "SERVER_TLS_HSTS_MAX_AGE",
            "",
            optional(whole_seconds(0..=TWO_YEARS)),
            "time that browsers come over TLS only, in seconds, none to say nothing about it",
        );
        if cert.is_sound() && cert.value.is_none() && hsts_max_age.value.is_some() {
            reader.misplaced(&hsts_max_age, HSTS_WITHOUT_TLS);
        }
        Self {
            cert_file: cert.value.map(PathBuf::from),
            key_file: key.value.map(PathBuf::from),
            check_interval: reader.get(
                "SERVER_TLS_CHECK_INTERVAL",
                "10.0",
                seconds(),
                "time between two looks at the files of the certificate and its key, in seconds",
            ),
            handshake_timeout: reader.get(
                "SERVER_TLS_HANDSHAKE_TIMEOUT",
                "5.0",
                seconds(),
                "time a client has to agree on a connection, in seconds",
            ),
            hsts_max_age: hsts_max_age.value,
        }
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
