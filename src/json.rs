//! [`Json`]: a value of JSON (RFC 8259), read with a bound on its depth and written on one line, in ASCII.

use std::fmt::{self, Write as _};

/// How deep lists and objects may lie in each other: reading is recursive.
const DEEPEST: usize = 16;

/// A value of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number with a fraction or an exponent, or one that no [`Integer`](Self::Integer) holds.
    Float(f64),
    Text(String),
    List(Vec<Json>),
    /// The members in their order. Of members of one name the first counts.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object of these members.
    pub(crate) fn object<const N: usize>(members: [(&str, Json); N]) -> Self {
        let members = members.into_iter();
        Self::Object(members.map(|(name, it)| (name.to_owned(), it)).collect())
    }

    /// The value that a text consists of; `None` for a text that is no JSON, or too deep.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader(text);
        let value = reader.value(DEEPEST)?;
        reader.skip_blanks();
        reader.0.is_empty().then_some(value)
    }

    /// The member of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let member = members.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    #[cfg(feature = "cli")]
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The values of a list; none for another value.
    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}

impl From<i32> for Json {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl<T: Into<Json>> FromIterator<T> for Json {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(it) => write!(f, "{it}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) if number.is_finite() => write!(f, "{number:?}"),
            Self::Null | Self::Float(_) => f.write_str("null"),
            Self::Text(text) => write_text(f, text.chars()),
            Self::List(values) => {
                f.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{value}")?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    write_text(f, name.chars())?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Writes a string with its quotes.
pub(crate) fn write_text(
    out: &mut impl fmt::Write,
    characters: impl Iterator<Item = char>,
) -> fmt::Result {
    out.write_char('"')?;
    for c in characters {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            '\n' => out.write_str("\\n")?,
            ' '..='~' => out.write_char(c)?,
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
    }
    out.write_char('"')
}

/// What is left of a text.
struct Reader<'t>(&'t str);

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// Takes this text, if it comes next.
    fn take(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_blanks();
        match self.0.bytes().next()? {
            b'n' => self.take("null").map(|()| Json::Null),
            b't' => self.take("true").map(|()| Json::Bool(true)),
            b'f' => self.take("false").map(|()| Json::Bool(false)),
            b'"' => self.string().map(Json::Text),
            b'[' => {
                let mut values = Vec::new();
                self.items(']', |it| {
                    values.push(it.value(depth.checked_sub(1)?)?);
                    Some(())
                })?;
                Some(Json::List(values))
            }
            b'{' => {
                let mut members = Vec::new();
                self.items('}', |it| {
                    it.skip_blanks();
                    let name = it.string()?;
                    it.skip_blanks();
                    it.take(":")?;
                    members.push((name, it.value(depth.checked_sub(1)?)?));
                    Some(())
                })?;
                Some(Json::Object(members))
            }
            _ => self.number(),
        }
    }

    /// Reads a bracket, items with commas between them, and the bracket's counterpart.
    fn items(&mut self, end: char, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let end = end.encode_utf8(&mut [0; 4]).to_owned();
        self.0 = &self.0[1..];
        self.skip_blanks();
        if self.take(&end).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            self.skip_blanks();
            if self.take(&end).is_some() {
                return Some(());
            }
            self.take(",")?;
        }
    }

    fn number(&mut self) -> Option<Json> {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let text = self.0;
        let mut end = usize::from(text.starts_with('-'));
        let whole = digits(&text[end..]);
        if whole == 0 || whole > 1 && text[end..].starts_with('0') {
            return None;
        }
        end += whole;
        let integer = end;
        if text[end..].starts_with('.') {
            let fraction = digits(&text[end + 1..]);
            end += 1 + Some(fraction).filter(|it| *it > 0)?;
        }
        if text[end..].starts_with(['e', 'E']) {
            let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
            let exponent = digits(&text[end + 1 + sign..]);
            end += 1 + sign + Some(exponent).filter(|it| *it > 0)?;
        }
        self.0 = &text[end..];
        if let Ok(number) = text[..end].parse() {
            if end == integer {
                return Some(Json::Integer(number));
            }
        }
        text[..end].parse().ok().map(Json::Float)
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut text = String::new();
        loop {
            let plain = self
                .0
                .find(|c: char| matches!(c, '"' | '\\' | '\0'..'\x20'))?;
            text.push_str(&self.0[..plain]);
            self.0 = &self.0[plain..];
            if self.take("\"").is_some() {
                return Some(text);
            }
            self.take("\\")?;
            let escape = self.0.chars().next()?;
            self.0 = &self.0[escape.len_utf8()..];
            text.push(match escape {
                '"' | '\\' | '/' => escape,
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.escaped()?,
                _ => return None,
            });
        }
    }

    /// The character of one escaped unit of UTF-16, or of two. Half a pair is replaced.
    fn escaped(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) || !self.0.starts_with("\\u") {
            return Some(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.take("\\u")?;
        let units = [first, self.unit()?];
        let character = char::decode_utf16(units).next()?;
        Some(character.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.0.get(..4)?;
        self.0 = &self.0[4..];
        let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| are_digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_another_reader_reads_it() {
        for text in [
            "null",
            " [ ] ",
            "{}",
            "[1,-2,0,3.5,-0.0,1e3,2E-2,9223372036854775807]",
            r#"{"a":[true,false,{"b":""}],"c":"x\"\\\/\b\f\n\r\tA"}"#,
            "\"caf\u{e9} \u{1f600}\"",
            r#""\ud83d\ude00 \u00e9""#,
        ] {
            let value = Json::parse(text).expect(text);
            let written = value.to_string();
            assert!(written.is_ascii());
            let theirs: serde_json::Value = serde_json::from_str(text).unwrap();
            let ours: serde_json::Value = serde_json::from_str(&written).unwrap();
            assert_eq!(ours, theirs, "{text}");
            assert_eq!(Json::parse(&written), Some(value));
        }
    }

    #[test]
    fn what_is_no_json_is_no_value() {
        for text in [
            "",
            " ",
            "nul",
            "[1,]",
            "[1 2]",
            "[",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\n\"",
            "1 2",
            "\"\\u12é\"",
            "NaN",
        ] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(&deep(DEEPEST)).is_some());
        for text in [
            deep(DEEPEST + 2),
            "[".repeat(100_000),
            "{\"a\":".repeat(100_000),
        ] {
            assert_eq!(Json::parse(&text), None);
        }
    }

    #[test]
    fn half_a_pair_is_replaced() {
        let half = Json::parse(r#""\ud83d""#).unwrap();
        assert_eq!(half.text(), Some("\u{fffd}"));
        assert_eq!(Json::Float(f64::NAN).to_string(), "null");
    }
}
