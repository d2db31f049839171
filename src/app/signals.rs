//! The signals that end a process, listened to before anything starts.

use std::io;

use tokio::sync::watch;

use super::app_error::AppError;

/// SIGINT and SIGTERM; elsewhere than on Unix, Ctrl-C.
pub(super) struct Signals {
    received: watch::Receiver<Received>,
}

/// How many signals came, and the latest.
#[derive(Clone, Copy, Default)]
struct Received {
    count: usize,
    name: &'static str,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, AppError> {
        let failed = |source| AppError::System { what: "cannot listen for signals", source };
        let mut source = Source::new().map_err(failed)?;
        let (sender, received) = watch::channel(Received::default());
        actix_rt::spawn(async move {
            loop {
                let name = source.next().await;
                sender.send_modify(|received| {
                    *received = Received { count: received.count + 1, name }
                });
            }
        });
        Ok(Self { received })
    }

    /// Waits for the first signal.
    pub(super) async fn next(&self) -> &'static str {
        let mut received = self.received.clone();
        // The sender lives as long as the actix system.
        received.wait_for(|received| received.count > 0).await.map_or("none", |first| first.name)
    }

    /// Ends the process at the second signal.
    pub(super) fn exit_on_next(self) {
        actix_rt::spawn(async move {
            let mut received = self.received;
            if received.wait_for(|received| received.count > 1).await.is_ok() {
                tracing::error!("second signal: the process ends without draining");
                std::process::exit(1);
            }
        });
    }
}

#[cfg(unix)]
struct Source {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Source {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Source;

#[cfg(not(unix))]
impl Source {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}
