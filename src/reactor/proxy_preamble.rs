//! [`ProxyPreamble`]: what a balancer may say before the first request, collected and judged.
//!
//! It exists only where PROXY headers are looked for, and only until the first bytes are known to be one or
//! none; a stranger's header is refused at its first bytes and never collected.

use crate::net::proxy::{self, Header, Parsed, ProxyError, ProxyProtocol};

/// The first bytes of a connection, until they are known to be a PROXY header or none.
#[derive(Debug)]
pub(super) struct ProxyPreamble {
    pub(super) seen: Vec<u8>,
    wanted: ProxyProtocol,
    /// True if the peer may send a header.
    trusted: bool,
}

/// The proxy's header before the first request, and the bytes that follow it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Preamble {
    pub(super) header: Option<Header>,
    pub(super) rest: Vec<u8>,
}

/// Why a connection is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("The peer may not send a PROXY header")]
    Stranger,
    #[error("{0}")]
    Malformed(#[from] ProxyError),
}

impl Refused {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Stranger => 403,
            Self::Malformed(_) => 400,
        }
    }
}

impl ProxyPreamble {
    pub(super) fn new(wanted: ProxyProtocol, trusted: bool) -> Self {
        Self {
            seen: Vec::new(),
            wanted,
            trusted,
        }
    }

    /// Takes more bytes in: what was said, once that is known.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Option<Preamble>, Refused> {
        self.seen.extend_from_slice(bytes);
        let parsed = proxy::parse(&self.seen, self.wanted);
        let (header, length) = match parsed {
            Ok(Parsed::Undecided) => return Ok(None),
            Ok(Parsed::Absent) => (None, 0),
            _ if !self.trusted => return Err(Refused::Stranger),
            Ok(Parsed::Partial) => return Ok(None),
            Ok(Parsed::Complete(header, length)) => (Some(header), length),
            Err(error) => return Err(error.into()),
        };
        let mut rest = self.end();
        rest.drain(..length);
        Ok(Some(Preamble { header, rest }))
    }

    /// Nothing more will come: the bytes that have not become a header.
    pub(super) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";

    fn preamble(trusted: bool) -> ProxyPreamble {
        ProxyPreamble::new(ProxyProtocol::Auto, trusted)
    }

    #[test]
    fn a_header_may_come_byte_by_byte_and_leaves_what_follows_it() {
        let mut preamble = preamble(true);
        let (last, before) = LINE.split_last().unwrap();
        for byte in before {
            assert_eq!(preamble.receive(&[*byte]), Ok(None));
        }
        let said = preamble.receive(&[*last, b'G']).unwrap().unwrap();
        assert!(matches!(said.header, Some(Header::Tcp { .. })));
        assert_eq!(said.rest, b"G");
        assert!(preamble.seen.is_empty());
    }

    // Gunicorn: E34
    #[test]
    fn a_client_without_a_header_loses_no_byte() {
        let mut preamble = preamble(false);
        assert_eq!(preamble.receive(b"P"), Ok(None));
        let said = preamble.receive(b"OST / HTTP/1.1\r\n").unwrap().unwrap();
        assert_eq!(said.header, None);
        assert_eq!(said.rest, b"POST / HTTP/1.1\r\n");
    }

    #[test]
    fn a_stranger_is_refused_at_the_first_bytes_of_a_header() {
        for bytes in [LINE, &LINE[..6], b"PROXY nonsense\r\n"] {
            assert_eq!(preamble(false).receive(bytes), Err(Refused::Stranger));
        }
    }

    #[test]
    fn a_malformed_header_is_a_bad_request() {
        let refused = preamble(true).receive(b"PROXY x\r\n").unwrap_err();
        assert_eq!(refused.status(), 400);
    }
}
