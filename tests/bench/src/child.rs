//! Servers in processes of their own, so that memory and processor time are theirs alone.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;
use crate::machine;

/// A server that ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts this program once more, as a server, and waits until it listens.
    pub(crate) fn start(what: &str) -> Result<Self, Failure> {
        Self::start_in(what, &env::current_dir()?)
    }

    /// The same, in a working folder of its own.
    pub(crate) fn start_in(what: &str, folder: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["serve", what]).current_dir(folder).stdout(Stdio::piped());
        // Its log goes where the log of a service goes that nobody reads.
        let mut child = command.stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let Ok(port) = line.trim().parse() else {
            // It has ended already, or is of no use.
            let _ = child.kill();
            return Err(Failure::Answer(format!("`serve {what}` said {line:?} instead of a port")));
        };
        Ok(Self { child, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    pub(crate) fn resident(&self) -> Option<u64> {
        machine::resident(self.child.id())
    }

    pub(crate) fn processor_time(&self) -> Option<u64> {
        machine::processor_time(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
