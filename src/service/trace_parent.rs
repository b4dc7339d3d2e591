//! The field `traceparent` of W3C Trace Context (Recommendation of 2021, §3.2): by it the parts of a distributed system
//! know which of their calls belong together.

use crate::h1::Head;

/// The length of version 00: `00-TRACE_ID-PARENT_ID-FLAGS`.
const LENGTH: usize = 55;

/// The value of the request's `traceparent`, if there is exactly one field of that name and it is well formed.
pub(crate) fn of(head: &Head) -> Option<&str> {
    let named = |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(b"traceparent");
    let mut fields = head.fields().filter(named);
    let (_, value) = fields.next()?;
    let is_alone = fields.next().is_none();
    std::str::from_utf8(value)
        .ok()
        .filter(|value| is_alone && is_well_formed(value.as_bytes()))
}

/// Whether it follows the grammar. A later version may have more behind the four parts of this one (§3.2.4).
fn is_well_formed(value: &[u8]) -> bool {
    let Some((known, more)) = value.split_at_checked(LENGTH) else {
        return false;
    };
    let mut parts = known.split(|byte| *byte == b'-');
    let mut next = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length);
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        part.filter(|part| part.iter().all(hex))
    };
    let (Some(version), Some(trace), Some(parent), Some(_)) =
        (next(2), next(32), next(16), next(2))
    else {
        return false;
    };
    let is_zero = |id: &[u8]| id.iter().all(|digit| *digit == b'0');
    let ends = match version {
        b"ff" => false,
        b"00" => more.is_empty(),
        _ => more.is_empty() || more[0] == b'-',
    };
    ends && !is_zero(trace) && !is_zero(parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::Version;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_value_is_taken_by_its_grammar_alone() {
        for (value, taken) in [
            (format!("00-{TRACE}-b7ad6b7169203331-01"), true),
            (format!("cc-{TRACE}-b7ad6b7169203331-01-what"), true),
            (format!("cc-{TRACE}-b7ad6b7169203331-01.what"), false),
            (format!("00-{TRACE}-b7ad6b7169203331-01-what"), false),
            (format!("ff-{TRACE}-b7ad6b7169203331-01"), false),
            (
                format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
                false,
            ),
            (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
            (format!("00-{TRACE}-b7ad6b7169203331-0"), false),
            (format!("00-{TRACE}-b7ad6b716920333-101"), false),
            (String::new(), false),
        ] {
            assert_eq!(is_well_formed(value.as_bytes()), taken, "{value}");
        }
    }

    #[test]
    fn two_fields_are_none() {
        let value = format!("00-{TRACE}-b7ad6b7169203331-01");
        for (count, taken) in [(1, Some(&*value)), (2, None), (0, None)] {
            let fields = vec![(&b"TraceParent"[..], value.as_bytes()); count];
            let head = Head::new("GET", "/", Version::HTTP_10, fields).unwrap();
            assert_eq!(of(&head), taken, "{count}");
        }
    }
}
