//! The client that forwarders name: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Pure, and believes only what a trusted hop wrote: values are read from the right, where the nearest
//! forwarder adds, and never further than the first address that is not trusted.
//!
//! A client's own bytes stand before those of the forwarders, in one value. So nothing that a client writes may
//! change how the rest is read: `X-Forwarded-For` has no quotes, and `Forwarded`, which has them, must be whole
//! from its start.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::networks::Networks;

/// The field in which forwarders send the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAddress {
    /// None: the client is the peer, or the one that a PROXY header announced.
    #[default]
    Off,
    /// `X-Forwarded-For: 192.0.2.7, 198.51.100.1`.
    XForwardedFor,
    /// `Forwarded: for=192.0.2.7, for="[2001:db8::1]:4711";proto=https`.
    Forwarded,
}

/// A request's client, as forwarders describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedClient {
    /// Nothing: no forwarder has added to the field.
    Nothing,
    /// That there is a client, but not which: it is `unknown`, obfuscated, or what is told is no address.
    Hidden,
    /// Its address. The port is 0 where none is told.
    Client(SocketAddr),
}

/// A `Forwarded` field that is malformed by the grammar of RFC 7239, so that the start of its elements is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Malformed Forwarded header")]
pub struct MalformedForwarded;

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

    /// The client that the field's values tell, which a trusted hop has sent.
    ///
    /// # Errors
    ///
    /// Where a value of `Forwarded` is malformed anywhere, or the node of an element that counts.
    pub fn client<'v>(
        self,
        values: impl DoubleEndedIterator<Item = &'v [u8]>,
        trusted: &Networks,
    ) -> Result<ForwardedClient, MalformedForwarded> {
        match self {
            Self::Off => Ok(ForwardedClient::Nothing),
            Self::XForwardedFor => {
                let elements = values.rev().flat_map(|value| value.rsplit(|&b| b == b','));
                let elements = elements.map(<[u8]>::trim_ascii);
                let nodes = elements.filter(|element| !element.is_empty());
                first_stranger(nodes.map(|element| Ok(address(element))), trusted)
            }
            Self::Forwarded => {
                let mut nodes = Vec::new();
                for value in values {
                    Elements::new(value).read(&mut nodes)?;
                }
                let nodes = nodes.into_iter().rev();
                let nodes = nodes.map(|told| told.map_or(Ok(None), |told| node(&told)));
                first_stranger(nodes, trusted)
            }
        }
    }
}

/// The first of the nodes, from the right, that is not trusted; else the last of those that are.
fn first_stranger(
    nodes: impl Iterator<Item = Result<Option<SocketAddr>, MalformedForwarded>>,
    trusted: &Networks,
) -> Result<ForwardedClient, MalformedForwarded> {
    let mut told = ForwardedClient::Nothing;
    for node in nodes {
        let Some(node) = node? else {
            return Ok(ForwardedClient::Hidden);
        };
        told = ForwardedClient::Client(node);
        if !trusted.contains(Some(node.ip())) {
            break;
        }
    }
    Ok(told)
}

/// An address, of IPv6 with or without brackets, with or without a port.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bracketed = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = match bracketed.unwrap_or(text).parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv6() || bracketed.is_none() => SocketAddr::new(ip, 0),
        _ => text.parse().ok()?,
    };
    Some(canonical(address.ip(), address.port()))
}

fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// A node (RFC 7239 §6): `None` where it is `unknown` or obfuscated.
fn node(text: &[u8]) -> Result<Option<SocketAddr>, MalformedForwarded> {
    let text = std::str::from_utf8(text).map_err(|_| MalformedForwarded)?;
    let (ip, rest) = if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or(MalformedForwarded)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| MalformedForwarded)?;
        (Some(ip.into()), rest)
    } else {
        let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        let ip = match name {
            _ if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) => None,
            _ => Some(IpAddr::V4(
                name.parse::<Ipv4Addr>().map_err(|_| MalformedForwarded)?,
            )),
        };
        (ip, rest)
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => 0,
        Some(port) if is_obfuscated(port) => 0,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().map_err(|_| MalformedForwarded)?
        }
        _ => return Err(MalformedForwarded),
    };
    Ok(ip.map(|ip| canonical(ip, port)))
}

/// A name that says nothing outside its forwarder's own network (RFC 7239 §6.3).
fn is_obfuscated(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    text.strip_prefix('_')
        .is_some_and(|name| !name.is_empty() && name.bytes().all(is_allowed))
}

/// The elements of one value (RFC 7239 §4), read from its start. Blanks around separators are forgiven.
struct Elements<'v> {
    left: &'v [u8],
}

impl<'v> Elements<'v> {
    fn new(value: &'v [u8]) -> Self {
        Self { left: value }
    }

    /// Puts the `for` of each element into `nodes`, or `None` where it has none. Empty elements count for
    /// nothing (RFC 9110 §5.6.1.2).
    fn read(mut self, nodes: &mut Vec<Option<Cow<'v, [u8]>>>) -> Result<(), MalformedForwarded> {
        loop {
            let (mut is_empty, mut node) = (true, None);
            loop {
                self.skip_blanks();
                if !matches!(self.left.first(), None | Some(b';' | b',')) {
                    is_empty = false;
                    let (name, value) = self.pair()?;
                    let is_for = name.eq_ignore_ascii_case(b"for");
                    if is_for && node.replace(value).is_some() {
                        return Err(MalformedForwarded);
                    }
                    self.skip_blanks();
                }
                if !self.skip(b';') {
                    break;
                }
                is_empty = false;
            }
            if !is_empty {
                nodes.push(node);
            }
            if self.left.is_empty() {
                return Ok(());
            }
            if !self.skip(b',') {
                return Err(MalformedForwarded);
            }
        }
    }

    /// A name and its value.
    fn pair(&mut self) -> Result<(&'v [u8], Cow<'v, [u8]>), MalformedForwarded> {
        let name = self.token()?;
        if !self.skip(b'=') {
            return Err(MalformedForwarded);
        }
        let value = if self.skip(b'"') {
            self.quoted()?
        } else {
            Cow::Borrowed(self.token()?)
        };
        Ok((name, value))
    }

    /// RFC 9110 §5.6.2.
    fn token(&mut self) -> Result<&'v [u8], MalformedForwarded> {
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let end = self.left.iter().position(|b| !is_token(b));
        let (token, left) = self.left.split_at(end.unwrap_or(self.left.len()));
        self.left = left;
        if token.is_empty() {
            return Err(MalformedForwarded);
        }
        Ok(token)
    }

    /// What follows an opening quote, up to the closing one (RFC 9110 §5.6.4).
    fn quoted(&mut self) -> Result<Cow<'v, [u8]>, MalformedForwarded> {
        let text = self.left;
        let mut unescaped: Option<Vec<u8>> = None;
        let mut bytes = text.iter().enumerate();
        while let Some((at, &byte)) = bytes.next() {
            let byte = match byte {
                b'"' => {
                    self.left = &text[at + 1..];
                    return Ok(unescaped.map_or(Cow::Borrowed(&text[..at]), Cow::Owned));
                }
                b'\\' => {
                    unescaped.get_or_insert_with(|| text[..at].to_vec());
                    *bytes.next().ok_or(MalformedForwarded)?.1
                }
                byte => byte,
            };
            if byte.is_ascii_control() && byte != b'\t' {
                return Err(MalformedForwarded);
            }
            if let Some(unescaped) = &mut unescaped {
                unescaped.push(byte);
            }
        }
        Err(MalformedForwarded)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let left = self.left.strip_prefix(&[byte]);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    fn skip_blanks(&mut self) {
        while self.skip(b' ') || self.skip(b'\t') {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(
        mode: ClientAddress,
        values: &[&[u8]],
    ) -> Result<ForwardedClient, MalformedForwarded> {
        let trusted = "10.0.0.0/8,::1".parse().unwrap();
        mode.client(values.iter().copied(), &trusted)
    }

    #[track_caller]
    fn tells(mode: ClientAddress, values: &[&str], wanted: &str) {
        let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let wanted = ForwardedClient::Client(wanted.parse().unwrap());
        assert_eq!(client(mode, &bytes), Ok(wanted), "{values:?}");
    }

    // Gunicorn: E27
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

    // Gunicorn: E27
    #[test]
    fn no_byte_of_a_client_changes_how_a_forwarder_is_read() {
        let told = Ok(ForwardedClient::Client("203.0.113.9:0".parse().unwrap()));
        for byte in (0..=u8::MAX).filter(|byte| *byte != b',') {
            for own in [vec![byte], vec![b'"', byte], vec![b'\\', byte, b'"']] {
                let joined = [&own[..], b", 203.0.113.9, 10.0.0.1"].concat();
                let x = ClientAddress::XForwardedFor;
                assert_eq!(client(x, &[&joined]), told, "{own:?}");
                assert_eq!(client(x, &[&own, b"203.0.113.9"]), told, "{own:?}");

                // Of a field with quotes nothing is believed unless all of it is whole.
                let forwarded = |own: &[u8]| {
                    let value = [b"for=10.0.0.5;by=", own, b", for=203.0.113.9"].concat();
                    client(ClientAddress::Forwarded, &[&value])
                };
                let answer = forwarded(&own);
                assert!(
                    answer == told || answer == Err(MalformedForwarded),
                    "{own:?}"
                );
            }
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
            (&["for=\"\\192.0.2.\\7\""], "192.0.2.7:0"),
            (
                &["for=nobody, for=192.0.2.7,, ,for=10.0.0.1"],
                "192.0.2.7:0",
            ),
            (&["for=\"192.0.2.7:_p\""], "192.0.2.7:0"),
            (&["for=192.0.2.7;", ";for=10.0.0.1;;"], "192.0.2.7:0"),
            (&["for=\"[::ffff:192.0.2.7]\""], "192.0.2.7:0"),
        ] {
            tells(ClientAddress::Forwarded, values, wanted);
        }
    }

    // Gunicorn: E27
    #[test]
    fn a_forwarded_field_that_is_not_whole_is_malformed() {
        for value in [
            "for=10.0.0.5;by=\", for=192.0.2.7",
            "for=\"1.2.3.4",
            "for=1.2.3.4, for=\"x, for=10.0.0.1",
            "for=\"x\\\", for=192.0.2.7",
            "for=\"x\\",
            "for=\"x\"y, for=192.0.2.7",
            "by=\"\u{1}\", for=192.0.2.7",
            "192.0.2.7",
            "for, for=192.0.2.7",
            "for=, for=192.0.2.7",
            "=x, for=192.0.2.7",
            "for =x, for=192.0.2.7",
            "for= x, for=192.0.2.7",
            "by=a by=b, for=192.0.2.7",
            "b@d=x, for=192.0.2.7",
            "by=[::1], for=192.0.2.7",
            "for=1.2.3.4;for=5.6.7.8",
            "for=1.2.3.4;FOR=5.6.7.8, for=192.0.2.7",
            "\u{e9}, for=192.0.2.7",
        ] {
            let answer = client(ClientAddress::Forwarded, &[value.as_bytes()]);
            assert_eq!(answer, Err(MalformedForwarded), "{value}");
        }
        // Each value must be whole by itself.
        let values = [&b"by=\"a"[..], b"b\", for=192.0.2.7"];
        let answer = client(ClientAddress::Forwarded, &values);
        assert_eq!(answer, Err(MalformedForwarded));
    }

    #[test]
    fn a_node_that_counts_must_be_one_by_the_grammar() {
        for node in [
            "nobody",
            "_",
            "_a b",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:+1",
            "1.2.3.4:65536",
            "1.2.3.4:_",
            "2001:db8::1",
            "[1.2.3.4]",
            "[::1",
            "[::1]80",
            "unknown:x",
            "\u{e9}",
            "",
        ] {
            let value = format!("for=192.0.2.7, for=\"{node}\"");
            let answer = client(ClientAddress::Forwarded, &[value.as_bytes()]);
            assert_eq!(answer, Err(MalformedForwarded), "{node}");
        }
    }

    #[test]
    fn a_client_that_is_not_named_is_not_taken_for_its_forwarder() {
        let x = ClientAddress::XForwardedFor;
        for value in [
            "x",
            "192.0.2.7, x",
            "192.0.2.7, unknown, 10.0.0.1",
            "1.2.3.4:x",
            "[1.2.3.4]",
            "\"192.0.2.7\"",
            "192.0.2.7 ::1",
            "\u{e9}",
        ] {
            assert_eq!(
                client(x, &[value.as_bytes()]),
                Ok(ForwardedClient::Hidden),
                "{value}"
            );
        }
        for value in [
            "for=unknown",
            "for=\"Unknown:80\"",
            "for=_hidden",
            "for=192.0.2.7, for=_hidden, for=10.0.0.1",
            "proto=https",
            "for=192.0.2.7, by=10.0.0.1",
            ";",
        ] {
            let answer = client(ClientAddress::Forwarded, &[value.as_bytes()]);
            assert_eq!(answer, Ok(ForwardedClient::Hidden), "{value}");
        }
    }

    #[test]
    fn a_field_to_which_no_forwarder_has_added_tells_nothing() {
        for mode in [ClientAddress::XForwardedFor, ClientAddress::Forwarded] {
            for values in [&[][..], &[&b""[..]], &[b" , ", b"\t"]] {
                assert_eq!(
                    client(mode, values),
                    Ok(ForwardedClient::Nothing),
                    "{values:?}"
                );
            }
        }
        let off = ClientAddress::Off;
        assert_eq!(client(off, &[b"192.0.2.7"]), Ok(ForwardedClient::Nothing));
    }
}
