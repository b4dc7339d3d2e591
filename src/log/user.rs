//! The user that a request names itself: that of Basic authentication (RFC 7617).
//!
//! Never the password, and nothing is believed: whether the application lets that user in is not known.

use super::escape;

/// Adds the user that an `Authorization` field with Basic credentials names, or `-`.
pub(super) fn basic(out: &mut Vec<u8>, authorization: Option<&[u8]>) {
    let before = out.len();
    if let Some(coded) = authorization.and_then(credentials) {
        decode(out, coded);
    }
    if out.len() == before {
        out.push(b'-');
    }
}

/// The coded part of `Basic …`; the scheme is in any case (RFC 9110 §11.1).
fn credentials(value: &[u8]) -> Option<&[u8]> {
    let (scheme, coded) = value.split_at_checked(6)?;
    scheme
        .eq_ignore_ascii_case(b"basic ")
        .then(|| coded.trim_ascii())
}

/// Decodes Base64 (RFC 4648 §4) up to the colon that ends the user (RFC 7617 §2). Without a colon, or with
/// a character of another alphabet before it, there is no user.
fn decode(out: &mut Vec<u8>, coded: &[u8]) {
    let before = out.len();
    let mut bits = 0_u32;
    let mut held = 0;
    for character in coded {
        let sextet = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            match (bits >> held) as u8 {
                b':' => return,
                byte => escape::word(out, &[byte]),
            }
        }
    }
    out.truncate(before);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(authorization: &str) -> String {
        let mut out = Vec::new();
        basic(&mut out, Some(authorization.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_user_is_that_of_well_formed_basic_credentials() {
        use base64::Engine as _;
        let code = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        for name in ["a", "ab", "abc", "Aladdin", "~?>", "a-very-long-name"] {
            let credentials = code(&format!("{name}:pass:word"));
            assert_eq!(user(&format!("Basic {credentials}")), name);
            assert_eq!(user(&format!("bASIC   {credentials}")), name);
        }
        assert_eq!(user(&format!("Basic {}", code("nobody"))), "-");
        assert_eq!(user(&format!("Basic {}", code(":x"))), "-");
        assert_eq!(user("Basic"), "-");
        assert_eq!(user("Basic a_b="), "-");
        assert_eq!(user("Bearer YW5uOnNlY3JldA=="), "-");
    }
}
