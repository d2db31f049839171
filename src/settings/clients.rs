//! The settings of who a client is to the server, and how often it may ask: a reader enters, filled
//! groups leave.

use std::net::IpAddr;
use std::time::Duration;

use super::proxy::TrustedProxy;
use super::reader::Reader;
use super::syntax::{count, optional, seconds, trusted_proxies, word};

const NO_LIMIT: &str = "SERVER_RATE_LIMIT is not: set it to a number of requests, or unset this";

/// How many requests one client may make, of everything that the server has but `/health`. By
/// default any number.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateSettings {
    /// `SERVER_RATE_LIMIT`: the requests of one client in each `SERVER_RATE_PER`; none, which means
    /// any number.
    pub limit: Option<u32>,
    /// `SERVER_RATE_PER`: the time they are counted in, in seconds, up to a year; 1.
    pub per: Duration,
    /// `SERVER_RATE_BURST`: the requests that may come at once after a pause; none, which means
    /// `SERVER_RATE_LIMIT`.
    pub burst: Option<u32>,
    /// `SERVER_RATE_CLIENTS_MAX`: the clients counted at once; 100000.
    pub clients_max: usize,
}

/// Which neighbours of the server are believed when they say for whom they ask. By default none.
///
/// | the peer of a connection | a client's address |
/// |---|---|
/// | not a trusted proxy | that of the peer; the header is ignored |
/// | a trusted proxy | the last one in the header that is not a trusted proxy itself |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxySettings {
    /// `SERVER_TRUSTED_PROXIES`: addresses such as `10.0.0.7`, networks such as `10.0.0.0/8` and
    /// `fd00::/8`, and `unix` for whoever comes by a Unix socket, separated by commas; none.
    pub trusted: Vec<TrustedProxy>,
    /// `SERVER_PROXY_HEADER`: the header that the proxies set, `x-forwarded-for` or `forwarded`;
    /// `x-forwarded-for`. The other one is ignored: a proxy that does not know it hands on what the
    /// client wrote there.
    pub header: ProxyHeader,
}

/// The header in which proxies say for whom they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, as most proxies do.
    XForwardedFor,
    /// `Forwarded`, of RFC 7239.
    Forwarded,
}

impl ProxySettings {
    /// Whether the word of this neighbour is taken.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.trusted.iter().any(|proxy| proxy.is(peer))
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let header = word([
            ("x-forwarded-for", ProxyHeader::XForwardedFor),
            ("forwarded", ProxyHeader::Forwarded),
        ]);
        Self {
            trusted: reader.get(
                "SERVER_TRUSTED_PROXIES",
                "",
                trusted_proxies(),
                "proxies that are believed when they say for whom they ask, none for none",
            ),
            header: reader.get(
                "SERVER_PROXY_HEADER",
                "x-forwarded-for",
                header,
                "header in which they say it",
            ),
        }
    }
}

impl RateSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let limit = reader.get(
            "SERVER_RATE_LIMIT",
            "",
            optional(count()),
            "requests of one client in a time, none for any number",
        );
        let per =
            reader.get("SERVER_RATE_PER", "1.0", seconds(), "time they are counted in, in seconds");
        let burst = reader.read(
            "SERVER_RATE_BURST",
            "",
            optional(count()),
            "requests of one client that may come at once",
        );
        if burst.value.is_some() && limit.is_none() {
            reader.misplaced(&burst, NO_LIMIT);
        }
        let clients_max =
            reader.get("SERVER_RATE_CLIENTS_MAX", "100000", count(), "clients counted at once");
        Self { limit, per, burst: burst.value, clients_max }
    }
}

impl Default for RateSettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self::read(&mut Reader::default())
    }
}
