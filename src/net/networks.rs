//! [`Networks`]: the trusted peers, as a list of addresses and networks.
//!
//! No name is resolved here: a list that depends on a name server is no list to trust by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// Addresses and networks with commas between them, `*` for all; empty for none.
///
/// A peer without an Internet address, one on a Unix socket, is always among them: the permissions of the
/// socket's file decide on access.
///
/// ```
/// use oxicorn::net::Networks;
///
/// let trusted: Networks = "127.0.0.1, 10.0.0.0/8".parse()?;
/// assert!(trusted.contains(Some("10.1.2.3".parse()?)));
/// assert!(!trusted.contains(Some("192.0.2.1".parse()?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    all: bool,
    some: Vec<IpNet>,
}

/// A text that names neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is neither an address, nor a network without bits for hosts, nor *")]
pub struct NetworkError(String);

impl Networks {
    /// This machine's own: `127.0.0.1,::1`.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            all: false,
            some: vec![
                IpAddr::from(Ipv4Addr::LOCALHOST).into(),
                IpAddr::from(Ipv6Addr::LOCALHOST).into(),
            ],
        }
    }

    /// Whether a peer's address is among them; `None` is a peer on a Unix socket.
    ///
    /// An IPv4 peer of an IPv6 socket (`::ffff:10.0.0.1`, RFC 4291 §2.5.5.2) counts as IPv4.
    #[must_use]
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer.map(|peer| peer.to_canonical()) else {
            return true;
        };
        self.all || self.some.iter().any(|network| network.contains(&peer))
    }
}

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let mut networks = Self {
            all: false,
            some: Vec::new(),
        };
        let parts = text.split(',').map(str::trim);
        for part in parts.filter(|part| !part.is_empty()) {
            match part {
                "*" => networks.all = true,
                _ => networks.some.push(network(part)?),
            }
        }
        Ok(networks)
    }
}

/// One address or network. Bits for hosts in a network (`10.0.0.1/8`) are a mistake, as they are to Gunicorn:
/// one host was meant, and 16 million would be trusted.
fn network(text: &str) -> Result<IpNet, NetworkError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network = text.parse::<IpNet>().ok();
    network
        .filter(|network| network.trunc() == *network)
        .ok_or_else(|| NetworkError(text.to_owned()))
}

impl fmt::Display for Networks {
    /// As it is parsed: `127.0.0.1,10.0.0.0/8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if self.all {
            f.write_str("*")?;
            comma = ",";
        }
        for network in &self.some {
            f.write_str(comma)?;
            comma = ",";
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().fmt(f)?;
            } else {
                network.fmt(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(list: &str, peer: &str) -> bool {
        let networks: Networks = list.parse().unwrap();
        networks.contains(Some(peer.parse().unwrap()))
    }

    // Gunicorn: S42, S47
    #[test]
    fn addresses_and_networks_of_both_kinds_are_found() {
        for (list, peer, wanted) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            (" ::1 , 2001:db8::/32,", "2001:db8:1::5", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("*", "192.0.2.1", true),
            ("", "127.0.0.1", false),
            ("0.0.0.0/0", "::1", false),
        ] {
            assert_eq!(has(list, peer), wanted, "{peer} in {list:?}");
        }
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_peer() {
        assert!(has("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(has("::ffff:10.0.0.1", "10.0.0.1"));
    }

    // Gunicorn: E28, S47
    #[test]
    fn a_peer_on_a_unix_socket_is_always_among_them() {
        assert!("".parse::<Networks>().unwrap().contains(None));
    }

    #[test]
    fn what_is_no_network_is_refused_and_named() {
        for text in ["localhost", "10.0.0.1/8", "10.0.0.0/33", "::1/x", "1.2.3"] {
            let error = format!("10.0.0.0/8,{text}")
                .parse::<Networks>()
                .unwrap_err();
            assert!(error.to_string().starts_with(text), "{error}");
        }
    }

    #[test]
    fn a_list_is_shown_as_it_is_parsed() {
        for text in ["127.0.0.1,::1", "*,10.0.0.0/8", ""] {
            assert_eq!(text.parse::<Networks>().unwrap().to_string(), text);
        }
        assert_eq!(Networks::loopback().to_string(), "127.0.0.1,::1");
    }
}
