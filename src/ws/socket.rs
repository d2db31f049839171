//! What the operating system is told about a connection: a new socket enters, and neither holds
//! small frames back nor waits for ever for a client that takes nothing.

use std::any::Any;
use std::io;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;

use crate::settings::WsSettings;

/// Prepares connections for sessions; for `HttpServer::on_connect`. Sessions work without it, but
/// worse:
///
/// - Frames leave at once. Otherwise the end of a frame may wait 40 ms for the client to
///   acknowledge its beginning.
/// - The operating system ends a connection whose client has taken nothing for
///   [`idle_timeout`](WsSettings::idle_timeout). A session that is cut frees all that it holds at
///   once, with or without this; but a server polls a connection no more while its client does not
///   read, so that the bare socket would stay until the client reads or goes away. Linux only.
///
/// It has no effect on connections with TLS, and the same effect on connections that are no
/// WebSockets.
///
/// ```no_run
/// # use callboard::{settings::Settings, ws};
/// # fn example(settings: &Settings) {
/// let server = actix_web::HttpServer::new(actix_web::App::new)
///     .on_connect(ws::on_connect(&settings.ws));
/// # }
/// ```
pub fn on_connect(
    settings: &WsSettings,
) -> impl Fn(&dyn Any, &mut Extensions) + Clone + Send + Sync + 'static + use<> {
    let patience = settings.idle_timeout;
    move |connection, _| {
        let Some(socket) = connection.downcast_ref::<TcpStream>() else {
            return;
        };
        let prepared = socket.set_nodelay(true).and_then(|()| limit_patience(socket, patience));
        if let Err(error) = prepared {
            tracing::debug!(%error, "a connection has the system's defaults");
        }
    }
}

#[cfg(target_os = "linux")]
fn limit_patience(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    socket2::SockRef::from(socket).set_tcp_user_timeout(Some(patience))
}

#[cfg(not(target_os = "linux"))]
fn limit_patience(_: &TcpStream, _: Duration) -> io::Result<()> {
    Ok(())
}
