//! Conditional requests (RFC 9110 §13): whether a file is sent, given what the client has of it.

use httpdate::HttpDate;

use super::super::Request;

/// The marks by which a client may know a version of a file.
pub(super) struct Validators {
    /// The entity tag (RFC 9110 §8.8.3), a strong one, with its quotes.
    pub(super) etag: String,
    /// When the file was changed, if HTTP can say it.
    pub(super) modified: Option<HttpDate>,
}

/// The outcome of a request's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    /// The file is sent.
    Send,
    /// The client has it: 304.
    NotModified,
    /// It is not the version that the client wants: 412.
    Failed,
}

impl Validators {
    /// Evaluates the conditions of a GET or HEAD in their order (RFC 9110 §13.2.2), without that of the range.
    pub(super) fn judge(&self, request: &Request<'_>) -> Precondition {
        if let Some(matches) = self.is_listed(request, "if-match", Self::matches_strongly) {
            if !matches {
                return Precondition::Failed;
            }
        } else if let Some(since) = date(request, "if-unmodified-since") {
            if self.modified.is_some_and(|modified| modified > since) {
                return Precondition::Failed;
            }
        }
        if let Some(matches) = self.is_listed(request, "if-none-match", Self::matches_weakly) {
            if matches {
                return Precondition::NotModified;
            }
        } else if let Some(since) = date(request, "if-modified-since") {
            if self.modified.is_some_and(|modified| modified <= since) {
                return Precondition::NotModified;
            }
        }
        Precondition::Send
    }

    /// Tells whether a range is of the version that the client has a part of (RFC 9110 §13.1.5). A date counts where it
    /// is the same to the second.
    pub(super) fn allow_range(&self, request: &Request<'_>) -> bool {
        let Some(condition) = request.header("if-range") else {
            return true;
        };
        match tags(condition).next() {
            Some(tag) => self.matches_strongly(&tag),
            None => self.modified.is_some() && self.modified == date(request, "if-range"),
        }
    }

    /// Tells whether one of the listed tags matches, or `*` does; `None` without that field.
    fn is_listed(
        &self,
        request: &Request<'_>,
        name: &str,
        matches: fn(&Self, &Tag<'_>) -> bool,
    ) -> Option<bool> {
        let mut fields = values(request, name).peekable();
        fields.peek()?;
        Some(fields.any(|list| list == b"*" || tags(list).any(|tag| matches(self, &tag))))
    }

    fn matches_strongly(&self, tag: &Tag<'_>) -> bool {
        !tag.is_weak && self.matches_weakly(tag)
    }

    fn matches_weakly(&self, tag: &Tag<'_>) -> bool {
        tag.quoted == self.etag.as_bytes()
    }
}

/// A client's entity tag.
struct Tag<'h> {
    is_weak: bool,
    /// With its quotes.
    quoted: &'h [u8],
}

/// The tags of a list, up to what is none.
fn tags(mut list: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    std::iter::from_fn(move || {
        let start = list.iter().position(|byte| !b" \t,".contains(byte))?;
        let rest = &list[start..];
        let (is_weak, rest) = match rest.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let inner = rest.strip_prefix(b"\"")?;
        let end = inner.iter().position(|&byte| byte == b'"')? + 2;
        let (quoted, others) = rest.split_at(end);
        list = others;
        Some(Tag { is_weak, quoted })
    })
}

fn values<'r>(request: &Request<'r>, name: &str) -> impl Iterator<Item = &'r [u8]> {
    let fields = request.headers();
    fields.filter_map(move |(other, value)| other.eq_ignore_ascii_case(name).then_some(value))
}

/// The date in the field of that name, if there is one such field and it holds a date.
fn date(request: &Request<'_>, name: &str) -> Option<HttpDate> {
    let mut values = values(request, name);
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    std::str::from_utf8(value).ok()?.parse().ok()
}
