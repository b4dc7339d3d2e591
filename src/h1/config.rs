//! [`ConnConfig`]: how much of a request is taken in ([`Limits`]), and what beyond the RFC ([`Leniency`]).
//!
//! No limit of a body's content is here: the reader of the body bounds it. No value here makes the
//! framing of a message ambiguous.

use bytes::Bytes;

use super::syntax::members;

/// The settings of a connection's protocol. The default accepts what RFC 9112 requires of a server, and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnConfig {
    /// The bounds of a head's size.
    pub limits: Limits,
    /// The deviations from the RFC that are accepted.
    pub leniency: Leniency,
}

impl ConnConfig {
    /// For heads that a program makes: no limits but those of a [`Head`](super::Head)'s ranges, and nothing is dropped.
    pub(super) fn loose() -> Self {
        Self {
            limits: Limits {
                request_line: usize::MAX,
                fields: usize::MAX,
                field_size: usize::MAX,
            },
            leniency: Leniency {
                underscores: Underscores::Refuse,
                ..Leniency::default()
            },
        }
    }
}

/// The bounds of the size of a request's head. The defaults are Gunicorn's.
///
/// A head that exceeds one is refused as soon as that is certain, its end not awaited: so a connection
/// never holds more than [`request_line`](Self::request_line) plus [`fields`](Self::fields) times
/// [`field_size`](Self::field_size) bytes of it. Trailer sections are bounded alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line, without its CRLF; 4094. Past it the answer is 414.
    pub request_line: usize,
    /// Number of header fields, those that are dropped included; 100. Past it the answer is 431.
    pub fields: usize,
    /// Bytes of one field, with its folds and its CRLF; 8190. Past it the answer is 431. It also bounds the
    /// line before a chunk.
    pub field_size: usize,
}

impl Limits {
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

/// Gunicorn's compatibility switches, all off by default: each takes something that this server, and where
/// it says so the RFC, has refused. None of them touches how a body's end is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches that do not depend on each other"
)]
pub struct Leniency {
    /// Takes fields that go on in the next line, joined with one space (RFC 9112 §5.2 has them refused or
    /// joined).
    pub obsolete_folding: bool,
    /// Takes blanks between a field's name and its colon, and drops them (RFC 9112 §5.1 has them refused).
    pub header_spaces: bool,
    /// Takes every token for a method (RFC 9110 §9.1), and not those of 3 to 20 characters without lower
    /// case and `#` only.
    pub unconventional_method: bool,
    /// Takes versions other than 1.x (RFC 9112 §2.3); they are served as HTTP/1.0 or HTTP/1.1, whichever is
    /// nearer.
    pub unconventional_version: bool,
    /// Makes a method upper case before it is looked at, although methods are case-sensitive (RFC 9110
    /// §9.1).
    pub casefold_method: bool,
    /// The treatment of a field whose name has an underscore.
    pub underscores: Underscores,
    /// Of those, the ones that are taken all the same: what a forwarder adds that is trusted. Not in a
    /// trailer section.
    pub forwarder_headers: Names,
}

impl Leniency {
    /// Tells whether a section may need to be rewritten before it is as the RFC has it.
    pub(super) fn rewrites(&self) -> bool {
        self.obsolete_folding || self.header_spaces
    }
}

/// The treatment of a field whose name has an underscore. A gateway cannot tell such a name from one with a hyphen (RFC
/// 3875 §4.1.18): `X_Real_IP` would pass for `X-Real-IP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Underscores {
    /// It is dropped and [counted](super::Head::dropped).
    #[default]
    Drop,
    /// Its request is refused with 400.
    Refuse,
    /// It is taken like any other.
    Dangerous,
}

/// Names of fields, in any case: none by default. Cheap to clone.
///
/// ```
/// use oxicorn::h1::Names;
///
/// let names = Names::new("SCRIPT_NAME, PATH_INFO");
/// assert!(names.contains(b"script_name") && !names.contains(b"x_real_ip"));
/// assert!(Names::new("*").contains(b"x_real_ip"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Bytes);

impl Names {
    /// The names of a list with commas between them; `*` is every name.
    pub fn new(list: impl Into<String>) -> Self {
        Self(Bytes::from(list.into()))
    }

    /// Tells whether the name is among them.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        members(&self.0).any(|known| known == b"*" || known.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_has_no_names() {
        assert!(!Names::default().contains(b"a") && !Names::new("").contains(b"a"));
        assert!(!Names::new("a,").contains(b"b"));
    }
}
