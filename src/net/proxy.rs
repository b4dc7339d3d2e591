//! The PROXY protocol, versions 1 and 2: what a balancer says of a client before the client's first byte.
//!
//! Pure: bytes in, a [`Header`] out. It reads no socket, and whether a peer may send one is not its business.
//!
//! ```text
//!   parse ──▶ Undecided    what has come may become a header
//!         ──▶ Absent       what has come is the client's
//!         ──▶ Partial      a header has begun
//!         ──▶ Complete     the header, and how many bytes it had
//!         ──▶ ProxyError   a header has begun that cannot be one
//! ```
//!
//! Sections are those of `HAProxy`'s `proxy-protocol.txt`.
//!
//! *Invariants*: `parse` looks at each header from its start, so that it gives the same however the bytes were
//! cut; a header never has more than [`LONGEST`] bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The bytes of the longest header: one of version 2, whose length has 16 bits (2.2).
pub const LONGEST: usize = V2_FIXED + u16::MAX as usize;

/// How a header of version 1 begins (2.1).
const V1: &[u8] = b"PROXY ";
/// The bytes of the longest line of version 1, its end included (2.1).
const V1_LONGEST: usize = 107;
/// How a header of version 2 begins (2.2).
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_FIXED: usize = 16;

/// Which headers are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// None: what comes is the client's.
    #[default]
    Off,
    /// Those of version 1, a line of text.
    V1,
    /// Those of version 2, which are binary.
    V2,
    /// Those of either version.
    Auto,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Header {
    /// The balancer speaks for itself, to see whether we live (`LOCAL`).
    Local,
    /// It forwards a client of unknown address (`UNKNOWN`, `UNSPEC`).
    Unknown,
    /// It speaks for a client that connected to it over TCP.
    Tcp {
        /// The client.
        source: SocketAddr,
        /// What the client connected to.
        destination: SocketAddr,
    },
}

impl Header {
    /// What Gunicorn calls it: `TCP4`, `TCP6`, `LOCAL` or `UNSPEC`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Local => "LOCAL",
            Self::Unknown => "UNSPEC",
            Self::Tcp { source, .. } if source.is_ipv4() => "TCP4",
            Self::Tcp { .. } => "TCP6",
        }
    }
}

/// The first bytes of a connection. Exhaustive: a caller has to go on in a way of its own after each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// They may become a header, or a request.
    Undecided,
    /// They are no header.
    Absent,
    /// They are the beginning of a header.
    Partial,
    /// They begin with a header of this many bytes.
    Complete(Header, usize),
}

/// Why bytes that begin as a header are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A line of version 1 does not end within 107 bytes.
    #[error("the PROXY line does not end within {V1_LONGEST} bytes")]
    LongLine,
    /// A line of version 1 has not the form that its protocol asks for.
    #[error("the PROXY line is malformed")]
    Line,
    /// An address is none of its family, or not in the family's usual form.
    #[error("an address in the PROXY line is invalid")]
    Address,
    /// A port is no decimal number up to 65535 without leading zeros.
    #[error("a port in the PROXY line is invalid")]
    Port,
    /// The version of a binary header is not 2.
    #[error("the PROXY header's version is not 2")]
    Version,
    /// The command of a binary header is neither LOCAL nor PROXY.
    #[error("the PROXY header's command is unknown")]
    Command,
    /// The family or transport of a binary header is one that cannot carry HTTP/1.1.
    #[error("the PROXY header is not of a stream over IP")]
    Family,
    /// The length of a binary header leaves no room for its addresses.
    #[error("the PROXY header is too short for its addresses")]
    Short,
}

/// Looks at the first bytes of a connection.
///
/// # Errors
///
/// Where they begin as a header of a version that is looked for, and cannot become one.
pub fn parse(bytes: &[u8], wanted: ProxyProtocol) -> Result<Parsed, ProxyError> {
    let (v1, v2) = match wanted {
        ProxyProtocol::Off => (false, false),
        ProxyProtocol::V1 => (true, false),
        ProxyProtocol::V2 => (false, true),
        ProxyProtocol::Auto => (true, true),
    };
    if v1 && bytes.starts_with(V1) {
        parse_line(bytes)
    } else if v2 && bytes.starts_with(V2) {
        parse_binary(bytes)
    } else if (v1 && V1.starts_with(bytes)) || (v2 && V2.starts_with(bytes)) {
        Ok(Parsed::Undecided)
    } else {
        Ok(Parsed::Absent)
    }
}

/// Version 1: `PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n`.
fn parse_line(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let window = &bytes[..bytes.len().min(V1_LONGEST)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() == V1_LONGEST {
            Err(ProxyError::LongLine)
        } else {
            Ok(Parsed::Partial)
        };
    };
    let line = std::str::from_utf8(&window[V1.len()..end]).map_err(|_| ProxyError::Line)?;
    let mut parts = line.split(' ');
    let protocol = parts.next().unwrap_or_default();
    let header = match protocol {
        // "The receiver must ignore anything presented before the CRLF" (2.1).
        "UNKNOWN" => Header::Unknown,
        "TCP4" | "TCP6" => {
            let mut next = || parts.next().ok_or(ProxyError::Line);
            let (source, destination) = (next()?, next()?);
            let (source_port, destination_port) = (next()?, next()?);
            if parts.next().is_some() {
                return Err(ProxyError::Line);
            }
            let address = if protocol == "TCP4" { ipv4 } else { ipv6 };
            Header::Tcp {
                source: SocketAddr::new(address(source)?, port(source_port)?),
                destination: SocketAddr::new(address(destination)?, port(destination_port)?),
            }
        }
        _ => return Err(ProxyError::Line),
    };
    Ok(Parsed::Complete(header, end + 2))
}

fn ipv4(text: &str) -> Result<IpAddr, ProxyError> {
    let address: Result<Ipv4Addr, _> = text.parse();
    address.map(Into::into).map_err(|_| ProxyError::Address)
}

fn ipv6(text: &str) -> Result<IpAddr, ProxyError> {
    let address: Result<Ipv6Addr, _> = text.parse();
    address.map(Into::into).map_err(|_| ProxyError::Address)
}

/// "Heading zeroes are not permitted" (2.1), nor is the sign that `u16`'s own parser takes.
fn port(text: &str) -> Result<u16, ProxyError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    match text.parse() {
        Ok(port) if plain && canonical => Ok(port),
        _ => Err(ProxyError::Port),
    }
}

/// Version 2: what is wrong is said as soon as it is seen, before the rest has come.
fn parse_binary(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let Some(fixed) = bytes.first_chunk::<V2_FIXED>() else {
        return Ok(Parsed::Partial);
    };
    let [.., version_and_command, family_and_transport, high, low] = *fixed;
    if version_and_command >> 4 != 2 {
        return Err(ProxyError::Version);
    }
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    // The TLVs that follow the addresses are not used.
    let (header, needed) = match (version_and_command & 0xf, family_and_transport) {
        // "The receiver must accept this connection as valid and must use the real connection endpoints and
        // discard the protocol block" (2.2).
        (0, _) => (Some(Header::Local), 0),
        (1, 0x00) => (Some(Header::Unknown), 0),
        (1, 0x11) => (v4(bytes), V2_FIXED + 12),
        (1, 0x21) => (v6(bytes), V2_FIXED + 36),
        (1, _) => return Err(ProxyError::Family),
        _ => return Err(ProxyError::Command),
    };
    if length < needed {
        return Err(ProxyError::Short);
    }
    Ok(match header {
        Some(header) if bytes.len() >= length => Parsed::Complete(header, length),
        _ => Parsed::Partial,
    })
}

/// The addresses of `AF_INET`, if they are all there.
fn v4(bytes: &[u8]) -> Option<Header> {
    let (source, rest) = bytes.get(V2_FIXED..)?.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    header((*source).into(), (*destination).into(), rest)
}

/// The addresses of `AF_INET6`, if they are all there.
fn v6(bytes: &[u8]) -> Option<Header> {
    let (source, rest) = bytes.get(V2_FIXED..)?.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    header((*source).into(), (*destination).into(), rest)
}

fn header(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Option<Header> {
    let &[a, b, c, d] = ports.first_chunk::<4>()?;
    Some(Header::Tcp {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProxyProtocol::{Auto, Off};

    fn tcp(source: &str, destination: &str) -> Header {
        Header::Tcp {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    /// A header of version 2.
    fn binary(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [
            V2,
            &[version_and_command, family, length[0], length[1]],
            block,
        ]
        .concat()
    }

    fn inet() -> Vec<u8> {
        binary(
            0x21,
            0x11,
            &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80],
        )
    }

    /// Headers with what they say.
    fn good() -> Vec<(Vec<u8>, Header)> {
        let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
        let v6 = [
            &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..],
            &Ipv6Addr::LOCALHOST.octets(),
            &[0x12, 0x67, 0, 80],
            b"\x04\x00\x02ab",
        ]
        .concat();
        let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        vec![
            (
                line("TCP4 192.0.2.7 198.51.100.1 4711 80"),
                tcp("192.0.2.7:4711", "198.51.100.1:80"),
            ),
            (
                line("TCP6 2001:db8::7 ::1 0 65535"),
                tcp("[2001:db8::7]:0", "[::1]:65535"),
            ),
            (line("UNKNOWN"), Header::Unknown),
            (
                line(&format!("UNKNOWN {long} {long} 65535 65535")),
                Header::Unknown,
            ),
            (inet(), tcp("192.0.2.7:4711", "198.51.100.1:80")),
            (
                binary(0x21, 0x21, &v6),
                tcp("[2001:db8::7]:4711", "[::1]:80"),
            ),
            (binary(0x20, 0x00, b""), Header::Local),
            (binary(0x20, 0x31, b"whatever"), Header::Local),
            (binary(0x21, 0x00, b"\x04\x00\x01x"), Header::Unknown),
        ]
    }

    #[test]
    fn headers_of_both_versions_are_read_however_they_are_cut() {
        for (bytes, header) in good() {
            let complete = Ok(Parsed::Complete(header, bytes.len()));
            let with_request = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&with_request, Auto), complete, "{header:?}");
            for end in 0..bytes.len() {
                let parsed = parse(&bytes[..end], Auto);
                assert!(
                    matches!(parsed, Ok(Parsed::Undecided | Parsed::Partial)),
                    "{end} bytes of {header:?}: {parsed:?}"
                );
            }
        }
    }

    // Gunicorn: E36
    #[test]
    fn the_longest_line_is_107_bytes() {
        let (line, _) = good().swap_remove(3);
        assert_eq!(line.len(), V1_LONGEST);
        let endless = [V1, &[b'x'; 200]].concat();
        assert_eq!(parse(&endless[..106], Auto), Ok(Parsed::Partial));
        assert_eq!(parse(&endless[..107], Auto), Err(ProxyError::LongLine));
    }

    // Gunicorn: E36
    #[test]
    fn lines_that_are_not_strictly_in_form_are_refused() {
        for (text, error) in [
            ("", ProxyError::Line),
            ("TCP4", ProxyError::Line),
            ("tcp4 1.2.3.4 1.2.3.4 1 2", ProxyError::Line),
            ("TCP4 1.2.3.4 1.2.3.4 1", ProxyError::Line),
            ("TCP4 1.2.3.4 1.2.3.4 1 2 3", ProxyError::Line),
            ("TCP4  1.2.3.4 1.2.3.4 1 2", ProxyError::Line),
            ("TCP4 1.2.3.4 1.2.3.4 1 2 ", ProxyError::Line),
            ("TCP4 ::1 ::1 1 2", ProxyError::Address),
            ("TCP6 1.2.3.4 1.2.3.4 1 2", ProxyError::Address),
            ("TCP6 [::1] ::1 1 2", ProxyError::Address),
            ("TCP6 fe80::1%1 ::1 1 2", ProxyError::Address),
            ("TCP4 1.2.3.256 1.2.3.4 1 2", ProxyError::Address),
            ("TCP4 01.2.3.4 1.2.3.4 1 2", ProxyError::Address),
            ("TCP4 1.2.3.4 1.2.3.4 65536 2", ProxyError::Port),
            ("TCP4 1.2.3.4 1.2.3.4 +1 2", ProxyError::Port),
            ("TCP4 1.2.3.4 1.2.3.4 01 2", ProxyError::Port),
            ("TCP4 1.2.3.4 1.2.3.4 00 2", ProxyError::Port),
            ("TCP4 1.2.3.4 1.2.3.4  2", ProxyError::Port),
            ("UDP4 1.2.3.4 1.2.3.4 1 2", ProxyError::Line),
        ] {
            let line = format!("PROXY {text}\r\n");
            assert_eq!(parse(line.as_bytes(), Auto), Err(error), "{text:?}");
        }
        assert_eq!(parse(b"PROXY \xff\r\n", Auto), Err(ProxyError::Line));
    }

    // Gunicorn: E37
    #[test]
    fn binary_headers_that_are_wrong_are_refused_before_their_end() {
        for (bytes, error) in [
            (binary(0x11, 0x11, b""), ProxyError::Version),
            (binary(0x22, 0x11, b""), ProxyError::Command),
            (binary(0x21, 0x12, &[0; 12]), ProxyError::Family),
            (binary(0x21, 0x31, &[0; 216]), ProxyError::Family),
            (binary(0x21, 0x10, &[0; 12]), ProxyError::Family),
            (binary(0x21, 0x11, &[0; 11]), ProxyError::Short),
            (binary(0x21, 0x21, &[0; 35]), ProxyError::Short),
        ] {
            assert_eq!(parse(&bytes[..V2_FIXED], Auto), Err(error));
        }
    }

    #[test]
    fn what_is_not_looked_for_is_the_clients() {
        let v1 = &b"PROXY UNKNOWN\r\n"[..];
        let v2 = inet();
        assert_eq!(parse(v1, Off), Ok(Parsed::Absent));
        assert_eq!(parse(&v2, Off), Ok(Parsed::Absent));
        assert_eq!(parse(v1, ProxyProtocol::V2), Ok(Parsed::Absent));
        assert_eq!(parse(&v2, ProxyProtocol::V1), Ok(Parsed::Absent));
        for request in [&b"GET / HTTP/1.1\r\n"[..], b"P U", b"\r\nGET /", b"PROXY/"] {
            assert_eq!(parse(request, Auto), Ok(Parsed::Absent));
        }
    }
}
