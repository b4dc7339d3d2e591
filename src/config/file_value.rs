//! [`FileValue`]: a value as the languages of configuration files have it, and the text that it is for a setting.
//!
//! Python and TOML know more kinds of value than a command line: numbers, truth values, lists and tables. Here each
//! becomes what a flag would say, so that one parser reads all of them.

use std::ffi::{OsStr, OsString};
use std::fmt;

use super::setting::Setting;

/// A value as a configuration file has it. Exhaustive: Python's other types are refused, or are text.
///
/// Python's `None` is [`Absent`](Self::Absent), an `int` or `float` a [`Number`](Self::Number), `str`, `bytes` and paths
/// are [`Text`](Self::Text), a list, tuple or set is a [`List`](Self::List), a `dict` a [`Table`](Self::Table). A class
/// is the text of its dotted name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileValue {
    /// No value: the setting keeps what the sources below give it.
    Absent,
    /// A truth value.
    Bool(bool),
    /// A number, as decimal text.
    Number(String),
    /// Text, of any bytes.
    Text(OsString),
    /// Values in their order.
    List(Vec<FileValue>),
    /// Values by name.
    Table(Vec<(String, FileValue)>),
    /// A value of another kind, which no setting accepts, as text for the error.
    Other(String),
}

impl FileValue {
    /// The texts that give this value to a setting, or `None` where there is no value.
    ///
    /// # Errors
    ///
    /// What was expected instead.
    pub(super) fn texts(&self, setting: &Setting) -> Result<Option<Vec<OsString>>, &'static str> {
        let lists = setting.repeats || setting.metavar.contains("[,");
        let texts = match self {
            Self::Bool(value) if setting.is_number() => {
                vec![if *value { "1" } else { "0" }.into()]
            }
            Self::Bool(value) if setting.is_truth_value() => vec![value.to_string().into()],
            // Files write `False` where they mean `None`.
            Self::Absent | Self::Bool(false) => return Ok(None),
            Self::Bool(true) => return Err("text, in quotes"),
            Self::Number(_) if setting.is_text() => return Err("text, in quotes"),
            Self::Number(_) | Self::Text(_) => vec![self.scalar().unwrap_or_default()],
            Self::List(items) if lists => {
                let texts: Option<Vec<_>> = items.iter().map(Self::scalar).collect();
                joined(setting, texts.ok_or("a list of texts")?)
            }
            Self::Table(items) if lists && setting.metavar.starts_with("NAME=VALUE") => {
                let texts: Option<Vec<_>> = items.iter().map(pair).collect();
                joined(setting, texts.ok_or("a table of texts")?)
            }
            Self::List(_) => return Err("one value, not a list"),
            Self::Table(_) => return Err("one value, not a table"),
            Self::Other(_) => return Err("a text, a number or a truth value"),
        };
        Ok(Some(texts))
    }

    /// The texts that give this value to a setting of the program's own.
    ///
    /// # Errors
    ///
    /// What was expected instead.
    #[cfg(feature = "toml")]
    pub(super) fn own_texts(&self, list: bool) -> Result<Vec<OsString>, &'static str> {
        match self {
            Self::List(items) if list => {
                let texts = items.iter().map(Self::scalar).collect::<Option<_>>();
                texts.ok_or("a list of texts is expected")
            }
            Self::List(_) => Err("one value is expected, not a list"),
            Self::Table(_) => Err("one value is expected, not a table"),
            _ => Ok(vec![
                self.scalar()
                    .ok_or("a text, a number or a truth value is expected")?,
            ]),
        }
    }

    /// Whether nothing is asked for: no value, false, an empty text, an empty list.
    pub(super) fn is_neutral(&self) -> bool {
        match self {
            Self::Absent | Self::Bool(false) => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Table(items) => items.is_empty(),
            Self::Bool(true) | Self::Number(_) | Self::Other(_) => false,
        }
    }

    fn scalar(&self) -> Option<OsString> {
        match self {
            Self::Bool(value) => Some(value.to_string().into()),
            Self::Number(text) => Some(text.into()),
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

fn pair((name, value): &(String, FileValue)) -> Option<OsString> {
    let mut text = OsString::from(format!("{name}="));
    text.push(value.scalar()?);
    Some(text)
}

/// The values of a list, as many texts or as one with commas.
fn joined(setting: &Setting, texts: Vec<OsString>) -> Vec<OsString> {
    if setting.repeats {
        texts
    } else {
        vec![texts.join(OsStr::new(","))]
    }
}

/// The value for a message, much as Python writes it.
impl fmt::Display for FileValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        match self {
            Self::Absent => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Number(text) | Self::Other(text) => f.write_str(text),
            Self::Text(text) => f.write_str(&text.to_string_lossy()),
            Self::List(items) => {
                f.write_str("[")?;
                for item in items {
                    write!(f, "{separator}{item}")?;
                    separator = ", ";
                }
                f.write_str("]")
            }
            Self::Table(items) => {
                f.write_str("{")?;
                for (name, value) in items {
                    write!(f, "{separator}{name}: {value}")?;
                    separator = ", ";
                }
                f.write_str("}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> FileValue {
        FileValue::Text(text.into())
    }

    fn number(text: &str) -> FileValue {
        FileValue::Number(text.to_owned())
    }

    /// What a value comes to for a setting: its texts, or what was expected.
    fn texts(name: &str, value: &FileValue) -> Result<Option<Vec<String>>, &'static str> {
        let texts = value.texts(Setting::named(name).unwrap())?;
        let plain = |text: OsString| text.into_string().unwrap();
        Ok(texts.map(|texts| texts.into_iter().map(plain).collect()))
    }

    #[test]
    fn every_kind_of_value_becomes_what_a_flag_would_say() {
        let list = |items: &[&str]| FileValue::List(items.iter().map(|item| text(item)).collect());
        let table = FileValue::Table(vec![("A".into(), text("1")), ("B".into(), number("2"))]);
        for (name, value, wanted) in [
            ("workers", number("4"), &["4"][..]),
            ("workers", text("4"), &["4"]),
            ("workers", FileValue::Bool(true), &["1"]),
            ("preload_app", FileValue::Bool(true), &["true"]),
            ("preload_app", text("True"), &["True"]),
            ("preload_app", number("1"), &["1"]),
            ("proxy_protocol", FileValue::Bool(false), &["false"]),
            ("user", number("1000"), &["1000"]),
            ("bind", text("a:1"), &["a:1"]),
            ("bind", list(&["a:1", "b:2"]), &["a:1", "b:2"]),
            ("bind", list(&[]), &[]),
            (
                "forwarded_allow_ips",
                list(&["::1", "10.0.0.0/8"]),
                &["::1,10.0.0.0/8"],
            ),
            ("secure_scheme_headers", table.clone(), &["A=1,B=2"]),
            ("raw_env", table.clone(), &["A=1", "B=2"]),
        ] {
            let wanted = wanted.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(texts(name, &value), Ok(Some(wanted)), "{name} = {value}");
        }
        for (name, value) in [
            ("workers", FileValue::Absent),
            ("accesslog", FileValue::Bool(false)),
        ] {
            assert_eq!(texts(name, &value), Ok(None), "{name} = {value}");
        }
        for (name, value) in [
            ("bind", number("8000")),
            ("accesslog", FileValue::Bool(true)),
            ("workers", list(&["4"])),
            ("timeout", table),
            ("bind", FileValue::List(vec![FileValue::Absent])),
            ("errorlog", FileValue::Other("<stdout>".into())),
        ] {
            assert!(texts(name, &value).is_err(), "{name} = {value}");
        }
    }

    #[test]
    fn a_value_is_shown_as_python_writes_it() {
        let table = FileValue::Table(vec![("A".into(), FileValue::Absent)]);
        let list = FileValue::List(vec![number("1"), text("b"), FileValue::Bool(true), table]);
        assert_eq!(list.to_string(), "[1, b, True, {A: None}]");
    }
}
