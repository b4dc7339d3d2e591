//! Field sections that old senders wrote, as RFC 9112 has them: folds joined, blanks before a colon dropped.
//!
//! It judges nothing: what comes out is read like any other section, and what a [`Leniency`] does not name
//! stays as it is.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::config::Leniency;
use super::syntax::{trim, trim_end};

/// The section as the RFC would have it, as far as `leniency` goes.
pub(super) fn unfold<'s>(section: &'s [u8], leniency: &Leniency) -> Cow<'s, [u8]> {
    if !leniency.rewrites() {
        return Cow::Borrowed(section);
    }
    let mut unfolded = Vec::with_capacity(section.len());
    for line in lines_of(section) {
        if leniency.obsolete_folding && is_fold(line) && !unfolded.is_empty() {
            unfolded.truncate(trim_end(&unfolded[..unfolded.len() - 2]).len());
            unfolded.push(b' ');
            unfolded.extend_from_slice(trim(line));
        } else {
            let colon = memchr(b':', line).unwrap_or(line.len());
            let (name, value) = line.split_at(colon);
            let blanks = leniency.header_spaces && !is_fold(line);
            unfolded.extend_from_slice(if blanks { trim_end(name) } else { name });
            unfolded.extend_from_slice(value);
        }
        unfolded.extend_from_slice(b"\r\n");
    }
    unfolded.extend_from_slice(b"\r\n");
    Cow::Owned(unfolded)
}

/// Tells whether a line goes on with the field before it.
pub(super) fn is_fold(line: &[u8]) -> bool {
    matches!(line, [b' ' | b'\t', ..])
}

/// The lines of a section, without their CRLF and up to the empty one.
pub(super) fn lines_of(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = section;
    std::iter::from_fn(move || {
        let end = memmem::find(rest, b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        (!line.is_empty()).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfolded(leniency: &Leniency, section: &str) -> String {
        let section = format!("{section}\r\n\r\n");
        let section = unfold(section.as_bytes(), leniency).into_owned();
        String::from_utf8(section).unwrap()
    }

    #[test]
    fn folds_are_joined_with_one_space() {
        let leniency = Leniency {
            obsolete_folding: true,
            ..Leniency::default()
        };
        for (section, expected) in [
            ("a: b \r\n \t c\r\n\td \r\ne: f", "a: b c d\r\ne: f"),
            ("a:\r\n b", "a: b"),
            ("a: b\r\n \r\n c", "a: b c"),
            (" a: b", " a: b"),
            ("a : b", "a : b"),
        ] {
            assert_eq!(unfolded(&leniency, section), format!("{expected}\r\n\r\n"));
        }
    }

    #[test]
    fn blanks_before_a_colon_are_dropped() {
        let leniency = Leniency {
            header_spaces: true,
            ..Leniency::default()
        };
        for (section, expected) in [
            ("a \t: b : c", "a: b : c"),
            ("a b : c", "a b: c"),
            ("a: b\r\n c : d", "a: b\r\n c : d"),
        ] {
            assert_eq!(unfolded(&leniency, section), format!("{expected}\r\n\r\n"));
        }
    }

    #[test]
    fn nothing_is_touched_without_being_asked() {
        let section = b"a : b\r\n c\r\n\r\n";
        assert!(matches!(
            unfold(section, &Leniency::default()),
            Cow::Borrowed(same) if same == section
        ));
    }
}
