//! Request heads: the request line by hand, the fields with httparse and all that httparse lets through.
//!
//! Nothing here keeps a connection's state: what is found depends on the bytes alone, never on how they
//! were cut. Since httparse does not resume, it sees a head at most twice: when the request line is
//! complete, for then nearly always all is there; and when the end has come that [`Lines`] have awaited,
//! looking at each byte once.

use bytes::BytesMut;
use httparse::Status;
use memchr::{memchr, memmem};

use super::error::{ParseError, quote};
use super::framing::{Codings, body_length};
use super::head::{BodyLength, Head, Span, Version};
use super::limits::Limits;
use super::request_line::RequestLine;
use super::syntax::{BadLine, Lines, host_and_port, is_text, is_token, members, trim_start};

/// A field, as httparse tells it.
type Field<'b> = httparse::Header<'b>;

/// Looks for the end of a field section: of a head, or of a trailer section.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Section {
    lines: Lines,
    fields: usize,
}

impl Section {
    /// Just past the empty line that ends the section, if it has come.
    pub(super) fn end(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ParseError> {
        loop {
            let line = match self.lines.next(bytes, limits.field_text()) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(BadLine::BareLineFeed) => return Err(ParseError::BareLineFeed),
                Err(BadLine::TooLong) => {
                    return Err(ParseError::FieldTooLong {
                        limit: limits.field_size,
                    });
                }
            };
            if line.is_empty() {
                return Ok(Some(line.end + 2));
            }
            if self.fields == limits.fields {
                return Err(ParseError::TooManyFields {
                    limit: limits.fields,
                });
            }
            self.fields += 1;
        }
    }

    /// Gives each field of `bytes` to `each`: a complete section of which [`end`](Self::end) has told.
    pub(super) fn read<'b>(
        self,
        bytes: &'b [u8],
        each: impl FnMut(&Field<'b>) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        with_memory(self.fields, |memory| {
            match httparse::parse_headers(bytes, memory) {
                Ok(Status::Complete((_, fields))) => fields.iter().try_for_each(each),
                Ok(Status::Partial) | Err(_) => Err(what_is_wrong(bytes)),
            }
        })
    }
}

/// Runs `run` with memory for so many fields at least; on the stack where they are not very many.
fn with_memory<'b, R>(fields: usize, run: impl FnOnce(&mut [Field<'b>]) -> R) -> R {
    match fields {
        0..=8 => run(&mut [httparse::EMPTY_HEADER; 8]),
        9..=32 => run(&mut [httparse::EMPTY_HEADER; 32]),
        _ => run(&mut vec![httparse::EMPTY_HEADER; fields]),
    }
}

/// The section at the start of `bytes` and its end, if it is complete and there is nothing to be said
/// against its lines.
fn whole_section<'b, 'm>(
    bytes: &'b [u8],
    memory: &'m mut [Field<'b>],
    limits: &Limits,
) -> Option<(&'m [Field<'b>], usize)> {
    let Ok(Status::Complete((end, fields))) = httparse::parse_headers(bytes, memory) else {
        return None;
    };
    let offset = |part: &[u8]| part.as_ptr() as usize - bytes.as_ptr() as usize;
    // To httparse LF alone is a line's end; it has taken the blanks before that off the value.
    let is_fit = |field: &Field<'_>| {
        let after = offset(field.value) + field.value.len();
        let text = trim_start(&bytes[after..end]);
        let length = end - text.len() - offset(field.name.as_bytes());
        text.starts_with(b"\r\n") && length <= limits.field_text()
    };
    let is_fit = fields.len() <= limits.fields
        && bytes[..end].ends_with(b"\r\n")
        && fields.iter().all(is_fit);
    is_fit.then_some((fields, end))
}

/// A second look at a section that httparse refused, which tells little of the reason.
fn what_is_wrong(section: &[u8]) -> ParseError {
    for line in lines_of(section) {
        if let [b' ' | b'\t', ..] = line {
            return ParseError::Folded;
        }
        let colon = memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if value.is_empty() || !is_token(name) {
            return ParseError::FieldName(quote(name));
        }
        if !is_text(value) {
            return ParseError::FieldValue(quote(name));
        }
    }
    ParseError::FieldName(quote(b""))
}

fn lines_of(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = section;
    std::iter::from_fn(move || {
        let end = memmem::find(rest, b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        (!line.is_empty()).then_some(line)
    })
}

/// Looks for a head, and reads its request line as soon as that is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    request_line: Option<RequestLine>,
    section: Section,
}

impl Scan {
    /// Takes the head off the front of `bytes` if it is complete. `memory` is used for its fields.
    #[inline]
    pub(super) fn head(
        &mut self,
        bytes: &mut BytesMut,
        memory: &mut Vec<(Span, Span)>,
        limits: &Limits,
    ) -> Result<Option<Head>, ParseError> {
        let (line, fresh) = match self.request_line {
            Some(line) => (line, false),
            None => match self.request_line(bytes, limits)? {
                Some(line) => (line, true),
                None => return Ok(None),
            },
        };
        memory.clear();
        let mut reading = Reading {
            bytes,
            fields: memory,
            facts: Facts::default(),
        };
        let (start, mut end) = (line.fields, None);
        if fresh {
            let section = &bytes[start..];
            // A short section has few fields; if not, the second attempt knows.
            let fields = if section.len() < 256 { 8 } else { 32 };
            with_memory(fields, |memory| {
                let Some((fields, length)) = whole_section(section, memory, limits) else {
                    return Ok(());
                };
                end = Some(start + length);
                fields.iter().try_for_each(|field| reading.field(field))
            })?;
        }
        if end.is_none() {
            end = self.section.end(bytes, limits)?;
            if let Some(end) = end {
                self.section
                    .read(&bytes[start..end], |field| reading.field(field))?;
            }
        }
        let Some(end) = end else {
            self.request_line = Some(line);
            return Ok(None);
        };
        if end > Span::LIMIT {
            return Err(ParseError::FieldTooLong {
                limit: limits.field_size,
            });
        }
        let facts = reading.facts;
        let length = facts.length(line.version)?;
        let keep_alive = facts.keep_alive(line.version, line.method.of(bytes));
        let expects_continue = facts.expects_continue
            && line.version >= Version::HTTP_11
            && length != BodyLength::Empty;
        Ok(Some(Head {
            method: line.method,
            target: line.target,
            path: line.path,
            query: line.query,
            version: line.version,
            fields: std::mem::take(memory),
            length,
            keep_alive,
            expects_continue,
            block: bytes.split_to(end).freeze(),
        }))
    }

    /// The request line at the start of `bytes`, if it is complete.
    fn request_line(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<RequestLine>, ParseError> {
        let limit = limits.request_line.min(Span::LIMIT - 2);
        match self.section.lines.next(bytes, limit) {
            Ok(Some(line)) => RequestLine::read(&bytes[line]).map(Some),
            Ok(None) => Ok(None),
            Err(BadLine::BareLineFeed) => Err(ParseError::BareLineFeed),
            Err(BadLine::TooLong) => Err(ParseError::RequestLineTooLong {
                limit: limits.request_line,
            }),
        }
    }
}

/// The fields of a head that is being read.
#[derive(Debug)]
struct Reading<'b, 'm> {
    bytes: &'b [u8],
    fields: &'m mut Vec<(Span, Span)>,
    facts: Facts<'b>,
}

impl<'b> Reading<'b, '_> {
    fn field(&mut self, field: &Field<'b>) -> Result<(), ParseError> {
        let name = field.name.as_bytes();
        // An underscore in a name is dropped: a gateway cannot tell it from a dash (RFC 3875 §4.1.18).
        if !name.contains(&b'_') {
            self.facts.add(name, field.value)?;
            let span = |part| Span::new(self.bytes, part);
            self.fields.push((span(name), span(field.value)));
        }
        Ok(())
    }
}

/// What a head's fields mean for the connection.
#[derive(Debug, Default)]
struct Facts<'b> {
    host: Option<&'b [u8]>,
    content_type: Option<&'b [u8]>,
    length: Option<&'b [u8]>,
    codings: Codings,
    persistence: Persistence,
    expects_continue: bool,
}

/// What the options of all `Connection` fields say together (RFC 9110 §7.6.1); the later are the stronger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Persistence {
    #[default]
    Unsaid,
    KeepAlive,
    Close,
}

impl<'b> Facts<'b> {
    fn add(&mut self, name: &[u8], value: &'b [u8]) -> Result<(), ParseError> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            4 if is("host") => once(self.host.replace(value).is_some(), "Host"),
            6 if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(ParseError::Expectation(quote(value)));
                }
                self.expects_continue = true;
                Ok(())
            }
            10 if is("connection") => {
                for option in members(value) {
                    let said = if option.eq_ignore_ascii_case(b"close") {
                        Persistence::Close
                    } else if option.eq_ignore_ascii_case(b"keep-alive") {
                        Persistence::KeepAlive
                    } else {
                        Persistence::Unsaid
                    };
                    self.persistence = self.persistence.max(said);
                }
                Ok(())
            }
            12 if is("content-type") => {
                once(self.content_type.replace(value).is_some(), "Content-Type")
            }
            14 if is("content-length") => {
                once(self.length.replace(value).is_some(), "Content-Length")
            }
            17 if is("transfer-encoding") => {
                self.codings = self.codings.add(value)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The body's length; refuses what RFC 9112 §3.2 and §6.3 tell a server to refuse.
    fn length(&self, version: Version) -> Result<BodyLength, ParseError> {
        match self.host {
            None if version >= Version::HTTP_11 => return Err(ParseError::NoHost),
            // Empty where the target has no authority (RFC 9110 §7.2).
            Some(host) if !host.is_empty() && host_and_port(host).is_none() => {
                return Err(ParseError::Host(quote(host)));
            }
            _ => {}
        }
        body_length(version, self.length, self.codings)
    }

    /// RFC 9112 §9.3; and no second request after CONNECT or a body in a coding that we do not undo.
    fn keep_alive(&self, version: Version, method: &[u8]) -> bool {
        let kept = match self.persistence {
            Persistence::Close => false,
            Persistence::KeepAlive => true,
            Persistence::Unsaid => version >= Version::HTTP_11,
        };
        kept && method != b"CONNECT" && !self.codings.is_compressed()
    }
}

fn once(repeated: bool, name: &'static str) -> Result<(), ParseError> {
    if repeated {
        Err(ParseError::Repeated(name))
    } else {
        Ok(())
    }
}

/// Refuses a field that a trailer section must not hold: framing, routing and credentials (RFC 9110 §6.5.1).
pub(super) fn check_trailer(name: &[u8]) -> Result<(), ParseError> {
    const FORBIDDEN: [&str; 6] = [
        "host",
        "content-length",
        "transfer-encoding",
        "trailer",
        "authorization",
        "te",
    ];
    let is_forbidden = |f: &&str| name.eq_ignore_ascii_case(f.as_bytes());
    if FORBIDDEN.iter().any(is_forbidden) {
        return Err(ParseError::Trailer(quote(name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head at the start of `bytes`, which must come out alike byte by byte.
    fn parse_within(limits: &Limits, bytes: &[u8]) -> Result<Option<Head>, ParseError> {
        let whole = Scan::default().head(&mut bytes.into(), &mut Vec::new(), limits);
        let (mut scan, mut some) = (Scan::default(), BytesMut::new());
        let mut cut = Ok(None);
        for &byte in bytes {
            some.extend_from_slice(&[byte]);
            cut = scan.head(&mut some, &mut Vec::new(), limits);
            if !matches!(cut, Ok(None)) {
                break;
            }
        }
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        whole
    }

    fn parse(text: &str) -> Result<Head, ParseError> {
        parse_within(&Limits::default(), text.as_bytes()).map(|head| head.expect("complete"))
    }

    fn fields(lines: &str) -> Result<Head, ParseError> {
        parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"))
    }

    #[test]
    fn a_line_that_ends_in_lf_alone_is_400() {
        for bad in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a \t\n\r\n",
            "GET / HTTP/1.1\r\nHost:\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\n\n",
        ] {
            assert_eq!(parse(bad).unwrap_err(), ParseError::BareLineFeed, "{bad:?}");
        }
    }

    #[test]
    fn malformed_fields_are_told_apart() {
        let name = |lines| matches!(fields(lines), Err(ParseError::FieldName(_)));
        assert!(name("a b: c") && name("a : b") && name(": b") && name("ab") && name("\u{e9}: a"));
        let value = |lines| matches!(fields(lines), Err(ParseError::FieldValue(_)));
        assert!(value("a: \0") && value("a: b\rc") && value("a: \u{7}") && value("a: \u{7f}"));
        assert_eq!(fields("a: b\r\n c").unwrap_err(), ParseError::Folded);
        assert_eq!(fields("a: b\r\n\tc: d").unwrap_err(), ParseError::Folded);
    }

    #[test]
    fn values_are_trimmed_and_may_be_empty_or_beyond_ascii() {
        let head = fields("a:\t b c \t\r\nd:\r\ne: \t\r\nf: \u{e9}").unwrap();
        let values: Vec<_> = head.fields().skip(1).map(|(_, value)| value).collect();
        assert_eq!(values, [&b"b c"[..], b"", b"", "\u{e9}".as_bytes()]);
    }

    #[test]
    fn names_with_an_underscore_are_dropped_and_counted() {
        let head = fields("X_A: b\r\nContent_Length: 5\r\nX-B: c").unwrap();
        assert_eq!(head.fields().len(), 2);
        assert_eq!(head.length(), BodyLength::Empty);
        let limits = Limits {
            fields: 3,
            ..Limits::default()
        };
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\na_b: c\r\na_b: c\r\na_b: c\r\n\r\n";
        let error = parse_within(&limits, bytes).unwrap_err();
        assert_eq!(
            (error.status(), error),
            (431, ParseError::TooManyFields { limit: 3 })
        );
    }

    #[test]
    fn host_is_there_once_and_well_formed() {
        assert_eq!(
            parse("GET / HTTP/1.1\r\n\r\n").unwrap_err(),
            ParseError::NoHost
        );
        assert!(parse("GET / HTTP/1.0\r\n\r\n").is_ok());
        assert!(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n").is_ok());
        assert_eq!(fields("host: a").unwrap_err(), ParseError::Repeated("Host"));
        for bad in ["a b", "a/b", "a@b", "a, b", "[::1"] {
            let error = parse(&format!("GET / HTTP/1.0\r\nHost: {bad}\r\n\r\n")).unwrap_err();
            assert!(matches!(error, ParseError::Host(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn fields_that_may_come_once_are_refused_twice() {
        for name in ["Content-Type", "Content-Length"] {
            let error = fields(&format!("{name}: 1\r\n{name}: 1")).unwrap_err();
            assert_eq!(error, ParseError::Repeated(name));
        }
    }

    #[test]
    fn connection_is_a_list_over_several_fields() {
        for (version, lines, kept) in [
            ("1.1", "", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.1", "Connection: keep-alive, CLOSE\r\n", false),
            ("1.1", "Connection: x\r\nConnection: y ,\tclose\r\n", false),
            (
                "1.0",
                "Connection: close\r\nConnection: keep-alive\r\n",
                false,
            ),
            ("1.1", "Connection: closed\r\n", true),
        ] {
            let head = parse(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n")).unwrap();
            assert_eq!(head.keep_alive(), kept, "{version} {lines:?}");
        }
        assert!(
            !parse("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
                .unwrap()
                .keep_alive()
        );
        assert!(
            !fields("Transfer-Encoding: gzip, chunked")
                .unwrap()
                .keep_alive()
        );
    }

    #[test]
    fn expectations_other_than_100_continue_are_417() {
        let head = fields("Expect: 100-Continue\r\nContent-Length: 1").unwrap();
        assert!(head.expects_continue());
        assert!(
            !fields("Expect: 100-continue").unwrap().expects_continue(),
            "no body"
        );
        let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
        assert!(!parse(old).unwrap().expects_continue());
        for bad in ["Expect: 200-ok", "Expect: 100-continue, x", "Expect:"] {
            assert_eq!(fields(bad).unwrap_err().status(), 417, "{bad}");
        }
    }

    #[test]
    fn limits_are_exact() {
        let line = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(n - 14));
        assert!(parse(&line(4094)).is_ok());
        assert_eq!(parse(&line(4095)).unwrap_err().status(), 414);
        let field = |n: usize| fields(&format!("a: {}", "b".repeat(n - 5)));
        assert!(field(8190).is_ok());
        assert_eq!(
            field(8191).unwrap_err(),
            ParseError::FieldTooLong { limit: 8190 }
        );
        let blanks = fields(&format!("a: b{}", " ".repeat(8190)));
        assert_eq!(blanks.unwrap_err().status(), 431);
        let many = |n: usize| fields(&vec!["a: b"; n - 1].join("\r\n"));
        assert_eq!(many(100).unwrap().fields().len(), 100);
        assert_eq!(
            many(101).unwrap_err(),
            ParseError::TooManyFields { limit: 100 }
        );
    }

    #[test]
    fn what_has_no_end_is_refused_when_it_is_too_long() {
        let limits = Limits::default();
        let endless = vec![b'a'; 4095];
        assert_eq!(parse_within(&limits, &endless).unwrap_err().status(), 414);
        let endless = [&b"GET / HTTP/1.1\r\n"[..], &vec![b'a'; 8189]].concat();
        assert_eq!(parse_within(&limits, &endless).unwrap_err().status(), 431);
    }
}
