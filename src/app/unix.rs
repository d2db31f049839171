//! A Unix socket: a path enters, a listener leaves, and the file of the socket goes when it is no
//! longer needed.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a socket that is listened on; removed when this is dropped.
pub(super) struct SocketFile {
    path: PathBuf,
    /// By which it is known from a later one at the same path.
    id: (u64, u64),
}

impl SocketFile {
    /// Listens at a path. A file that a dead process has left there is replaced.
    ///
    /// The error completes the sentence "cannot listen on …: …".
    pub(super) fn bind(
        path: &Path,
        mode: u32,
        backlog: i32,
    ) -> Result<(UnixListener, Self), String> {
        let address = SockAddr::unix(path).map_err(|error| error.to_string())?;
        make_way(path, &address)?;
        let bound = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&address)?;
            let file = Self::at(path)?;
            // Nobody can connect before it listens, so nobody does with other permissions.
            fs::set_permissions(path, Permissions::from_mode(mode))?;
            socket.listen(backlog)?;
            io::Result::Ok((socket.into(), file))
        };
        bound().map_err(|error| error.to_string())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "the Unix socket {} stays", self.path.display());
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Removes what a dead process has left.
fn make_way(path: &Path, address: &SockAddr) -> Result<(), String> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !file.file_type().is_socket() {
        return Err("a file is there that is no socket; remove it or take another path".to_owned());
    }
    match knock(address).map_err(|error| (error.kind(), error)) {
        // The latter when its queue is full.
        Ok(()) | Err((ErrorKind::WouldBlock, _)) => {
            Err("another process listens there; stop it or take another path".to_owned())
        }
        Err((ErrorKind::ConnectionRefused, _)) => {
            let stays = |error| format!("a dead process has left it, and it stays: {error}");
            fs::remove_file(path).map_err(stays)
        }
        Err((ErrorKind::NotFound, _)) => Ok(()),
        Err((_, error)) => Err(error.to_string()),
    }
}

/// Connects, and waits for nobody.
fn knock(address: &SockAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)
}
