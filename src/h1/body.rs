//! Request bodies: where the content is among the bytes, for `Content-Length` and for the chunked coding.
//!
//! Nothing here decides which of them it is (`framing`), and a body that is malformed or cut never gets
//! an end.
//!
//! ```text
//!   Size ── n ──▶ Data(n) ── all of it ──▶ DataEnd ── CRLF ──▶ Size
//!     └──── 0 ──▶ Trailers ── empty line ──▶ the end
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::config::{ConnConfig, Limits};
use super::error::{ParseError, quote};
use super::obs_fold::unfold;
use super::parse::{Section, check_trailer};
use super::syntax::{BadLine, Lines, hexadecimal, is_text, is_token_byte, trim_start};
use super::types::BodyLength;

#[derive(Debug)]
pub(super) enum Part {
    /// Nothing before more has arrived.
    NeedMore,
    Data(Bytes),
    End,
}

/// Takes a body off the front of the bytes that arrive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reader {
    /// So many bytes are missing.
    Sized(u64),
    Chunked(Chunked),
}

impl Reader {
    pub(super) fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::Empty => Self::Sized(0),
            BodyLength::Known(length) => Self::Sized(length),
            BodyLength::Chunked => Self::Chunked(Chunked::default()),
        }
    }

    pub(super) fn left(&self) -> BodyLength {
        match self {
            Self::Sized(left) => BodyLength::Known(*left),
            Self::Chunked(_) => BodyLength::Chunked,
        }
    }

    pub(super) fn next(
        &mut self,
        bytes: &mut BytesMut,
        config: &ConnConfig,
    ) -> Result<Part, ParseError> {
        match self {
            Self::Sized(0) => Ok(Part::End),
            Self::Sized(left) => Ok(take(bytes, left)),
            Self::Chunked(chunked) => chunked.next(bytes, config),
        }
    }
}

/// Up to `left` bytes, without a copy.
fn take(bytes: &mut BytesMut, left: &mut u64) -> Part {
    let n = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    if n == 0 {
        return Part::NeedMore;
    }
    *left -= n as u64;
    Part::Data(bytes.split_to(n).freeze())
}

/// The chunked coding (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunked {
    at: At,
    /// Octets of content so far.
    content: u64,
    /// Octets of chunk extensions so far.
    extensions: u64,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Size(Lines),
    Data(u64),
    DataEnd,
    Trailers(Section),
}

impl Default for At {
    fn default() -> Self {
        Self::Size(Lines::default())
    }
}

impl Chunked {
    fn next(&mut self, bytes: &mut BytesMut, config: &ConnConfig) -> Result<Part, ParseError> {
        let limits = &config.limits;
        loop {
            match &mut self.at {
                At::Size(lines) => {
                    let line = match lines.next(bytes, limits.field_text()) {
                        Ok(Some(line)) => line,
                        Ok(None) => return Ok(Part::NeedMore),
                        Err(BadLine::BareLineFeed) => return Err(ParseError::BareLineFeed),
                        Err(BadLine::TooLong) => {
                            return Err(ParseError::ChunkLineTooLong {
                                limit: limits.field_size,
                            });
                        }
                    };
                    let end = line.end + 2;
                    let size = self.size(&bytes[line], limits)?;
                    bytes.advance(end);
                    self.at = if size == 0 {
                        At::Trailers(Section::default())
                    } else {
                        At::Data(size)
                    };
                    self.content = self.content.saturating_add(size);
                }
                At::Data(0) => self.at = At::DataEnd,
                At::Data(left) => return Ok(take(bytes, left)),
                At::DataEnd => {
                    match bytes[..] {
                        [] | [b'\r'] => return Ok(Part::NeedMore),
                        [b'\r', b'\n', ..] => bytes.advance(2),
                        _ => return Err(ParseError::ChunkEnd),
                    }
                    self.at = At::default();
                }
                At::Trailers(section) => {
                    let Some(end) = section.end(bytes, config)? else {
                        return Ok(Part::NeedMore);
                    };
                    let leniency = &config.leniency;
                    section.read(&unfold(&bytes[..end], leniency), |field| {
                        check_trailer(field.name.as_bytes(), leniency)
                    })?;
                    bytes.advance(end);
                    return Ok(Part::End);
                }
            }
        }
    }

    /// The size in a chunk's line: `chunk-size [ chunk-ext ]`.
    fn size(&mut self, line: &[u8], limits: &Limits) -> Result<u64, ParseError> {
        let is_digit = |b: &u8| b.is_ascii_hexdigit();
        let end = line.iter().position(|b| !is_digit(b)).unwrap_or(line.len());
        let (digits, extensions) = line.split_at(end);
        let size = hexadecimal(digits).ok_or_else(|| ParseError::ChunkSize(quote(line)))?;
        if extensions.is_empty() {
            return Ok(size);
        }
        if !trim_start(extensions).starts_with(b";") {
            return Err(ParseError::ChunkSize(quote(line)));
        }
        if !are_extensions(extensions) {
            return Err(ParseError::ChunkExtension(quote(extensions)));
        }
        // A signature a chunk is fine; a byte in each chunk of kilobytes is an attack (RFC 9112 §7.1.1).
        self.extensions += extensions.len() as u64;
        if self.extensions > self.content.saturating_add(limits.field_size as u64) {
            return Err(ParseError::ChunkOverhead);
        }
        Ok(size)
    }
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 §7.1.1).
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(name) = trim_start(rest).strip_prefix(b";") else {
            return false;
        };
        let Some(after) = skip_token(trim_start(name)) else {
            return false;
        };
        rest = match trim_start(after).strip_prefix(b"=") {
            None => after,
            Some(value) => match skip_value(trim_start(value)) {
                Some(after) => after,
                None => return false,
            },
        };
    }
    true
}

/// Returns the bytes after a token.
fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes
        .iter()
        .position(|&b| !is_token_byte(b))
        .unwrap_or(bytes.len());
    (end > 0).then(|| &bytes[end..])
}

/// Returns the bytes after a token or a quoted string (RFC 9110 §5.6.4).
fn skip_value(bytes: &[u8]) -> Option<&[u8]> {
    let Some(mut rest) = bytes.strip_prefix(b"\"") else {
        return skip_token(bytes);
    };
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', escaped, rest @ ..] if is_text(&[*escaped]) => rest,
            [byte, rest @ ..] if *byte != b'\\' && is_text(&[*byte]) => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Names, Underscores};
    use super::*;

    /// The content of a chunked body and what is left over, or the error, however it is cut.
    fn chunked(input: &[u8]) -> Result<(Vec<u8>, Vec<u8>), ParseError> {
        let whole = read(input, input.len());
        for step in 1..input.len() {
            assert_eq!(whole, read(input, step), "in steps of {step}");
        }
        whole
    }

    fn read(input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), ParseError> {
        let (mut reader, mut bytes) = (Reader::new(BodyLength::Chunked), BytesMut::new());
        let mut content = Vec::new();
        let mut pieces = input.chunks(step.max(1));
        loop {
            match reader.next(&mut bytes, &ConnConfig::default())? {
                Part::Data(data) => content.extend_from_slice(&data),
                Part::End => {
                    pieces.for_each(|piece| bytes.extend_from_slice(piece));
                    return Ok((content, bytes.to_vec()));
                }
                Part::NeedMore => match pieces.next() {
                    Some(piece) => bytes.extend_from_slice(piece),
                    None => return Ok((b"incomplete".to_vec(), Vec::new())),
                },
            }
        }
    }

    #[test]
    fn chunks_are_joined_and_what_follows_stays() {
        let (content, rest) =
            chunked(b"5\r\nhello\r\n6 ; a=b\r\n world\r\n000\r\n\r\nGET").unwrap();
        assert_eq!(
            (&content[..], &rest[..]),
            (&b"hello world"[..], &b"GET"[..])
        );
    }

    // Gunicorn: P26
    #[test]
    fn chunk_extensions_follow_the_grammar() {
        for good in ["; a; b=c", ";a=\"x;\\\"y\r\"z\"", " ;\ta = b ;c", ";a=\"\""] {
            let body = format!("1{good}\r\nx\r\n0\r\n\r\n");
            let expected = !good.contains('\r');
            assert_eq!(chunked(body.as_bytes()).is_ok(), expected, "{good:?}");
        }
        for bad in [
            ";",
            ";=b",
            ";a=",
            ";a=\"b",
            ";a b",
            ";a=b ",
            ";a=val\rue",
            ";\u{e9}",
        ] {
            let body = format!("1{bad}\r\nx\r\n0\r\n\r\n");
            let error = chunked(body.as_bytes()).unwrap_err();
            assert!(
                matches!(error, ParseError::ChunkExtension(_)),
                "{bad:?}: {error}"
            );
        }
    }

    // Gunicorn: P26
    #[test]
    fn chunked_body_with_bad_size_is_400() {
        for bad in [
            "",
            " 1",
            "1 ",
            "+1",
            "-1",
            "0x1",
            "1_0",
            "g",
            "10000000000000000",
            "1,",
        ] {
            let error = chunked(format!("{bad}\r\nx\r\n0\r\n\r\n").as_bytes()).unwrap_err();
            assert!(
                matches!(error, ParseError::ChunkSize(_)),
                "{bad:?}: {error}"
            );
            assert_eq!(error.status(), 400);
        }
        assert_eq!(chunked(b"1\nx\r\n0\r\n\r\n"), Err(ParseError::BareLineFeed));
    }

    // Gunicorn: P27
    #[test]
    fn chunk_data_must_end_where_its_size_says() {
        assert_eq!(chunked(b"1\r\nxy\r\n0\r\n\r\n"), Err(ParseError::ChunkEnd));
        assert_eq!(chunked(b"1\r\nx\n0\r\n\r\n"), Err(ParseError::ChunkEnd));
    }

    // Gunicorn: P27
    #[test]
    fn a_chunked_body_ends_only_with_its_last_line() {
        for cut in [
            "0",
            "0\r\n",
            "0\r\n\r",
            "0\r\na: b\r\n",
            "5\r\nhell",
            "5\r\nhello",
        ] {
            let (content, _) = chunked(cut.as_bytes()).unwrap();
            assert_eq!(content, b"incomplete", "{cut:?}");
        }
    }

    // Gunicorn: E32, P28, E71
    #[test]
    fn trailers_are_checked_and_dropped() {
        let (content, rest) = chunked(b"1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n!").unwrap();
        assert_eq!((&content[..], &rest[..]), (&b"x"[..], &b"!"[..]));
        for bad in [
            "Host: a",
            "content-length: 1",
            "TE: x",
            "a b: c",
            "a: \u{7}",
            " a: b",
        ] {
            let error = chunked(format!("0\r\n{bad}\r\n\r\n").as_bytes()).unwrap_err();
            assert_eq!(error.status(), 400, "{bad:?}");
        }
        // A forwarder's exemption is for heads.
        let mut strict = ConnConfig::default();
        strict.leniency.underscores = Underscores::Refuse;
        strict.leniency.forwarder_headers = Names::new("*");
        let mut bytes = BytesMut::from("0\r\nSCRIPT_NAME: /a\r\n\r\n");
        let mut reader = Reader::new(BodyLength::Chunked);
        let error = reader.next(&mut bytes, &strict).unwrap_err();
        assert_eq!(error, ParseError::Underscore("\"SCRIPT_NAME\"".to_owned()));
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert_eq!(chunked(many.as_bytes()).unwrap_err().status(), 431);
    }

    // Gunicorn: P26
    #[test]
    fn chunk_lines_are_bounded_and_so_is_their_sum() {
        let line = "0".repeat(8189);
        assert!(matches!(
            chunked(line.as_bytes()),
            Err(ParseError::ChunkLineTooLong { limit: 8190 })
        ));
        let fat = format!("1;{}\r\nx\r\n", "a".repeat(4096));
        let error = read(fat.repeat(3).as_bytes(), 64).unwrap_err();
        assert_eq!(error, ParseError::ChunkOverhead);
    }
}
