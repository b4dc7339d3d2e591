//! The character classes and small words of HTTP's grammar, and lines.
//!
//! Nothing here knows a request, a response or a connection.

use std::ops::Range;

use memchr::memchr;

/// RFC 9110 §5.6.2: what a token is made of.
const TOKEN: [bool; 256] = class(b"!#$%&'*+-.^_`|~");
/// RFC 3986 §3.2.2: what a registered name is made of, except percent-encoding.
const HOST: [bool; 256] = class(b"-._~!$&'()*+,;=");

/// Letters, digits and `more`.
const fn class(more: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < more.len() {
        table[more[i] as usize] = true;
        i += 1;
    }
    table
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// A token: not empty, and nothing but token characters.
pub(super) fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().fold(true, |good, &b| good & is_token_byte(b))
}

/// Tells whether the bytes may stand in a field's value or a reason phrase: HTAB, SP, visible ASCII and octets above it
/// (RFC 9110 §5.5, RFC 9112 §4). There is no early exit, so that the compiler vectorizes the loop.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let is_bad = |b: u8| matches!(b, 0..=8 | 10..=31 | 127);
    !bytes.iter().fold(false, |bad, &b| bad | is_bad(b))
}

/// Visible ASCII and nothing else, in the same way.
pub(super) fn is_visible(bytes: &[u8]) -> bool {
    let is_bad = |b: u8| !b.is_ascii_graphic();
    !bytes.iter().fold(false, |bad, &b| bad | is_bad(b))
}

/// Without the SP and HTAB around it (RFC 9110 §5.6.3).
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Without the SP and HTAB after it.
pub(super) fn trim_end(bytes: &[u8]) -> &[u8] {
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
    let last = bytes.iter().rposition(|b| !is_blank(b));
    &bytes[..last.map_or(0, |last| last + 1)]
}

/// Without the SP and HTAB before it.
pub(super) fn trim_start(bytes: &[u8]) -> &[u8] {
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = bytes.iter().position(|b| !is_blank(b));
    &bytes[start.unwrap_or(bytes.len())..]
}

/// The members of a comma list, trimmed (RFC 9110 §5.6.1); empty ones too.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&b| b == b',').map(trim)
}

/// A decimal number without sign, separator or blank (RFC 9110 §8.6).
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    number::<10>(digits)
}

/// A hexadecimal number of at least one digit (RFC 9112 §7.1).
pub(super) fn hexadecimal(digits: &[u8]) -> Option<u64> {
    number::<16>(digits)
}

fn number<const RADIX: u32>(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = char::from(digit).to_digit(RADIX)?;
        value
            .checked_mul(u64::from(RADIX))?
            .checked_add(u64::from(digit))
    })
}

/// `uri-host [ ":" port ]` (RFC 9110 §4.2.1), as its host and its port; `None` for anything else, an empty
/// host included.
///
/// Of the IP literals only version 6 is taken, since no other was ever registered (RFC 3986 §3.2.2); it is
/// held to its characters, not to its groups.
pub(super) fn host_and_port(authority: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (host, rest) = if authority.first() == Some(&b'[') {
        let close = memchr(b']', authority)?;
        let address = &authority[1..close];
        let is_part = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
        if !address.contains(&b':') || !address.iter().all(is_part) {
            return None;
        }
        authority.split_at(close + 1)
    } else {
        authority.split_at(registered_name(authority))
    };
    if host.is_empty() {
        return None;
    }
    match rest {
        [] => Some((host, None)),
        [b':', port @ ..] if port.iter().all(u8::is_ascii_digit) => Some((host, Some(port))),
        _ => None,
    }
}

/// The length of the registered name at the start (RFC 3986 §3.2.2).
fn registered_name(bytes: &[u8]) -> usize {
    let mut end = 0;
    loop {
        end += match &bytes[end..] {
            [byte, ..] if HOST[usize::from(*byte)] => 1,
            [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => 3,
            _ => return end,
        };
    }
}

/// The reason that a line cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    /// It is longer than it may be.
    TooLong,
    BareLineFeed,
}

/// Finds lines in bytes that arrive piece by piece, and looks at each byte once.
///
/// The result does not depend on where the input was cut into pieces: a line's length is judged before its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    start: usize,
    /// The bytes before this position hold no line feed of the current line.
    searched: usize,
}

impl Lines {
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// The range of the next line, without its CRLF, if it is complete. `limit` is its greatest length.
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Option<Range<usize>>, BadLine> {
        let found = memchr(b'\n', &bytes[self.searched..]);
        let end = found.map_or(bytes.len(), |i| self.searched + i);
        let has_return = end > self.start && bytes[end - 1] == b'\r';
        let line = self.start..end - usize::from(has_return);
        if line.len() > limit {
            return Err(BadLine::TooLong);
        }
        if found.is_none() {
            self.searched = end;
            return Ok(None);
        }
        if !has_return {
            return Err(BadLine::BareLineFeed);
        }
        self.start = end + 1;
        self.searched = end + 1;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_characters_of_the_rfc() {
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[byte]), expected, "{byte:#x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn text_excludes_every_control_but_the_tab() {
        for byte in 0..=255u8 {
            let expected = byte == b'\t' || !(byte < 0x20 || byte == 0x7f);
            assert_eq!(is_text(&[b'a', byte]), expected, "{byte:#x}");
        }
    }

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            &b""[..],
            b"18446744073709551616",
            b"+1",
            b"-0",
            b"0_1",
            b" 1",
            b"a",
        ] {
            assert_eq!(decimal(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(hexadecimal(b"00fFffFFffFFffFFff"), Some(u64::MAX));
        assert_eq!(hexadecimal(b"10000000000000000"), None);
    }

    // Gunicorn: P8
    #[test]
    fn hosts_are_names_addresses_and_literals() {
        for good in [
            "a",
            "a:",
            "a:80",
            "0.0.0.0=5000",
            "a_b.example",
            "%41",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(host_and_port(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a/b", "a@b", "a:8o", "a:1:2", "[::1", "[::1]x", "[a]", "%4", "a,b\"",
        ] {
            assert!(host_and_port(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_line_is_judged_alike_wherever_it_is_cut() {
        let cases: [&[u8]; 6] = [
            b"abcd\r\n",
            b"abcde\r\n",
            b"abcd\n",
            b"abcde\n",
            b"abcd\rx",
            b"ab\rc\r\n",
        ];
        for case in cases {
            let whole = Lines::default().next(case, 4);
            let mut lines = Lines::default();
            let mut piecewise = Ok(None);
            for end in 1..=case.len() {
                piecewise = lines.next(&case[..end], 4);
                if piecewise != Ok(None) {
                    break;
                }
            }
            assert_eq!(whole, piecewise, "{}", case.escape_ascii());
        }
    }
}
