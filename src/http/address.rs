//! Where a client is, as far as the server can tell: a request enters with the proxies that are
//! trusted, an address leaves that the client did not choose.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use crate::settings::{ProxyHeader, ProxySettings};

/// The most proxies that a request may come through.
const HOPS_MAX: usize = 32;

/// An address as it is counted: whoever has an IPv6 address mostly has 2^64 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAddress {
    /// One address.
    V4(Ipv4Addr),
    /// The first address of a network of 64 bits.
    V6(Ipv6Addr),
    /// Somebody on this machine, by a Unix socket.
    Local,
}

impl ClientAddress {
    /// The address of whoever made the request.
    pub(super) fn of(request: &HttpRequest, proxies: &ProxySettings) -> Self {
        let peer = request.peer_addr().map(|peer| peer.ip());
        Self::from(resolve(peer, request.headers(), proxies))
    }
}

impl From<Option<IpAddr>> for ClientAddress {
    fn from(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            None => Self::Local,
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{network}/64"),
            Self::Local => f.write_str("local"),
        }
    }
}

/// Goes back from the peer as long as who is there is trusted, and as it names whom it asks for.
fn resolve(peer: Option<IpAddr>, headers: &HeaderMap, proxies: &ProxySettings) -> Option<IpAddr> {
    if !proxies.trusts(peer) {
        return peer;
    }
    let name = match proxies.header {
        ProxyHeader::XForwardedFor => "x-forwarded-for",
        ProxyHeader::Forwarded => "forwarded",
    };
    let lines: Vec<&str> = headers.get_all(name).map(|line| line.to_str().unwrap_or("")).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut client = peer;
    for hop in hops.take(HOPS_MAX) {
        let named = match proxies.header {
            ProxyHeader::XForwardedFor => address(hop.trim()),
            ProxyHeader::Forwarded => forwarded_for(hop).and_then(address),
        };
        // Who names nobody asks for itself, as far as anybody knows.
        let Some(named) = named else { break };
        client = Some(named);
        if !proxies.trusts(client) {
            break;
        }
    }
    client
}

/// The value of `for` in one element of a `Forwarded` header.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    Some(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

/// An address, with or without a port.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let socket = || node.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    bare.parse().ok().or_else(socket)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::settings::Settings;

    fn proxies(trusted: &str, header: &str) -> ProxySettings {
        let vars = [("SERVER_TRUSTED_PROXIES", trusted), ("SERVER_PROXY_HEADER", header)];
        Settings::from_vars(vars).unwrap().server.proxies
    }

    fn client(peer: &str, proxies: &ProxySettings, lines: &[(&str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        ClientAddress::from(resolve(peer.parse().ok(), &headers, proxies)).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        let (nobody, some) =
            (ProxySettings::default(), proxies("10.0.0.0/8,::1", "x-forwarded-for"));
        let header = [("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &nobody, &header), "10.0.0.1");
        assert_eq!(client("203.0.113.9", &some, &header), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &some, &header), "192.0.2.1");
        assert_eq!(client("::1", &some, &header), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &some, &[]), "10.0.0.1");
        assert_eq!(client("socket", &some, &header), "local");
        assert_eq!(client("socket", &proxies("unix", "x-forwarded-for"), &header), "192.0.2.1");
    }

    #[test]
    fn a_header_is_read_from_the_right_up_to_the_first_stranger() {
        let proxies = proxies("10.0.0.0/8", "x-forwarded-for");
        for (lines, expected) in [
            (&["1.1.1.1, 192.0.2.1"][..], "192.0.2.1"),
            (&["1.1.1.1, 192.0.2.1, 10.0.0.3"], "192.0.2.1"),
            (&["1.1.1.1", "192.0.2.1", "10.0.0.3,10.0.0.4"], "192.0.2.1"),
            (&["10.0.0.9,10.0.0.3"], "10.0.0.9"),
            (&["192.0.2.1:8080"], "192.0.2.1"),
            (&["[2001:db8:1:2:3::4]:8080"], "2001:db8:1:2::/64"),
            (&["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["1.1.1.1, unknown"], "10.0.0.1"),
            (&["1.1.1.1, unknown, 10.0.0.3"], "10.0.0.3"),
            (&["1.1.1.1,"], "10.0.0.1"),
            (&["192.0.2.1\u{e9}"], "10.0.0.1"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(client("10.0.0.1", &proxies, &lines), expected, "{lines:?}");
        }
        let endless = ["10.0.0.2"; 1_000].join(",");
        let lines = [("x-forwarded-for", &*endless)];
        assert_eq!(client("10.0.0.1", &proxies, &lines), "10.0.0.2");
    }

    #[test]
    fn the_other_header_is_what_the_client_wrote() {
        let both = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=2.2.2.2")];
        let old = proxies("10.0.0.1", "x-forwarded-for");
        assert_eq!(client("10.0.0.1", &old, &both), "1.1.1.1");
        let new = proxies("10.0.0.1", "forwarded");
        assert_eq!(client("10.0.0.1", &new, &both), "2.2.2.2");
        for (value, expected) in [
            ("for=1.1.1.1, By=10.0.0.1;For=192.0.2.1;proto=https", "192.0.2.1"),
            ("for=\"[2001:db8:1:2::3]:4711\"", "2001:db8:1:2::/64"),
            ("for=\"192.0.2.1:80\"", "192.0.2.1"),
            ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
            ("for=1.1.1.1, proto=https", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &new, &[("forwarded", value)]), expected, "{value}");
        }
    }
}
