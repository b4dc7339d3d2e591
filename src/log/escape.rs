//! What a client sent, made harmless for a line of text.
//!
//! Nothing is dropped: each escape can be read back.

/// Adds `bytes` as they stand in a quoted field: `\"`, `\\`, and `\xHH` for everything that is not
/// visible ASCII or a space.
pub(super) fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    escape(out, bytes, |byte| byte == b' ');
}

/// The same for a field without quotes, where a space would end it.
pub(super) fn word(out: &mut Vec<u8>, bytes: &[u8]) {
    escape(out, bytes, |_| false);
}

fn escape(out: &mut Vec<u8>, mut bytes: &[u8], also_plain: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let plain =
        |byte: u8| (byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') || also_plain(byte);
    while let Some(at) = bytes.iter().position(|byte| !plain(*byte)) {
        out.extend_from_slice(&bytes[..at]);
        match bytes[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&digits);
            }
        }
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(escape: fn(&mut Vec<u8>, &[u8]), bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quotes_backslashes_and_what_is_not_visible_are_escaped() {
        assert_eq!(text(quoted, b""), "");
        assert_eq!(text(quoted, b"a b/c?d=%0a"), "a b/c?d=%0a");
        assert_eq!(text(quoted, b"say \"hi\"\\"), r#"say \"hi\"\\"#);
        assert_eq!(text(quoted, b"a\r\nb\x1b[0m\x7f"), r"a\x0d\x0ab\x1b[0m\x7f");
        assert_eq!(text(quoted, "é".as_bytes()), r"\xc3\xa9");
    }

    #[test]
    fn a_word_has_no_space() {
        assert_eq!(text(word, b"a b"), r"a\x20b");
    }
}
