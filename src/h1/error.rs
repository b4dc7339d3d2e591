//! The errors of both directions: a request is refused ([`ParseError`]), or a response cannot be sent
//! ([`EncodeError`]).
//!
//! The texts carry the user's own words, quoted, clipped and in visible ASCII; a field's value never is
//! among them, since it may be a secret.

/// The most bytes of the client's input that a text repeats.
const CLIP: usize = 64;

/// The reason for refusing a request. The text is fit for an error page once it is escaped for HTML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A line ends in LF alone. RFC 9112 §2.2 lets a server refuse it; taken, it can hide a request from another server.
    #[error("a line ends in LF without CR")]
    BareLineFeed,
    /// The request line exceeds [`Limits::request_line`](super::Limits::request_line).
    #[error("the request line is longer than {limit} bytes")]
    RequestLineTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Not a method, a target and a version with one space between them (RFC 9112 §3).
    #[error("invalid request line {0}")]
    RequestLine(String),
    /// Not a method of 3 to 20 characters without lower case (RFC 9110 §9.1, and Gunicorn's rule).
    #[error("invalid method {0}")]
    Method(String),
    /// Not a target that fits the method (RFC 9112 §3.2).
    #[error("invalid request target {0}")]
    Target(String),
    /// Not HTTP/1.x (RFC 9112 §2.3).
    #[error("invalid HTTP version {0}")]
    Version(String),
    /// More fields than [`Limits::fields`](super::Limits::fields).
    #[error("more than {limit} header fields")]
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// A field's line exceeds [`Limits::field_size`](super::Limits::field_size).
    #[error("a header field is longer than {limit} bytes")]
    FieldTooLong {
        /// The limit, in bytes, with the line's CRLF.
        limit: usize,
    },
    /// A field's name is no token, or there is none (RFC 9110 §5.1, RFC 9112 §5.1).
    #[error("invalid header field name {0}")]
    FieldName(String),
    /// The value of the field of this name holds a control character (RFC 9110 §5.5).
    #[error("invalid value of header field {0}")]
    FieldValue(String),
    /// The name holds an underscore, and [`Underscores::Refuse`](super::Underscores::Refuse) is set.
    #[error("underscore in the name of header field {0}")]
    Underscore(String),
    /// A field goes on in the next line (RFC 9112 §5.2).
    #[error("a header field is folded over several lines")]
    Folded,
    /// A field of this name may be there once only.
    #[error("repeated header field {0}")]
    Repeated(&'static str),
    /// HTTP/1.1 without `Host` (RFC 9112 §3.2).
    #[error("no Host header field")]
    NoHost,
    /// Not a host with or without a port (RFC 9112 §3.2).
    #[error("invalid Host {0}")]
    Host(String),
    /// Not a decimal number that fits 64 bits (RFC 9110 §8.6).
    #[error("invalid Content-Length {0}")]
    ContentLength(String),
    /// `Transfer-Encoding` and `Content-Length` together (RFC 9112 §6.1): request smuggling.
    #[error("both Transfer-Encoding and Content-Length")]
    CodingAndLength,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 §6.1).
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingInHttp10,
    /// `chunked` comes twice or is not the last coding (RFC 9112 §6.1).
    #[error("a transfer coding after chunked: {0}")]
    AfterChunked(String),
    /// `Transfer-Encoding` without `chunked`: the body would have no end (RFC 9112 §6.3).
    #[error("Transfer-Encoding without chunked")]
    NotChunked,
    /// A transfer coding that this server does not know (RFC 9112 §6.1).
    #[error("unknown transfer coding {0}")]
    UnknownCoding(String),
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    #[error("cannot meet the expectation {0}")]
    Expectation(String),
    /// The line before a chunk exceeds [`Limits::field_size`](super::Limits::field_size).
    #[error("the line before a chunk is longer than {limit} bytes")]
    ChunkLineTooLong {
        /// The limit, in bytes, with the line's CRLF.
        limit: usize,
    },
    /// Not a hexadecimal number that fits 64 bits (RFC 9112 §7.1).
    #[error("invalid chunk size {0}")]
    ChunkSize(String),
    /// Not a chunk extension (RFC 9112 §7.1.1).
    #[error("invalid chunk extension {0}")]
    ChunkExtension(String),
    /// More octets in chunk extensions than in chunks (RFC 9112 §7.1.1).
    #[error("the chunk extensions outweigh the chunks")]
    ChunkOverhead,
    /// No CRLF after a chunk's data (RFC 9112 §7.1).
    #[error("a chunk's data does not end where its size says")]
    ChunkEnd,
    /// A field that must not be in a trailer section (RFC 9110 §6.5.1).
    #[error("header field {0} in the trailer section")]
    Trailer(String),
}

impl ParseError {
    /// The status to answer with (RFC 9110 §15.5, §15.6; RFC 6585 §5).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::RequestLineTooLong { .. } => 414,
            Self::Expectation(_) => 417,
            Self::TooManyFields { .. } | Self::FieldTooLong { .. } => 431,
            Self::UnknownCoding(_) => 501,
            _ => 400,
        }
    }
}

/// The reason that a response cannot be sent as it is. Nothing of the refused part has been written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// No request waits for a response: there is none, or its response was begun already.
    #[error("no request waits for a response")]
    NotDue,
    /// A response's body was to be written or ended before its head, or after its end.
    #[error("no response's body is open")]
    NotBegun,
    /// Not within 100 to 999 (RFC 9110 §15).
    #[error("invalid status {0}")]
    Status(u16),
    /// `101 Switching Protocols` as a response: it is sent by [`Conn::switch_protocols`](super::Conn::switch_protocols).
    #[error("status 101 without taking the connection over")]
    Upgrade,
    /// The reason phrase holds a control character (RFC 9112 §4).
    #[error("invalid reason phrase {0}")]
    Reason(String),
    /// A field's name is no token (RFC 9110 §5.1).
    #[error("invalid header field name {0}")]
    FieldName(String),
    /// The value of the field of this name holds a control character (RFC 9110 §5.5).
    #[error("invalid value of header field {0}")]
    FieldValue(String),
    /// Not a decimal number that fits 64 bits (RFC 9110 §8.6).
    #[error("invalid Content-Length {0}")]
    ContentLength(String),
    /// `Content-Length` twice.
    #[error("repeated Content-Length")]
    RepeatedLength,
    /// The body ended before its `Content-Length`. The connection closes, and nothing pretends.
    #[error("the response's body is {missing} bytes shorter than its Content-Length")]
    Incomplete {
        /// The number of bytes that were announced and not written.
        missing: u64,
    },
}

/// The user's words for a message: quoted, clipped, in visible ASCII.
pub(super) fn quote(words: &[u8]) -> String {
    let clipped = &words[..words.len().min(CLIP)];
    let dots = if clipped.len() < words.len() {
        "..."
    } else {
        ""
    };
    format!("\"{}{dots}\"", clipped.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_clipped_and_visible() {
        assert_eq!(quote(b"G\0T\n\xff"), r#""G\x00T\n\xff""#);
        assert_eq!(quote(&[b'a'; 100]), format!("\"{}...\"", "a".repeat(64)));
    }
}
