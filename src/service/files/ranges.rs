//! Ranges of bytes (RFC 9110 §14): what of a file is sent, and the body with several parts of it.

use std::hash::{BuildHasher, RandomState};

/// The most ranges that are sent. A request for more gets the whole file (RFC 9110 §14.2).
const MOST_RANGES: usize = 16;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) len: u64,
}

/// The outcome of a `Range` field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// The field is not there, or counts for nothing: the whole file.
    Ignored,
    /// None of the ranges is within the file: 416.
    Unsatisfiable,
    /// At least one: 206.
    Some(Vec<Range>),
}

impl Ranges {
    /// Reads a field, for a file of `size` bytes. It counts for nothing where it has another unit, is malformed, or asks
    /// for many or overlapping ranges, which is no reading of a file but work for the server.
    pub(super) fn parse(field: Option<&[u8]>, size: u64) -> Self {
        let specs = field.and_then(|field| {
            let (unit, specs) = std::str::from_utf8(field).ok()?.split_once('=')?;
            unit.trim().eq_ignore_ascii_case("bytes").then_some(specs)
        });
        let (Some(specs), true) = (specs, size > 0) else {
            return Self::Ignored;
        };
        let (mut ranges, mut asked) = (Vec::new(), 0);
        let specs = specs.split(',').map(|spec| spec.trim_matches([' ', '\t']));
        for spec in specs.filter(|spec| !spec.is_empty()) {
            asked += 1;
            let Ok(range) = range(spec, size) else {
                return Self::Ignored;
            };
            ranges.extend(range);
        }
        let mut sorted = ranges.clone();
        sorted.sort_unstable_by_key(|range| range.start);
        let mut pairs = sorted.windows(2);
        let overlap = pairs.any(|pair| pair[0].start + pair[0].len > pair[1].start);
        if asked == 0 || asked > MOST_RANGES || overlap {
            Self::Ignored
        } else if ranges.is_empty() {
            Self::Unsatisfiable
        } else {
            Self::Some(ranges)
        }
    }
}

/// A range that is none.
struct Malformed;

/// One range; `None` where it is not within the file.
fn range(spec: &str, size: u64) -> Result<Option<Range>, Malformed> {
    let (first, last) = spec.split_once('-').ok_or(Malformed)?;
    let (first, last) = (number(first)?, number(last)?);
    let range = match (first, last) {
        (None, None) => return Err(Malformed),
        (Some(first), Some(last)) if last < first => return Err(Malformed),
        (Some(first), _) if first >= size => None,
        (Some(first), last) => {
            let last = last.unwrap_or(u64::MAX).min(size - 1);
            Some(Range {
                start: first,
                len: last - first + 1,
            })
        }
        (None, Some(0)) => None,
        (None, Some(suffix)) => {
            let len = suffix.min(size);
            Some(Range {
                start: size - len,
                len,
            })
        }
    };
    Ok(range)
}

/// A number of any size, if there is one.
fn number(text: &str) -> Result<Option<u64>, Malformed> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if text.is_empty() => Ok(None),
        true => Ok(Some(text.parse().unwrap_or(u64::MAX))),
        false => Err(Malformed),
    }
}

impl Range {
    /// The value of `Content-Range` (RFC 9110 §14.4).
    pub(super) fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.start + self.len - 1)
    }
}

/// The body with several ranges of a file: `multipart/byteranges` (RFC 9110 §14.6).
pub(super) struct Multipart {
    boundary: String,
    /// The bytes before each range.
    heads: Vec<String>,
}

impl Multipart {
    pub(super) fn new(ranges: &[Range], size: u64, media_type: &str) -> Self {
        // No file can know it, and so contain it.
        let boundary = format!("{:016x}", RandomState::new().hash_one(size));
        let heads = ranges.iter().map(|range| {
            let content_range = range.content_range(size);
            format!(
                "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range}\r\n\r\n"
            )
        });
        Self {
            heads: heads.collect(),
            boundary,
        }
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(String::as_str)
    }

    /// Returns the bytes after the last range.
    pub(super) fn end(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    /// The length of the body with these ranges, of which it was made.
    pub(super) fn len(&self, ranges: &[Range]) -> u64 {
        let heads: usize = self.heads.iter().map(String::len).sum();
        let data: u64 = ranges.iter().map(|range| range.len).sum();
        (heads + self.end().len()) as u64 + data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(field: &str, size: u64) -> Ranges {
        Ranges::parse(Some(field.as_bytes()), size)
    }

    #[test]
    fn ranges_are_those_of_the_rfc() {
        // RFC 9110 §14.1.2, of a file of 10,000 bytes.
        for (field, expected) in [
            ("bytes=0-499", vec![(0, 500)]),
            ("bytes=500-999", vec![(500, 500)]),
            ("bytes=-500", vec![(9500, 500)]),
            ("bytes=9500-", vec![(9500, 500)]),
            ("bytes=0-0,-1", vec![(0, 1), (9999, 1)]),
            (
                "bytes= 0-999, 4500-5499, -1000",
                vec![(0, 1000), (4500, 1000), (9000, 1000)],
            ),
            ("Bytes=9000-99999999999999999999999", vec![(9000, 1000)]),
            ("bytes=-99999999999999999999999", vec![(0, 10_000)]),
            ("bytes=10000-,0-0,-0", vec![(0, 1)]),
            ("bytes=5-6,,0-0,", vec![(5, 2), (0, 1)]),
        ] {
            let ranges = expected
                .into_iter()
                .map(|(start, len)| Range { start, len });
            assert_eq!(
                parse(field, 10_000),
                Ranges::Some(ranges.collect()),
                "{field}"
            );
        }
    }

    #[test]
    fn what_is_no_range_of_bytes_counts_for_nothing() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "lines=0-1",
            "bytes=-",
            "bytes=1",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0-1-2",
            "bytes=0-1,x",
            "bytes=0-5,5-6",
            "bytes=-1,-2",
        ] {
            assert_eq!(parse(field, 10), Ranges::Ignored, "{field}");
        }
        assert_eq!(Ranges::parse(None, 10), Ranges::Ignored);
        assert_eq!(parse("bytes=0-0", 0), Ranges::Ignored);
        let many: Vec<_> = (0..=MOST_RANGES)
            .map(|n| format!("{0}-{0}", 2 * n))
            .collect();
        let many = format!("bytes={}", many.join(","));
        assert_eq!(parse(&many, 1000), Ranges::Ignored);
    }

    #[test]
    fn ranges_past_the_end_are_refused() {
        for field in [
            "bytes=10-",
            "bytes=10-20,99-",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(parse(field, 10), Ranges::Unsatisfiable, "{field}");
        }
    }
}
