//! [`Certificate`]: the facts of an X.509 certificate that people and applications ask for (RFC 5280 §4.1).
//!
//! It judges nothing: whether a certificate is to be believed is decided elsewhere, before.

use std::fmt::Write;

/// The facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// In hexadecimal, in upper case.
    pub(crate) serial: String,
    /// Distinguished names, the most specific part first (RFC 4514).
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// The last common name of the subject, if it has one.
    pub(crate) common_name: Option<String>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// The same two as OpenSSL writes them: `Nov 29 01:54:37 2026 GMT`.
    pub(crate) start: String,
    pub(crate) end: String,
    /// The names of servers that it is for, in lower case: `*.` stands for one label.
    pub(crate) names: Vec<String>,
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
/// `[0]`, the version, and `[3]`, the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[2]`, a name of DNS within the alternative names.
const DNS_NAME: u8 = 0x82;
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The types of a name that RFC 4514 §3 gives a short form, and the usual one of a mail address.
const SHORT: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x09], "street"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19],
        "DC",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01],
        "UID",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01],
        "emailAddress",
    ),
];

/// Elements in DER (X.690), one after another.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        let mut len = usize::from(first);
        if first & 0x80 != 0 {
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            len = digits
                .iter()
                .fold(0, |len, digit| len << 8 | usize::from(*digit));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(len)?;
        self.0 = after;
        Some((tag, content))
    }

    /// The content of the next element, which has this tag.
    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next()
            .and_then(|(tag, content)| (tag == wanted).then_some(content))
    }

    /// What the next element has within it, if it has this tag; where it has not, it stays.
    fn optional(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) {
            self.expect(wanted)
        } else {
            None
        }
    }
}

impl Certificate {
    /// The facts of a certificate in DER; `None` where it is malformed.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let mut body = Der(Der(Der(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
        body.optional(VERSION);
        let serial = body.expect(INTEGER)?;
        body.expect(SEQUENCE)?;
        let (issuer, _) = distinguished_name(body.expect(SEQUENCE)?)?;
        let mut validity = Der(body.expect(SEQUENCE)?);
        let (not_before, start) = time(validity.next()?)?;
        let (not_after, end) = time(validity.next()?)?;
        let (subject, common_name) = distinguished_name(body.expect(SEQUENCE)?)?;
        body.expect(SEQUENCE)?;
        let mut names = Vec::new();
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                names = alternative_names(content)?;
            }
        }
        // A sign that is no digit: a number whose first bit is set has a zero in front of it.
        let serial = match serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        Some(Self {
            serial: hexadecimal(serial),
            issuer,
            subject,
            common_name,
            not_before,
            not_after,
            start,
            end,
            names,
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02X}");
        digits
    })
}

/// A name in the form of RFC 4514, and its last common name.
fn distinguished_name(content: &[u8]) -> Option<(String, Option<String>)> {
    let mut common_name = None;
    let mut parts = Vec::new();
    let mut sets = Der(content);
    while let Some((_, set)) = sets.next() {
        let mut pairs = Vec::new();
        let mut set = Der(set);
        while let Some(pair) = set.optional(SEQUENCE) {
            let mut pair = Der(pair);
            let kind = pair.next()?.1;
            let (tag, value) = pair.next()?;
            let value = text(tag, value);
            let known = SHORT.iter().find(|(oid, _)| *oid == kind);
            let short = known.map_or_else(|| dotted(kind), |(_, short)| (*short).to_owned());
            pairs.push(format!("{short}={}", escape(&value)));
            if kind == COMMON_NAME {
                common_name = Some(value);
            }
        }
        parts.push(pairs.join("+"));
    }
    parts.reverse();
    Some((parts.join(","), common_name))
}

/// A string of X.520. Those that are no UTF-8 are taken for Latin-1 or, with two bytes each, for UTF-16.
fn text(tag: u8, bytes: &[u8]) -> String {
    const BMP: u8 = 0x1e;
    if tag == BMP {
        let units = bytes
            .chunks_exact(2)
            .map(|two| u16::from_be_bytes([two[0], two[1]]));
        return char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Escapes a value (RFC 4514 §2.4). Control characters as well: a name goes to logs and header fields.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', c]),
            '#' | ' ' if at == 0 => escaped.extend(['\\', c]),
            ' ' if at == last => escaped.extend(['\\', c]),
            c if c.is_ascii_control() => {
                let _ = write!(escaped, "\\{:02X}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The type of a name that has no short form, as numbers.
fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number: u64 = 0;
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    let texts: Vec<_> = numbers.iter().map(u64::to_string).collect();
    texts.join(".")
}

/// The names of servers among the extensions.
fn alternative_names(content: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Der(Der(content).expect(SEQUENCE)?);
    let mut found = Vec::new();
    while let Some(extension) = extensions.optional(SEQUENCE) {
        let mut extension = Der(extension);
        let kind = extension.next()?.1;
        extension.optional(BOOLEAN);
        let value = extension.expect(OCTETS)?;
        if kind != ALTERNATIVE_NAMES {
            continue;
        }
        let mut names = Der(Der(value).expect(SEQUENCE)?);
        while let Some((tag, name)) = names.next() {
            if let (DNS_NAME, Ok(name)) = (tag, std::str::from_utf8(name)) {
                found.push(name.to_ascii_lowercase());
            }
        }
    }
    Some(found)
}

/// A moment: in seconds since 1970, and in words.
fn time((tag, content): (u8, &[u8])) -> Option<(i64, String)> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = text.split_at_checked(if tag == UTC_TIME { 2 } else { 4 })?;
    let mut year: i64 = year.parse().ok()?;
    if tag == UTC_TIME {
        // RFC 5280 §4.1.2.5.1.
        year += if year < 50 { 2000 } else { 1900 };
    }
    if rest.len() != 10 {
        return None;
    }
    let part = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    let name = MONTHS.get(usize::try_from(month - 1).ok()?)?;
    // Days since 1970, with years that begin in March: a leap day is then a year's last.
    let years = if month > 2 { year } else { year - 1 };
    let months = (month + 9) % 12;
    let leap_days = years / 4 - years / 100 + years / 400;
    let days = years * 365 + leap_days + (months * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let words = format!("{name} {day:2} {hour:02}:{minute:02}:{second:02} {year} GMT");
    Some((seconds, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_and_written_as_openssl_does() {
        for (tag, text, seconds, words) in [
            (UTC_TIME, "700101000000Z", 0, "Jan  1 00:00:00 1970 GMT"),
            (
                UTC_TIME,
                "491231235959Z",
                2_524_607_999,
                "Dec 31 23:59:59 2049 GMT",
            ),
            (
                0x18,
                "20500301000000Z",
                2_529_705_600,
                "Mar  1 00:00:00 2050 GMT",
            ),
            (
                0x18,
                "20240229120000Z",
                1_709_208_000,
                "Feb 29 12:00:00 2024 GMT",
            ),
        ] {
            let told = time((tag, text.as_bytes()));
            assert_eq!(told, Some((seconds, words.to_owned())), "{text}");
        }
        for text in [
            "",
            "Z",
            "7001010000Z",
            "700101000000",
            "701301000000Z",
            "70x101000000Z",
        ] {
            assert_eq!(time((UTC_TIME, text.as_bytes())), None, "{text}");
        }
    }

    #[test]
    fn a_name_is_escaped_so_that_its_parts_stay_apart() {
        assert_eq!(escape(" a,b+c\\d\n "), "\\ a\\,b\\+c\\\\d\\0A\\ ");
        assert_eq!(escape("#x"), "\\#x");
        assert_eq!(dotted(&[0x55, 0x04, 0x2a]), "2.5.4.42");
        assert_eq!(dotted(&[0x2a, 0x86, 0x48]), "1.2.840");
    }
}
