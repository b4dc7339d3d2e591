//! [`Head`]: a request's line and fields, as ranges of one block of bytes. No part of it is a `String`.
//!
//! A head that [`Conn`](super::Conn) hands out was checked by it; one that was built by
//! [`Head::new`] is checked there.

use bytes::Bytes;

use super::semantics::Semantics;
use super::types::{BodyLength, Span, Version};

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
    pub(super) semantics: Semantics,
}

impl Head {
    /// The method as it was sent (RFC 9110 §9.1): `GET`.
    #[must_use]
    pub fn method(&self) -> &str {
        text(self.method_bytes())
    }

    pub(crate) fn method_bytes(&self) -> &[u8] {
        self.method.of(&self.block)
    }

    /// The target exactly as it was sent (RFC 9112 §3.2).
    #[must_use]
    pub fn target(&self) -> &str {
        text(self.target_bytes())
    }

    pub(crate) fn target_bytes(&self) -> &[u8] {
        self.target.of(&self.block)
    }

    /// The field section as it came, if no field was [dropped](Self::dropped).
    #[cfg(feature = "wsgi")]
    pub(crate) fn field_section(&self) -> &[u8] {
        let first = self.fields.first();
        first.map_or(b"", |(name, _)| &self.block[name.start as usize..])
    }

    /// The path of the target, not decoded: what precedes `?` and `#`, without scheme and authority.
    ///
    /// An absolute form without a path has `/`, and for `OPTIONS` `*`, which it stands for (RFC 9110 §4.2.3,
    /// RFC 9112 §3.2.4). `*` for the asterisk form; empty for the authority form.
    #[must_use]
    pub fn path(&self) -> &str {
        text(self.path_bytes())
    }

    pub(crate) fn path_bytes(&self) -> &[u8] {
        match self.path.of(&self.block) {
            b"" => match self.method_bytes() {
                b"CONNECT" => b"",
                b"OPTIONS" if self.query.is_empty() => b"*",
                _ => b"/",
            },
            path => path,
        }
    }

    /// The query of the target, not decoded, without its `?` and without a fragment; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        text(self.query_bytes())
    }

    pub(crate) fn query_bytes(&self) -> &[u8] {
        self.query.of(&self.block)
    }

    /// The version of the request line.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields in the order in which they came: names as they were sent, values without the white space
    /// around them. Where the target has an authority, that is the value of `Host` (RFC 9112 §3.2.2).
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

    /// Tells how many fields were dropped because their names have an underscore: see
    /// [`Underscores`](super::Underscores).
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.semantics.dropped
    }

    /// Tells how the body's end is found.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        self.semantics.length
    }

    /// Tells whether the client lets the connection serve another request (RFC 9112 §9.3).
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.semantics.keep_alive
    }

    /// Tells whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.semantics.expects_continue
    }

    /// Whether the client asks to go on in another protocol on this connection (RFC 9110 §7.8): it names some, and its
    /// `Connection` lists `upgrade`. HTTP/1.0 cannot ask.
    #[must_use]
    pub fn upgrades(&self) -> bool {
        self.semantics.upgrades
    }
}

/// Checked bytes as text: the request line holds visible ASCII only.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::error::{ParseError, quote};
    use super::*;

    const HOST: (&[u8], &[u8]) = (b"Host", b"a");

    #[test]
    fn a_made_head_is_like_a_received_one() {
        let fields = [HOST, (b"X-One", b" 1\t"), (b"x-one", b"2")];
        let head = Head::new("GET", "/a?b=c#d", Version::HTTP_11, fields).unwrap();
        assert_eq!((head.method(), head.target()), ("GET", "/a?b=c#d"));
        assert_eq!((head.path(), head.query()), ("/a", "b=c"));
        assert_eq!(head.get("X-ONE"), Some(&b"1"[..]));
        assert_eq!(head.fields().len(), 3);
        assert_eq!(head.length(), BodyLength::Empty);
        assert!(head.keep_alive());
    }

    // Gunicorn: E67
    #[test]
    fn a_target_without_a_path_has_the_path_that_it_stands_for() {
        for (method, target, path) in [
            ("GET", "http://host", "/"),
            ("GET", "http://host?a", "/"),
            ("HEAD", "http://host:80#a", "/"),
            ("POST", "s://host?", "/"),
            ("OPTIONS", "http://host", "*"),
            ("OPTIONS", "http://host?a", "/"),
            ("OPTIONS", "http://host/", "/"),
            ("OPTIONS", "*", "*"),
            ("CONNECT", "host:80", ""),
        ] {
            let head = Head::new(method, target, Version::HTTP_11, [HOST]).unwrap();
            assert_eq!((head.path(), head.target()), (path, target), "{method}");
        }
    }

    #[test]
    fn a_made_head_cannot_smuggle_fields() {
        let new = |method, target, name: &'static [u8], value: &'static [u8]| {
            Head::new(method, target, Version::HTTP_11, [HOST, (name, value)])
        };
        assert!(new("GET", "/", b"a", b"b").is_ok());
        for bad in [
            new("GET", "/ HTTP/1.1\r\nx: y", b"a", b"b"),
            new("GET /", "x", b"a", b"b"),
            new("GET", "/", b"a:b", b"c"),
            new("GET", "/", b"a", b"b\r\nc: d"),
            new("GET", "/", b"", b"b"),
        ] {
            assert_eq!(bad.unwrap_err().status(), 400);
        }
        assert!(
            Head::new("GET", "/", Version::HTTP_11, []).is_err(),
            "no Host"
        );
    }

    #[test]
    fn a_made_head_has_all_given_fields_or_is_not_made() {
        for name in ["x_one", "Content_Length", "_"] {
            let fields = [HOST, (name.as_bytes(), b"1")];
            let made = Head::new("GET", "/", Version::HTTP_11, fields);
            let named = ParseError::Underscore(quote(name.as_bytes()));
            assert_eq!(made.unwrap_err(), named);
        }
    }
}
