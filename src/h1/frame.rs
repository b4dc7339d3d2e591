//! [`Frame`]: what goes around a block of a response's body.
//!
//! The body's bytes themselves are never copied or seen here.

use std::fmt;

/// Ends a chunked body (RFC 9112 §7.1): the last chunk, and no trailers.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The bytes to send around a part of a response's body, and how much of that part to send.
///
/// Send `prefix`, then the first `take` of the bytes, then `suffix`.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The bytes to send before the part.
    pub prefix: Prefix,
    /// The bytes to send after the part.
    pub suffix: &'static [u8],
    /// The number of its bytes that belong to the response: fewer where they exceed its `Content-Length`, none where it
    /// has no body (HEAD, 204, 304).
    pub take: usize,
}

impl Frame {
    pub(super) fn bare(take: usize) -> Self {
        Self {
            prefix: Prefix::EMPTY,
            suffix: b"",
            take,
        }
    }

    /// `chunk-size CRLF`, data, CRLF (RFC 9112 §7.1); nothing for no data, since that would be the end.
    pub(super) fn chunk(len: usize) -> Self {
        if len == 0 {
            return Self::bare(0);
        }
        Self {
            prefix: Prefix::hexadecimal(len),
            suffix: b"\r\n",
            take: len,
        }
    }
}

/// The few bytes before a block of a response's body: a chunk's size and CRLF, or none.
#[derive(Clone, Copy)]
pub struct Prefix {
    bytes: [u8; Self::SPACE],
    start: u8,
}

impl Prefix {
    /// 16 digits and CRLF.
    const SPACE: usize = 18;
    const EMPTY: Self = Self {
        bytes: *b"0000000000000000\r\n",
        start: Self::SPACE as u8,
    };

    fn hexadecimal(mut value: usize) -> Self {
        let mut prefix = Self::EMPTY;
        let mut start = Self::SPACE - 2;
        while value > 0 {
            start -= 1;
            prefix.bytes[start] = b"0123456789ABCDEF"[value % 16];
            value /= 16;
        }
        prefix.start = start as u8;
        prefix
    }
}

impl AsRef<[u8]> for Prefix {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_ref().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_size_before_it() {
        for (len, prefix) in [
            (1, "1\r\n"),
            (15, "F\r\n"),
            (16, "10\r\n"),
            (usize::MAX, "FFFFFFFFFFFFFFFF\r\n"),
        ] {
            let frame = Frame::chunk(len);
            assert_eq!(frame.prefix.as_ref(), prefix.as_bytes());
            assert_eq!((frame.suffix, frame.take), (&b"\r\n"[..], len));
        }
    }

    #[test]
    fn no_data_makes_no_chunk() {
        let frame = Frame::chunk(0);
        assert!(frame.prefix.as_ref().is_empty() && frame.suffix.is_empty());
    }
}
