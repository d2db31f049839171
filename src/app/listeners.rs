//! Where an application listens: settings enter, open sockets leave.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use super::app_error::AppError;
#[cfg(feature = "tls")]
use super::tls::{Tls, Watch};
#[cfg(unix)]
use super::unix::SocketFile;
use crate::settings::{ServerSettings, Settings};

/// How many connections wait to be accepted; the system may have a lower limit.
const BACKLOG: i32 = 4096;

/// Sockets on which nothing is served yet.
pub(super) enum Listeners {
    Tcp(Vec<TcpListener>),
    #[cfg(feature = "tls")]
    Tls(Vec<TcpListener>, Box<Tls>),
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

/// What has to be there as long as the application listens.
pub(super) enum Kept {
    Nothing,
    #[cfg(feature = "tls")]
    Tls {
        _watch: Watch,
    },
    #[cfg(unix)]
    Unix(SocketFile),
}

impl Listeners {
    pub(super) fn open(settings: &Settings) -> Result<Self, AppError> {
        let server = &settings.server;
        if let Some(path) = &server.unix_socket {
            let failed = |reason| AppError::UnixSocket { path: path.clone(), reason };
            return Self::unix(path, server).map_err(failed);
        }
        let listen = || {
            let address = || format!("{}:{}", server.host, server.port);
            bind(settings).map_err(|source| AppError::Listen { address: address(), source })
        };
        #[cfg(feature = "tls")]
        if let Some(tls) = Tls::from_settings(&server.tls)? {
            return Ok(Self::Tls(listen()?, Box::new(tls)));
        }
        // Clients would be served in the clear.
        #[cfg(not(feature = "tls"))]
        if server.tls.cert_file.is_some() || server.tls.key_file.is_some() {
            return Err(AppError::NoTls);
        }
        listen().map(Self::Tcp)
    }

    #[cfg(unix)]
    fn unix(path: &Path, server: &ServerSettings) -> Result<Self, String> {
        if server.tls.cert_file.is_some() {
            return Err("a Unix socket has no TLS; unset it, or the certificate".to_owned());
        }
        let (socket, file) = SocketFile::bind(path, server.unix_mode, BACKLOG)?;
        Ok(Self::Unix(socket, file))
    }

    #[cfg(not(unix))]
    fn unix(_: &Path, _: &ServerSettings) -> Result<Self, String> {
        Err("this system has no such sockets; unset it".to_owned())
    }
}

impl Kept {
    /// Where it listens, in the words of the log.
    pub(super) fn places(&self, addresses: &[SocketAddr]) -> Vec<String> {
        let scheme = match self {
            Self::Nothing => "http://",
            #[cfg(feature = "tls")]
            Self::Tls { .. } => "https://",
            #[cfg(unix)]
            Self::Unix(file) => return vec![format!("unix:{}", file.path().display())],
        };
        addresses.iter().map(|address| format!("{scheme}{address}")).collect()
    }

    /// The path of the Unix socket, if there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            #[cfg(unix)]
            Self::Unix(file) => Some(file.path()),
            _ => None,
        }
    }
}

/// Listens on all addresses of the host, of which some may fail.
fn bind(settings: &Settings) -> io::Result<Vec<TcpListener>> {
    let ServerSettings { host, port, .. } = &settings.server;
    let (mut sockets, mut fault) = (Vec::new(), None);
    for address in (host.as_str(), *port).to_socket_addrs()? {
        match bind_one(address, settings) {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                tracing::debug!(%address, %error, "an address of the host cannot be listened on");
                fault = Some(error);
            }
        }
    }
    let none = || io::Error::other("the host has no address");
    if sockets.is_empty() { Err(fault.unwrap_or_else(none)) } else { Ok(sockets) }
}

fn bind_one(address: SocketAddr, settings: &Settings) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    // Accepted connections have it from here, those with TLS too; see `ws::on_connect`.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(settings.ws.idle_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = settings;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(all(test, not(feature = "tls")))]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_nothing_can_use_is_a_fault() {
        let vars = [("SERVER_TLS_CERT_FILE", "a.pem"), ("SERVER_TLS_KEY_FILE", "b.pem")];
        let settings = Settings::from_vars(vars).unwrap();
        let Err(refusal) = Listeners::open(&settings) else {
            panic!("it would listen in the clear");
        };
        assert!(matches!(refusal, AppError::NoTls), "{refusal}");
    }
}
