//! [`Head`]: a request's line and fields, as ranges of one block of bytes. No part of it is a `String`.
//!
//! A head that [`Conn`](super::Conn) hands out was checked by it; one that was built by
//! [`Head::new`] is checked there.

use bytes::Bytes;

/// The HTTP version of a request: `HTTP/1.0` is `{ major: 1, minor: 0 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// One digit.
    pub major: u8,
    /// One digit.
    pub minor: u8,
}

impl Version {
    /// HTTP/1.0.
    pub const HTTP_10: Version = Version { major: 1, minor: 0 };
    /// HTTP/1.1.
    pub const HTTP_11: Version = Version { major: 1, minor: 1 };
}

impl std::fmt::Display for Version {
    /// `HTTP/1.1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP/{}.{}", self.major, self.minor)
    }
}

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    Empty,
    /// `Content-Length` octets.
    Known(u64),
    /// The chunked coding ends it.
    Chunked,
}

/// A range of a head's block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of<'b>(self, block: &'b [u8]) -> &'b [u8] {
        &block[self.start as usize..self.end as usize]
    }
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct Head {
    pub(super) block: Bytes,
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) path: Span,
    pub(super) query: Span,
    pub(super) version: Version,
    pub(super) fields: Vec<(Span, Span)>,
    pub(super) length: BodyLength,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

impl Head {
    /// The method as it was sent (RFC 9110 §9.1): `GET`.
    #[must_use]
    pub fn method(&self) -> &str {
        text(self.method.of(&self.block))
    }

    /// The target exactly as it was sent (RFC 9112 §3.2).
    #[must_use]
    pub fn target(&self) -> &str {
        text(self.target.of(&self.block))
    }

    /// The path of the target, not decoded: what precedes `?` and `#`, without scheme and authority.
    /// `*` for the asterisk form; empty for an absolute form without a path and for the authority form.
    #[must_use]
    pub fn path(&self) -> &str {
        text(self.path.of(&self.block))
    }

    /// The query of the target, not decoded, without its `?` and without a fragment; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        text(self.query.of(&self.block))
    }

    /// The version of the request line.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields in the order in which they came: names as they were sent, values without the white space
    /// around them.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|(name, value)| (name.of(&self.block), value.of(&self.block)))
    }

    /// The value of the first field of that name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// How the body's end is found.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        self.length
    }

    /// Whether the client lets the connection serve another request (RFC 9112 §9.3).
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }
}

/// Checked bytes as text: the request line holds visible ASCII only.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
