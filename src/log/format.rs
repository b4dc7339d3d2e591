//! [`AccessFormat`]: an access log's line, compiled from Gunicorn's notation.
//!
//! ```text
//!   %(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"     the default
//!   %(m)s %({x-request-id}i)s %(D)8d                                 a header, and a width
//! ```
//!
//! An atom is written straight into the line, escaped: what a client sent can end neither a line nor a quoted field.

use std::str::FromStr;

use super::atom::{Atom, LogRecord};
use crate::error::{Error, Result};

/// The format of an access log's lines: text and atoms, in the notation of `access_log_format`.
///
/// ```
/// use oxicorn::log::AccessFormat;
///
/// let format: AccessFormat = "%(h)s %(m)s %(U)s %(s)s %(D)sus".parse()?;
/// assert!("%(h".parse::<AccessFormat>().is_err());
/// # Ok::<(), oxicorn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AccessFormat {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    atom: Atom,
    shape: Shape,
}

/// How an atom's text is fitted: `%(a)-20.20s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    width: usize,
    left: bool,
    zeros: bool,
    precision: Option<usize>,
}

/// The widest field that a format may ask for.
const WIDEST: usize = 1024;

impl AccessFormat {
    /// Gunicorn's default format.
    pub const DEFAULT: &'static str =
        r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

    /// The names of the response's header fields that the format has, in lower case.
    pub(crate) fn response_fields(&self) -> Vec<String> {
        self.names(|atom| match atom {
            Atom::ResponseField(name) => Some(name.clone()),
            Atom::RequestId => Some("x-request-id".to_owned()),
            _ => None,
        })
    }

    /// The names of the environ's variables that the format has, as they stand there.
    #[cfg(feature = "wsgi")]
    pub(crate) fn variables(&self) -> Vec<String> {
        self.names(|atom| match atom {
            Atom::Variable(name) => Some(name.clone()),
            Atom::Path => Some("PATH_INFO".to_owned()),
            _ => None,
        })
    }

    fn names(&self, name: impl Fn(&Atom) -> Option<String>) -> Vec<String> {
        let mut names: Vec<_> = self
            .pieces
            .iter()
            .filter_map(|piece| name(&piece.atom))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Adds a line, with its end.
    pub(super) fn write(&self, out: &mut Vec<u8>, line: &LogRecord<'_, '_>) {
        for piece in &self.pieces {
            let start = out.len();
            line.write(out, &piece.atom);
            if piece.shape != Shape::default() {
                piece.shape.fit(out, start);
            }
        }
    }
}

/// Gunicorn's default.
impl Default for AccessFormat {
    fn default() -> Self {
        let default = Self::DEFAULT.parse();
        default.unwrap_or(Self { pieces: Vec::new() })
    }
}

impl FromStr for AccessFormat {
    type Err = Error;

    /// Compiles a format: `%(atom)s` with the flags, the width and the precision of Python's `%` operator, `%%`, and text.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`], naming the place, where the notation is wrong. An unknown atom is `-`, as in Gunicorn.
    fn from_str(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            let here = text.len() - rest.len() + at;
            let wrong = |why: &str| {
                Error::config(format!(
                    "the access log format is wrong at character {}: {why}",
                    here + 1
                ))
            };
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let named = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            let (name, after) = named.ok_or_else(|| wrong("expected %(ATOM)s or %%"))?;
            let (shape, after) = Shape::parse(after).ok_or_else(|| {
                wrong("expected s, d or i after the atom, with a width of at most 1024 before it")
            })?;
            rest = after;
            let atom = Atom::named(name);
            if atom == Atom::Dash && shape == Shape::default() {
                literal.push('-');
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece {
                    atom: Atom::Text(std::mem::take(&mut literal)),
                    shape: Shape::default(),
                });
            }
            pieces.push(Piece { atom, shape });
        }
        literal.push_str(rest);
        literal.push('\n');
        pieces.push(Piece {
            atom: Atom::Text(literal),
            shape: Shape::default(),
        });
        Ok(Self { pieces })
    }
}

impl Shape {
    /// Reads what follows an atom's name, up to and with its conversion.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let mut shape = Self::default();
        let flags = text.trim_start_matches(['-', '0', '+', ' ', '#']);
        for flag in text[..text.len() - flags.len()].chars() {
            shape.left |= flag == '-';
            shape.zeros |= flag == '0';
        }
        let (width, rest) = number(flags)?;
        shape.width = width.unwrap_or(0);
        let rest = match rest.strip_prefix('.') {
            Some(rest) => {
                let (precision, rest) = number(rest)?;
                shape.precision = Some(precision.unwrap_or(0));
                rest
            }
            None => rest,
        };
        let after = rest.strip_prefix(['d', 'i']);
        if after.is_none() {
            shape.zeros = false;
        }
        Some((shape, after.or_else(|| rest.strip_prefix('s'))?))
    }

    /// Fits the text that begins at `start`.
    fn fit(self, out: &mut Vec<u8>, start: usize) {
        if let Some(precision) = self.precision {
            out.truncate(start.saturating_add(precision));
        }
        let missing = self.width.saturating_sub(out.len() - start);
        let fill = if self.zeros && !self.left { b'0' } else { b' ' };
        out.extend(std::iter::repeat_n(fill, missing));
        if !self.left {
            out[start..].rotate_right(missing);
        }
    }
}

fn number(text: &str) -> Option<(Option<usize>, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - rest.len()];
    if digits.is_empty() {
        return Some((None, rest));
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDEST)?;
    Some((Some(number), rest))
}
