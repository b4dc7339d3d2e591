//! Request heads: the request line by hand, the fields with httparse and all that httparse lets through.
//!
//! Nothing here keeps a connection's state: what is found depends on the bytes alone, never on how they
//! were cut. Since httparse does not resume, it sees a head at most twice: when the request line is
//! complete, for then nearly always all is there; and when the end has come that [`Lines`] have awaited,
//! looking at each byte once.

use std::borrow::Cow;

use bytes::BytesMut;
use httparse::Status;
use memchr::memchr;

use super::config::{Config, Leniency, Limits, Underscores};
use super::error::{ParseError, quote};
use super::facts::Facts;
use super::head::{BodyLength, Head, Span, Version};
use super::request_line::RequestLine;
use super::syntax::{BadLine, Lines, is_text, is_token, is_token_byte, trim_start};
use super::tidy::{is_fold, lines_of, tidy};

/// A field, as httparse tells it.
type Field<'b> = httparse::Header<'b>;

/// Looks for the end of a field section: of a head, or of a trailer section.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Section {
    lines: Lines,
    fields: usize,
    /// The length of the last field so far, with the CRLFs within it.
    field: usize,
}

impl Section {
    /// Just past the empty line that ends the section, if it has come.
    pub(super) fn end(
        &mut self,
        bytes: &[u8],
        config: &Config,
    ) -> Result<Option<usize>, ParseError> {
        let limits = &config.limits;
        loop {
            let folded = config.leniency.obsolete_folding
                && self.fields > 0
                && is_fold(&bytes[self.lines.start()..]);
            let before = if folded { self.field + 2 } else { 0 };
            let limit = limits.field_text().saturating_sub(before);
            let line = match self.lines.next(bytes, limit) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(BadLine::BareLineFeed) => return Err(ParseError::BareLineFeed),
                Err(BadLine::TooLong) => {
                    return Err(ParseError::FieldTooLong {
                        limit: limits.field_size,
                    });
                }
            };
            self.field = before + line.len();
            if line.is_empty() {
                return Ok(Some(line.end + 2));
            }
            if folded {
                continue;
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
    /// It must be [tidy] already.
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
        if is_fold(line) {
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
        config: &Config,
    ) -> Result<Option<Head>, ParseError> {
        let (line, fresh) = match self.request_line {
            Some(line) => (line, false),
            None => match self.request_line(bytes, config)? {
                Some(line) => (line, true),
                None => return Ok(None),
            },
        };
        memory.clear();
        let start = line.fields;
        let mut fields = Fields::new(memory, &config.leniency);
        let (mut facts, mut end, mut tidied) = (Facts::default(), None, None);
        if fresh {
            let section = &bytes[start..];
            // A short section has few fields; if not, the second attempt knows.
            let room = if section.len() < 256 { 8 } else { 32 };
            with_memory(room, |memory| {
                let Some((found, length)) = whole_section(section, memory, &config.limits) else {
                    return Ok(());
                };
                end = Some(start + length);
                found
                    .iter()
                    .try_for_each(|field| fields.push(bytes, field, &mut facts))
            })?;
        }
        if end.is_none() {
            end = self.section.end(bytes, config)?;
            if let Some(end) = end {
                let block = tidy_block(&bytes[..end], start, &config.leniency);
                let block = tidied.get_or_insert(block);
                self.section.read(&block[start..], |field| {
                    fields.push(block, field, &mut facts)
                })?;
            }
        }
        let Some(end) = end else {
            self.request_line = Some(line);
            return Ok(None);
        };
        if end > Span::LIMIT {
            return Err(ParseError::FieldTooLong {
                limit: config.limits.field_size,
            });
        }
        let length = facts.length(line.version)?;
        let keep_alive = facts.keep_alive(line.version, line.method.of(bytes));
        let expects_continue = facts.expects_continue
            && line.version >= Version::HTTP_11
            && length != BodyLength::Empty;
        let dropped = fields.dropped;
        // What the target says has precedence (RFC 9112 §3.2.2).
        if let (Some(host), false) = (fields.host, line.host.is_empty()) {
            memory[host].1 = line.host;
        }
        let rewritten = match tidied {
            Some(Cow::Owned(block)) => Some(block.into()),
            Some(Cow::Borrowed(_)) | None => None,
        };
        let received = bytes.split_to(end);
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
            dropped,
            block: rewritten.unwrap_or_else(|| received.freeze()),
        }))
    }

    /// The request line at the start of `bytes`, if it is complete.
    fn request_line(
        &mut self,
        bytes: &mut [u8],
        config: &Config,
    ) -> Result<Option<RequestLine>, ParseError> {
        let limit = config.limits.request_line.min(Span::LIMIT - 2);
        // Another protocol, TLS for one: its line may never end.
        if let Some(&first) = bytes.first() {
            if !is_token_byte(first) && !matches!(first, b'\r' | b'\n') {
                return Err(ParseError::RequestLine(quote(&[first])));
            }
        }
        match self.section.lines.next(bytes, limit) {
            Ok(Some(line)) => {
                let line = &mut bytes[line];
                if config.leniency.casefold_method {
                    let end = memchr(b' ', line).unwrap_or(0);
                    line[..end].make_ascii_uppercase();
                }
                RequestLine::read(line, &config.leniency).map(Some)
            }
            Ok(None) => Ok(None),
            Err(BadLine::BareLineFeed) => Err(ParseError::BareLineFeed),
            Err(BadLine::TooLong) => Err(ParseError::RequestLineTooLong {
                limit: config.limits.request_line,
            }),
        }
    }
}

/// The block with its section from `start` on [tidy].
fn tidy_block<'b>(block: &'b [u8], start: usize, leniency: &Leniency) -> Cow<'b, [u8]> {
    match tidy(&block[start..], leniency) {
        Cow::Borrowed(_) => Cow::Borrowed(block),
        Cow::Owned(section) => Cow::Owned([&block[..start], &section].concat()),
    }
}

/// The fields of a head that is being read.
#[derive(Debug)]
struct Fields<'m> {
    spans: &'m mut Vec<(Span, Span)>,
    leniency: &'m Leniency,
    /// Which of them is `Host`.
    host: Option<usize>,
    dropped: usize,
}

impl<'m> Fields<'m> {
    fn new(spans: &'m mut Vec<(Span, Span)>, leniency: &'m Leniency) -> Self {
        Self {
            spans,
            leniency,
            host: None,
            dropped: 0,
        }
    }

    fn push<'b>(
        &mut self,
        block: &'b [u8],
        field: &Field<'b>,
        facts: &mut Facts<'b>,
    ) -> Result<(), ParseError> {
        let name = field.name.as_bytes();
        if name.contains(&b'_') && !self.leniency.forwarder_headers.contains(name) {
            match self.leniency.underscores {
                Underscores::Drop => {
                    self.dropped += 1;
                    return Ok(());
                }
                Underscores::Refuse => return Err(ParseError::Underscore(quote(name))),
                Underscores::Dangerous => {}
            }
        }
        if name.eq_ignore_ascii_case(b"host") {
            self.host = Some(self.spans.len());
        }
        facts.add(name, field.value)?;
        let span = |part| Span::new(block, part);
        self.spans.push((span(name), span(field.value)));
        Ok(())
    }
}

/// Judges a field of a trailer section: none of framing, routing and credentials (RFC 9110 §6.5.1), and no
/// underscore where those are refused.
pub(super) fn check_trailer(name: &[u8], leniency: &Leniency) -> Result<(), ParseError> {
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
    if leniency.underscores == Underscores::Refuse && name.contains(&b'_') {
        return Err(ParseError::Underscore(quote(name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::config::Names;
    use super::*;

    /// The head at the start of `bytes`, which must come out alike byte by byte.
    fn parse_within(config: &Config, bytes: &[u8]) -> Result<Option<Head>, ParseError> {
        let whole = Scan::default().head(&mut bytes.into(), &mut Vec::new(), config);
        let (mut scan, mut some) = (Scan::default(), BytesMut::new());
        let mut cut = Ok(None);
        for &byte in bytes {
            some.extend_from_slice(&[byte]);
            cut = scan.head(&mut some, &mut Vec::new(), config);
            if !matches!(cut, Ok(None)) {
                break;
            }
        }
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        whole
    }

    fn parse(text: &str) -> Result<Head, ParseError> {
        parse_within(&Config::default(), text.as_bytes()).map(|head| head.expect("complete"))
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
        let mut config = Config::default();
        config.limits.fields = 3;
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\na_b: c\r\na_b: c\r\na_b: c\r\n\r\n";
        let error = parse_within(&config, bytes).unwrap_err();
        assert_eq!(
            (error.status(), error),
            (431, ParseError::TooManyFields { limit: 3 })
        );
    }

    /// A head whose fields are these, within a leniency.
    fn tolerated(lines: &str, tolerate: impl FnOnce(&mut Leniency)) -> Result<Head, ParseError> {
        let mut config = Config::default();
        tolerate(&mut config.leniency);
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        parse_within(&config, text.as_bytes()).map(|head| head.expect("complete"))
    }

    #[test]
    fn an_underscore_is_dropped_refused_or_taken() {
        let lines = "X_A: b\r\nContent_Length: 5";
        let dropped = fields(lines).unwrap();
        assert_eq!((dropped.fields().len(), dropped.dropped()), (1, 2));
        let refused = tolerated(lines, |t| t.underscores = Underscores::Refuse);
        assert!(matches!(refused, Err(ParseError::Underscore(_))));
        let taken = tolerated(lines, |t| t.underscores = Underscores::Dangerous).unwrap();
        assert_eq!((taken.fields().len(), taken.dropped()), (3, 0));
        assert_eq!(taken.length(), BodyLength::Empty, "no length");
    }

    #[test]
    fn a_forwarders_underscore_is_taken_all_the_same() {
        for policy in [Underscores::Drop, Underscores::Refuse] {
            let head = tolerated("script_name: /a", |t| {
                t.underscores = policy;
                t.forwarder_headers = Names::new("SCRIPT_NAME,PATH_INFO");
            });
            assert_eq!(head.unwrap().get("SCRIPT_NAME"), Some(&b"/a"[..]));
        }
    }

    #[test]
    fn folded_fields_can_be_taken_as_one() {
        let fold = |t: &mut Leniency| t.obsolete_folding = true;
        let head = tolerated("A: b\r\n \tc\r\n\td\r\nE: f", fold).unwrap();
        assert_eq!(head.get("a"), Some(&b"b c d"[..]));
        assert_eq!(head.get("e"), Some(&b"f"[..]));
        let hidden = tolerated("A: b\r\n Content-Length: 5", fold).unwrap();
        assert_eq!(hidden.length(), BodyLength::Empty);
        let length = tolerated("Content-Length:\r\n 5", fold).unwrap();
        assert_eq!(length.length(), BodyLength::Known(5));
        for bad in ["A: b\r\n c\rd", "A: b\r\n \0", "A\r\n : b"] {
            assert_eq!(tolerated(bad, fold).unwrap_err().status(), 400, "{bad:?}");
        }
        let first = b"GET / HTTP/1.0\r\n a: b\r\n\r\n";
        let mut config = Config::default();
        fold(&mut config.leniency);
        assert_eq!(
            parse_within(&config, first).unwrap_err(),
            ParseError::Folded
        );
    }

    #[test]
    fn a_field_is_measured_with_its_folds() {
        let fold = |t: &mut Leniency| t.obsolete_folding = true;
        let folded = |n: usize| tolerated(&format!("a: b\r\n {}", "c".repeat(n - 9)), fold);
        assert!(folded(8190).is_ok());
        assert_eq!(folded(8191).unwrap_err().status(), 431);
        let many = format!("a: b{}", "\r\n c".repeat(3000));
        assert_eq!(tolerated(&many, fold).unwrap_err().status(), 431);
        let few = format!("a: b{}", "\r\n c".repeat(1000));
        assert!(tolerated(&few, fold).is_ok(), "one field");
    }

    #[test]
    fn blanks_before_a_colon_can_be_dropped() {
        let strip = |t: &mut Leniency| t.header_spaces = true;
        let head = tolerated("Content-Length \t: 5", strip).unwrap();
        assert_eq!(head.length(), BodyLength::Known(5));
        for bad in ["a b: c", " a: b", " : b", "a: b\r\n c : d"] {
            assert!(tolerated(bad, strip).is_err(), "{bad:?}");
        }
        let repeated = tolerated("host : b", strip).unwrap_err();
        assert_eq!(repeated, ParseError::Repeated("Host"));
    }

    #[test]
    fn the_targets_host_replaces_the_fields() {
        let host = |target: &str, host: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nA: b\r\nHost: {host}\r\n\r\n");
            parse(&text).map(|head| String::from_utf8_lossy(head.get("host").unwrap()).into_owned())
        };
        for (target, field, expected) in [
            ("http://b:80/x", "a", "b:80"),
            ("http://u:p@[::1]:8/", "a", "[::1]:8"),
            ("http://b", "", "b"),
            ("/http://b/", "a", "a"),
        ] {
            assert_eq!(host(target, field).unwrap(), expected, "{target}");
        }
        let error = host("http://b/", "a/c").unwrap_err();
        assert!(matches!(error, ParseError::Host(_)), "invalid all the same");
        let error = parse("GET http://b/ HTTP/1.1\r\n\r\n").unwrap_err();
        assert_eq!(error, ParseError::NoHost);
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
            ("1.0", "Connection: close, keep-alive\r\n", false),
            ("1.1", "Connection: , ,close,\r\n", false),
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
        let limits = Config::default();
        let endless = vec![b'a'; 4095];
        assert_eq!(parse_within(&limits, &endless).unwrap_err().status(), 414);
        let endless = [&b"GET / HTTP/1.1\r\n"[..], &vec![b'a'; 8189]].concat();
        assert_eq!(parse_within(&limits, &endless).unwrap_err().status(), 431);
    }
}
