//! The parts of a head: [`Version`], [`BodyLength`], and [`Span`], a range of its bytes.

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

/// The way in which the end of a request's body is found. Exhaustive: RFC 9112 §6.3 has no other way.
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
    /// The largest end of a range.
    pub(super) const LIMIT: usize = u32::MAX as usize;

    /// The range of `part`, which is a slice of `block` and ends before the [limit](Self::LIMIT). The
    /// place of an empty part is never used.
    pub(super) fn new(block: &[u8], part: &[u8]) -> Self {
        if part.is_empty() {
            return Self::default();
        }
        let start = part.as_ptr() as usize - block.as_ptr() as usize;
        Self {
            start: start as u32,
            end: (start + part.len()) as u32,
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The range in a block that has `count` bytes more in front, which must end before the limit.
    pub(super) fn moved_back(self, count: usize) -> Self {
        Self {
            start: self.start + count as u32,
            end: self.end + count as u32,
        }
    }

    /// The range in a block that has `count` bytes fewer in front, none of them its own.
    pub(super) fn moved_forward(self, count: usize) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        Self {
            start: self.start - count as u32,
            end: self.end - count as u32,
        }
    }

    pub(super) fn of(self, block: &[u8]) -> &[u8] {
        &block[self.start as usize..self.end as usize]
    }
}
