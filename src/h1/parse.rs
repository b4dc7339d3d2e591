//! Request heads: the request line by hand, the fields with httparse and all that httparse lets through.
//!
//! Nothing here keeps a connection's state: what is found depends on the bytes alone, never on how they
//! were cut. Since httparse does not resume, it sees a head at most twice: when the request line is
//! complete, for then nearly always all is there; and when the end has come that [`Lines`] have awaited,
//! looking at each byte once.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use httparse::Status;
use memchr::memchr;

use super::config::{ConnConfig, Leniency, Limits, Underscores};
use super::error::{ParseError, quote};
use super::head::Head;
use super::obs_fold::{is_fold, lines_of, unfold};
use super::request_line::RequestLine;
use super::section_cache::Place;
use super::semantics::{Semantics, SemanticsBuilder};
use super::syntax::{BadLine, Lines, is_text, is_token, is_token_byte, is_visible, trim_start};
use super::types::{Span, Version};

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
        config: &ConnConfig,
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
    /// It must be [unfolded](unfold) already.
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
        config: &ConnConfig,
    ) -> Result<Option<Head>, ParseError> {
        let (line, fresh) = match self.request_line {
            Some(line) => (line, false),
            None => match self.request_line(bytes, config)? {
                Some(line) => (line, true),
                None => return Ok(None),
            },
        };
        memory.clear();
        let place = Place {
            block: bytes,
            line: &line,
            config,
        };
        if let Some((end, semantics)) = fresh.then(|| place.recall(memory)).flatten() {
            return Ok(Some(line.head(
                bytes.split_to(end).freeze(),
                memory,
                semantics,
            )));
        }
        let start = line.fields;
        let mut fields = Fields::new(memory, &config.leniency);
        let (mut semantics, mut end, mut unfolded) = (SemanticsBuilder::default(), None, None);
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
                    .try_for_each(|field| fields.push(bytes, field, &mut semantics))
            })?;
        }
        let found = end;
        if end.is_none() {
            end = self.section.end(bytes, config)?;
            if let Some(end) = end {
                let block = unfold_block(&bytes[..end], start, &config.leniency);
                let block = unfolded.get_or_insert(block);
                self.section.read(&block[start..], |field| {
                    fields.push(block, field, &mut semantics)
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
        let (host, dropped) = (fields.host, fields.dropped);
        let semantics = semantics.build(line.version, line.method.of(bytes), dropped)?;
        if let Some(end) = found {
            place.keep(end, memory, semantics);
        }
        // What the target says has precedence (RFC 9112 §3.2.2).
        if let (Some(host), false) = (host, line.host.is_empty()) {
            memory[host].1 = line.host;
        }
        let rewritten = match unfolded {
            Some(Cow::Owned(block)) => Some(block.into()),
            Some(Cow::Borrowed(_)) | None => None,
        };
        let received = bytes.split_to(end);
        let block = rewritten.unwrap_or_else(|| received.freeze());
        Ok(Some(line.head(block, memory, semantics)))
    }

    /// The request line at the start of `bytes`, if it is complete.
    fn request_line(
        &mut self,
        bytes: &mut [u8],
        config: &ConnConfig,
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

/// The block with its section from `start` on [unfolded](unfold).
fn unfold_block<'b>(block: &'b [u8], start: usize, leniency: &Leniency) -> Cow<'b, [u8]> {
    match unfold(&block[start..], leniency) {
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
        semantics: &mut SemanticsBuilder<'b>,
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
        semantics.add(name, field.value)?;
        let span = |part| Span::new(block, part);
        self.spans.push((span(name), span(field.value)));
        Ok(())
    }
}

impl RequestLine {
    /// The head with this line in `block`, whose fields are in `memory`.
    fn head(self, block: Bytes, memory: &mut Vec<(Span, Span)>, semantics: Semantics) -> Head {
        Head {
            block,
            method: self.method,
            target: self.target,
            path: self.path,
            query: self.query,
            version: self.version,
            fields: std::mem::take(memory),
            semantics,
        }
    }
}

impl Head {
    /// A head that no connection received: for tests, and for servers of your own that call a service.
    ///
    /// ```
    /// use oxicorn::h1::{Head, Version};
    ///
    /// let fields = [(&b"host"[..], &b"shop.example"[..])];
    /// let head = Head::new("GET", "/cart?item=7", Version::HTTP_11, fields)?;
    /// assert_eq!((head.path(), head.query()), ("/cart", "item=7"));
    /// # Ok::<(), oxicorn::h1::ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for a head from the network, except that it may have any size: so HTTP/1.1 needs a `Host`. A field with an
    /// underscore in its name is refused and never dropped: an application could not tell it from one with a hyphen,
    /// which only the server in front of it may write (`X_Forwarded_For`).
    pub fn new<'f>(
        method: &str,
        target: &str,
        version: Version,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<Self, ParseError> {
        // A space, a colon in a name or a line's end anywhere would shift what follows.
        if !is_visible(method.as_bytes()) {
            return Err(ParseError::Method(quote(method.as_bytes())));
        }
        if !is_visible(target.as_bytes()) {
            return Err(ParseError::Target(quote(target.as_bytes())));
        }
        let mut block = BytesMut::from(format!("{method} {target} {version}\r\n").as_bytes());
        for (name, value) in fields {
            if !is_token(name) {
                return Err(ParseError::FieldName(quote(name)));
            }
            if !is_text(value) {
                return Err(ParseError::FieldValue(quote(name)));
            }
            for part in [name, b": ", value, b"\r\n"] {
                block.extend_from_slice(part);
            }
        }
        block.extend_from_slice(b"\r\n");
        let mut fields = Vec::new();
        match Scan::default().head(&mut block, &mut fields, &ConnConfig::loose())? {
            Some(head) => Ok(head),
            None => Err(ParseError::RequestLine(quote(&block))),
        }
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
mod tests;
