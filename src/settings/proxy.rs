//! Whose word on a client's address is taken: the text of a setting enters, a network leaves, and
//! whether a neighbour is in it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Whose word on a client's address is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedProxy {
    /// Whoever has an address in this network.
    Network {
        /// An address in the network.
        address: IpAddr,
        /// How many of its first bits all its addresses share.
        prefix: u8,
    },
    /// Whoever comes by a Unix socket.
    UnixSocket,
}

/// Not an address, a network or `unix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an address, a network such as 10.0.0.0/8, or unix")]
pub struct BadTrustedProxy;

impl TrustedProxy {
    /// Whether it is this neighbour; one without an address comes by a Unix socket.
    pub fn is(&self, peer: Option<IpAddr>) -> bool {
        match (*self, peer) {
            (Self::UnixSocket, peer) => peer.is_none(),
            (Self::Network { .. }, None) => false,
            (Self::Network { address, prefix }, Some(peer)) => {
                match (address.to_canonical(), peer.to_canonical()) {
                    (IpAddr::V4(network), IpAddr::V4(peer)) => {
                        let differing = u32::from(network) ^ u32::from(peer);
                        differing.leading_zeros() >= u32::from(prefix)
                    }
                    (IpAddr::V6(network), IpAddr::V6(peer)) => {
                        let differing = u128::from(network) ^ u128::from(peer);
                        differing.leading_zeros() >= u32::from(prefix)
                    }
                    _ => false,
                }
            }
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = BadTrustedProxy;

    fn from_str(text: &str) -> Result<Self, BadTrustedProxy> {
        if text.eq_ignore_ascii_case("unix") {
            return Ok(Self::UnixSocket);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadTrustedProxy)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
        let prefix = match prefix {
            None => whole,
            Some(text) => {
                let number = Some(text).filter(digits).and_then(|text| text.parse().ok());
                number.filter(|prefix| *prefix <= whole).ok_or(BadTrustedProxy)?
            }
        };
        Ok(Self::Network { address, prefix })
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { address, prefix } => write!(f, "{address}/{prefix}"),
            Self::UnixSocket => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (proxy, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.9.8.7/8", "10.0.0.1", "9.255.255.255"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7", "::ffff:192.0.2.7", "::192.0.2.7"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("::1", "::1", "::2"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
        ] {
            let proxy: TrustedProxy = proxy.parse().unwrap();
            assert!(proxy.is(inside.parse().ok()), "{inside} in {proxy}");
            assert!(!proxy.is(outside.parse().ok()), "{outside} in {proxy}");
            assert!(!proxy.is(None), "{proxy}");
        }
        assert!(TrustedProxy::UnixSocket.is(None));
        assert!(!TrustedProxy::UnixSocket.is("::1".parse().ok()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "localhost"]
        {
            assert_eq!(text.parse::<TrustedProxy>(), Err(BadTrustedProxy), "{text}");
        }
        assert_eq!("UNIX".parse(), Ok(TrustedProxy::UnixSocket));
        assert_eq!("10.0.0.0/8".parse::<TrustedProxy>().unwrap().to_string(), "10.0.0.0/8");
    }
}
