//! [`Limits`]: how much of a head, and of a chunked body's framing, is taken in before it is refused.
//!
//! No limit of a body's content is here: whoever takes the body in bounds it.

/// How large a request's head may be. The defaults are Gunicorn's.
///
/// A head that exceeds one is refused as soon as that is certain, its end not awaited: so a connection
/// never holds more than [`request_line`](Self::request_line) plus [`fields`](Self::fields) times
/// [`field_size`](Self::field_size) bytes of it. Trailer sections are bounded alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line, without its CRLF; 4094. Past it the answer is 414.
    pub request_line: usize,
    /// Number of header fields; 100. Past it the answer is 431.
    pub fields: usize,
    /// Bytes of one field's line, with its CRLF; 8190. Past it the answer is 431. It also bounds the line
    /// before a chunk.
    pub field_size: usize,
}

impl Limits {
    /// No limits but those of a [`Head`](super::Head)'s ranges.
    pub(super) const LOOSE: Self = Self {
        request_line: usize::MAX,
        fields: usize::MAX,
        field_size: usize::MAX,
    };

    /// Bytes of one field's line, without its CRLF.
    pub(super) fn field_text(&self) -> usize {
        self.field_size.saturating_sub(2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line: 4094,
            fields: 100,
            field_size: 8190,
        }
    }
}
