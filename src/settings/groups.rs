//! The groups of settings and the table of their variables: a reader enters, filled groups leave.
//!
//! A variable is one call in a group's `read`: its name, default, syntax and meaning stand there
//! and nowhere else, and the compiler sees to it that each field has one.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::clients::{ProxySettings, RateSettings};
use super::idempotency::IdempotencySettings;
use super::reader::Reader;
use super::syntax::{
    count, dsn, flag, host, mode, optional, origins, seconds, seconds_or_none, text, whole, word,
};
use super::tls::TlsSettings;

/// How the HTTP server listens and what it accepts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerSettings {
    /// `SERVER_HOST`: the host name or IP address to listen on, without a port; `127.0.0.1`.
    pub host: String,
    /// `SERVER_PORT`: the TCP port to listen on, 0 for any that is free; 8000.
    pub port: u16,
    /// `SERVER_UNIX_SOCKET`: the path of a Unix socket to listen on, in place of host and port and
    /// without TLS; none. A file that a dead process has left there is replaced; the file is removed
    /// at a stop.
    pub unix_socket: Option<PathBuf>,
    /// `SERVER_UNIX_MODE`: who may connect to the Unix socket, in octal as for `chmod`; 660, which is
    /// its owner and its group.
    pub unix_mode: u32,
    /// Whether clients come over TLS; they do not.
    pub tls: TlsSettings,
    /// `SERVER_DEBUG`: whether error responses show details to developers; false.
    pub debug: bool,
    /// `SERVER_WORKERS`: the threads that serve requests, 1 to 512; 1.
    pub workers: usize,
    /// `SERVER_CONNECTIONS_MAX`: the connections open at once, a like share of them for each worker;
    /// more wait until one is closed. The system's limit of open files (`ulimit -n`) has to be
    /// higher; 25000.
    pub connections_max: usize,
    /// `SERVER_KEEP_ALIVE`: how long a connection is kept open between two requests, in seconds, 0
    /// for not at all, up to a year; 75, which is longer than load balancers usually keep theirs, so
    /// that they never send a request into a connection that is just being closed.
    pub keep_alive: Duration,
    /// `SERVER_BODY_MAX`: the largest request body, in bytes; 1 MiB.
    pub body_max: usize,
    /// `SERVER_COMPRESSION`: whether responses are compressed with gzip for clients that take it;
    /// false.
    ///
    /// It is done to texts of 1 KiB and more, and never to streams. A response that has both a secret
    /// and something that the client wrote tells, by its length, who can watch the wire and make a
    /// browser send requests (BREACH): leave it off where browsers show who they are by cookies.
    pub compression: bool,
    /// `SERVER_HEADER_TIMEOUT`: the time that the first line and the headers of a request have to
    /// arrive, in seconds, up to a year, and up to half a second more; 5. They have at most 128 KiB
    /// and 96 headers.
    pub header_timeout: Duration,
    /// `SERVER_REQUEST_TIMEOUT`: the time a request may take, in seconds, up to a year; 30.
    pub request_timeout: Duration,
    /// `SERVER_DOCS`: whether Swagger UI shows the API to people at `/docs`, where callboard was built
    /// with its feature `swagger-ui`; true.
    pub docs: bool,
    /// `SERVER_STOP_DELAY`: how long the application says that it is not ready before it stops
    /// taking requests, so that load balancers see it, in seconds, 0 for not at all, up to a year;
    /// 0.
    pub stop_delay: Duration,
    /// `SERVER_RATE_*`: how many requests one client may make.
    pub rate: RateSettings,
    /// `SERVER_TRUSTED_PROXIES`, `SERVER_PROXY_HEADER`: who may say for whom it asks.
    pub proxies: ProxySettings,
    /// `SERVER_IDEMPOTENCY_*`: what is kept for requests that come again.
    pub idempotency: IdempotencySettings,
}

/// Which database is used and how many connections it gets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DbSettings {
    /// `DB_DSN`: the data source, `sqlite:…`, `postgres:…` or `postgresql:…`, which is never shown;
    /// `sqlite://callboard.db`.
    pub dsn: SecretString,
    /// `DB_POOL_MIN`: the connections kept open, at most `DB_POOL_MAX`; 2.
    pub pool_min: u32,
    /// `DB_POOL_MAX`: the connections open at once; 10.
    pub pool_max: u32,
}

/// The limits of the bus.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BusSettings {
    /// `BUS_HANDLER_TIMEOUT`: the time a handler may take for one event, in seconds, up to a year;
    /// 30.
    pub handler_timeout: Duration,
    /// `BUS_QUEUE_MAX`: the events that wait for one handler; 1024.
    pub queue_max: usize,
    /// `BUS_DRAIN_TIMEOUT`: the time accepted events have to finish at a stop, in seconds, up to a
    /// year; 5.
    pub drain_timeout: Duration,
    /// `BUS_EVENT_LOG_MAX`: the latest events kept for looking at; 200.
    pub event_log_max: usize,
    /// `BUS_DEAD_LETTERS_MAX`: the dead letters kept; 1000.
    pub dead_letters_max: usize,
}

/// The limits of WebSocket sessions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WsSettings {
    /// `WS_SESSIONS_MAX`: the sessions open at once; 10000.
    pub sessions_max: usize,
    /// `WS_FRAME_MAX`: the largest frame a client may send, in bytes; 65536.
    pub frame_max: usize,
    /// `WS_QUEUE_MAX`: the frames that wait for one client; 256.
    pub queue_max: usize,
    /// `WS_HEARTBEAT`: the time between two pings, in seconds, up to a year; 15.
    pub heartbeat: Duration,
    /// `WS_IDLE_TIMEOUT`: the silence after which a session is closed, in seconds, more than
    /// `WS_HEARTBEAT`, up to a year; 45.
    pub idle_timeout: Duration,
    /// `WS_SUBSCRIPTIONS_MAX`: the subscriptions of one session; 64.
    pub subscriptions_max: usize,
    /// `WS_ROOMS_MAX`: the rooms one session is in; 64.
    pub rooms_max: usize,
    /// `WS_IN_FLIGHT_MAX`: the requests of one session that wait for an answer; 32.
    pub in_flight_max: usize,
    /// `WS_ORIGINS`: the origins, such as `https://shop.example`, whose pages may connect,
    /// separated by commas and held in lower case; none, which means the server's own only.
    pub origins: Vec<String>,
}

/// What is logged and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogSettings {
    /// `LOG_LEVEL`: a `tracing` filter, such as `info` or `info,callboard=debug`, which is parsed
    /// where logging starts; `info`.
    pub level: String,
    /// `LOG_FORMAT`: the form of a line, `text` or `json`; `text`.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people: `text`.
    Text,
    /// For machines, one object a line: `json`.
    Json,
}

impl ServerSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let host = reader.get("SERVER_HOST", "127.0.0.1", host(), "address to listen on");
        let port = reader.get(
            "SERVER_PORT",
            "8000",
            whole(0..=u16::MAX),
            "TCP port to listen on, 0 for any free one",
        );
        let (unix_socket, unix_mode, tls) = transport(reader);
        let [debug, compression, docs] = switches(reader);
        Self {
            host,
            port,
            unix_socket,
            unix_mode,
            tls,
            debug,
            workers: reader.get(
                "SERVER_WORKERS",
                "1",
                whole(1..=512),
                "threads that serve requests",
            ),
            connections_max: reader.get(
                "SERVER_CONNECTIONS_MAX",
                "25000",
                count(),
                "connections open at once",
            ),
            keep_alive: reader.get(
                "SERVER_KEEP_ALIVE",
                "75.0",
                seconds_or_none(),
                "time a connection is kept open between two requests, in seconds",
            ),
            body_max: reader.get(
                "SERVER_BODY_MAX",
                "1048576",
                count(),
                "largest request body, in bytes",
            ),
            compression,
            header_timeout: reader.get(
                "SERVER_HEADER_TIMEOUT",
                "5.0",
                seconds(),
                "time that the head of a request has to arrive, in seconds",
            ),
            request_timeout: reader.get(
                "SERVER_REQUEST_TIMEOUT",
                "30.0",
                seconds(),
                "time a request may take, in seconds",
            ),
            docs,
            stop_delay: reader.get(
                "SERVER_STOP_DELAY",
                "0.0",
                seconds_or_none(),
                "time between not being ready and closing the listener, in seconds",
            ),
            rate: RateSettings::read(reader),
            proxies: ProxySettings::read(reader),
            idempotency: IdempotencySettings::read(reader),
        }
    }
}

/// What is on or off: details for developers, compression, the API for people.
fn switches(reader: &mut Reader) -> [bool; 3] {
    [
        ("SERVER_DEBUG", "false", "whether error responses show details to developers"),
        ("SERVER_COMPRESSION", "false", "whether responses are compressed"),
        ("SERVER_DOCS", "true", "whether Swagger UI shows the API at /docs"),
    ]
    .map(|(name, default, meaning)| reader.get(name, default, flag(), meaning))
}

/// What else than TCP in the clear may be spoken.
fn transport(reader: &mut Reader) -> (Option<PathBuf>, u32, TlsSettings) {
    let unix = reader.read(
        "SERVER_UNIX_SOCKET",
        "",
        optional(text("the path of a socket")),
        "Unix socket to listen on, in place of host and port",
    );
    let mode = reader.get("SERVER_UNIX_MODE", "660", mode(), "mode of the Unix socket");
    let tls = TlsSettings::read(reader);
    if unix.value.is_some() && tls.cert_file.is_some() {
        reader.misplaced(&unix, "so is SERVER_TLS_CERT_FILE: a Unix socket has no TLS, unset one");
    }
    (unix.value.map(PathBuf::from), mode, tls)
}

impl DbSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let dsn = reader.get(
            "DB_DSN",
            "sqlite://callboard.db",
            dsn(),
            "data source, with its credentials",
        );
        let pool_min = reader.read("DB_POOL_MIN", "2", count(), "connections kept open");
        let pool_max = reader.read("DB_POOL_MAX", "10", count(), "connections open at once");
        reader.require(&pool_min, "at most", &pool_max, |min: &u32, max| min <= max);
        Self { dsn, pool_min: pool_min.value, pool_max: pool_max.value }
    }
}

impl BusSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            handler_timeout: reader.get(
                "BUS_HANDLER_TIMEOUT",
                "30.0",
                seconds(),
                "time a handler may take for one event, in seconds",
            ),
            queue_max: reader.get(
                "BUS_QUEUE_MAX",
                "1024",
                count(),
                "events that wait for one handler",
            ),
            drain_timeout: reader.get(
                "BUS_DRAIN_TIMEOUT",
                "5.0",
                seconds(),
                "time accepted events have to finish at a stop, in seconds",
            ),
            event_log_max: reader.get(
                "BUS_EVENT_LOG_MAX",
                "200",
                count(),
                "latest events kept for looking at",
            ),
            dead_letters_max: reader.get(
                "BUS_DEAD_LETTERS_MAX",
                "1000",
                count(),
                "dead letters kept",
            ),
        }
    }
}

impl WsSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let sessions_max = reader.get("WS_SESSIONS_MAX", "10000", count(), "sessions open at once");
        let frame_max = reader.get(
            "WS_FRAME_MAX",
            "65536",
            count(),
            "largest frame a client may send, in bytes",
        );
        let queue_max =
            reader.get("WS_QUEUE_MAX", "256", count(), "frames that wait for one client");
        let heartbeat =
            reader.read("WS_HEARTBEAT", "15.0", seconds(), "time between two pings, in seconds");
        let idle_timeout = reader.read(
            "WS_IDLE_TIMEOUT",
            "45.0",
            seconds(),
            "silence after which a session is closed, in seconds",
        );
        reader.require(&idle_timeout, "more than", &heartbeat, |idle, beat| idle > beat);
        Self {
            sessions_max,
            frame_max,
            queue_max,
            heartbeat: heartbeat.value,
            idle_timeout: idle_timeout.value,
            subscriptions_max: reader.get(
                "WS_SUBSCRIPTIONS_MAX",
                "64",
                count(),
                "subscriptions of one session",
            ),
            rooms_max: reader.get("WS_ROOMS_MAX", "64", count(), "rooms one session is in"),
            in_flight_max: reader.get(
                "WS_IN_FLIGHT_MAX",
                "32",
                count(),
                "requests of one session that wait for an answer",
            ),
            origins: reader.get(
                "WS_ORIGINS",
                "",
                origins(),
                "origins whose pages may connect, none for the server's own only",
            ),
        }
    }
}

impl LogSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let level = text("a tracing filter such as info or info,callboard=debug");
        let format = word([("text", LogFormat::Text), ("json", LogFormat::Json)]);
        Self {
            level: reader.get("LOG_LEVEL", "info", level, "which events are logged"),
            format: reader.get("LOG_FORMAT", "text", format, "form of a log line"),
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}

impl Default for DbSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}

impl Default for BusSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}

impl Default for WsSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
