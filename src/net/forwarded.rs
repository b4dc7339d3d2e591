//! Who the client is by the word of forwarders: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Pure, and believes only what a trusted hop wrote: values are read from the right, where the nearest
//! forwarder adds, and never further than the first address that is not trusted.

use std::net::{IpAddr, SocketAddr};

use super::Networks;

/// By which field forwarders tell the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAddress {
    /// None: the client is who connected, or whom a PROXY header announced.
    #[default]
    Off,
    /// `X-Forwarded-For: 192.0.2.7, 198.51.100.1`.
    XForwardedFor,
    /// `Forwarded: for=192.0.2.7, for="[2001:db8::1]:4711";proto=https`.
    Forwarded,
}

impl ClientAddress {
    /// The field's name, in lower case.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::XForwardedFor => Some("x-forwarded-for"),
            Self::Forwarded => Some("forwarded"),
        }
    }

    /// The client that the field's values tell, which a trusted hop has sent. Port 0 where none is told.
    ///
    /// `None` where they tell none: a node that is `unknown`, obfuscated or malformed might be anybody.
    pub fn client<'v>(
        self,
        values: impl DoubleEndedIterator<Item = &'v [u8]>,
        trusted: &Networks,
    ) -> Option<SocketAddr> {
        let mut client = None;
        for value in values.rev() {
            let value = std::str::from_utf8(value).ok()?;
            for element in split(value, ',').into_iter().rev() {
                let node = match self {
                    Self::Off => return None,
                    Self::XForwardedFor => node(element)?,
                    Self::Forwarded => node(for_parameter(element)?)?,
                };
                client = Some(node);
                if !trusted.contains(Some(node.ip())) {
                    return client;
                }
            }
        }
        client
    }
}

/// The parts between separators that are not within a quoted string; empty ones count for nothing
/// (RFC 9110 §5.6.1.2).
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|c| {
        let here = c == separator && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        here
    })
    .map(|part| part.trim_matches([' ', '\t']))
    .filter(|part| !part.is_empty())
    .collect()
}

/// The value of an element's `for` (RFC 7239 §4), which it has once. Nothing in an address needs an escape.
fn for_parameter(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in split(element, ';') {
        let (name, value) = pair.split_once('=')?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address, of IPv6 with or without brackets, with or without a port.
fn node(text: &str) -> Option<SocketAddr> {
    let bracketed = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = match bracketed.unwrap_or(text).parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv6() || bracketed.is_none() => SocketAddr::new(ip, 0),
        _ => text.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(mode: ClientAddress, values: &[&str]) -> Option<String> {
        let trusted = "10.0.0.0/8,::1".parse().unwrap();
        let values = values.iter().map(|value| value.as_bytes());
        let client = mode.client(values, &trusted)?;
        Some(client.to_string())
    }

    #[track_caller]
    fn tells(mode: ClientAddress, values: &[&str], wanted: &str) {
        assert_eq!(client(mode, values).as_deref(), Some(wanted), "{values:?}");
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
        for (values, wanted) in [
            (&["192.0.2.7"][..], "192.0.2.7:0"),
            (&["6.6.6.6, 192.0.2.7"], "192.0.2.7:0"),
            (&["6.6.6.6, 192.0.2.7, 10.1.1.1"], "192.0.2.7:0"),
            (
                &["6.6.6.6", "192.0.2.7", "10.1.1.1,10.2.2.2"],
                "192.0.2.7:0",
            ),
            (&["10.9.9.9, 10.1.1.1"], "10.9.9.9:0"),
            (&["x, 192.0.2.7"], "192.0.2.7:0"),
            (&[" ,192.0.2.7 , ,"], "192.0.2.7:0"),
            (&["192.0.2.7:4711"], "192.0.2.7:4711"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]:80, ::1"], "[2001:db8::1]:80"),
            (&["::ffff:192.0.2.7, ::ffff:10.0.0.1"], "192.0.2.7:0"),
        ] {
            tells(ClientAddress::XForwardedFor, values, wanted);
        }
    }

    #[test]
    fn forwarded_is_read_with_its_quotes_and_parameters() {
        for (values, wanted) in [
            (&["for=192.0.2.7"][..], "192.0.2.7:0"),
            (&["For=\"192.0.2.7:4711\""], "192.0.2.7:4711"),
            (
                &["for=6.6.6.6, by=10.0.0.1; FOR=\"[2001:db8::1]:80\" ;proto=https, for=10.1.1.1"],
                "[2001:db8::1]:80",
            ),
            (&["for=\"a, for=6.6.6.6\"", "for=192.0.2.7"], "192.0.2.7:0"),
            (&["host=\"a,b;for=\\\",\";for=192.0.2.7"], "192.0.2.7:0"),
        ] {
            tells(ClientAddress::Forwarded, values, wanted);
        }
    }

    #[test]
    fn what_is_malformed_or_hidden_where_it_would_count_tells_nobody() {
        let x = ClientAddress::XForwardedFor;
        for value in [
            "",
            "x",
            "192.0.2.7, x",
            "192.0.2.7, unknown",
            "1.2.3.4:x",
            "[1.2.3.4]",
        ] {
            assert_eq!(client(x, &[value]), None, "{value}");
        }
        for value in [
            "for=unknown",
            "for=_hidden",
            "192.0.2.7",
            "proto=https",
            "for=1.2.3.4;for=5.6.7.8",
            "for=\"1.2.3.4",
            "for=1.2.3.4, for=\"x, for=10.0.0.1",
        ] {
            assert_eq!(client(ClientAddress::Forwarded, &[value]), None, "{value}");
        }
        let latin = [&b"\xff, 192.0.2.7"[..]];
        assert_eq!(x.client(latin.into_iter(), &Networks::loopback()), None);
        assert_eq!(client(ClientAddress::Off, &["192.0.2.7"]), None);
    }
}
