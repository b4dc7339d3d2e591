//! [`SettingError`]: a value that a setting cannot have, with its origin.
//!
//! It is about values alone. A file that cannot be opened is reported by the code that opens it.

use std::fmt;

use super::origin::Origin;
use super::setting::Setting;
use crate::error::Error;
use crate::secret::refused;

/// A value that a setting cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// The value is refused by the setting's parser.
    #[error("invalid value '{}' for {setting} ({origin}): expected {expected}", refused(.setting, .text))]
    Invalid {
        /// The setting's name.
        setting: &'static str,
        /// Where the value comes from.
        origin: Origin,
        /// The value.
        text: String,
        /// A description of the values that are accepted.
        expected: &'static str,
    },
    /// A number below zero.
    #[error("invalid value '{text}' for {setting} ({origin}): Value must be positive")]
    Negative {
        /// The setting's name.
        setting: &'static str,
        /// Where the value comes from.
        origin: Origin,
        /// The value.
        text: String,
    },
    /// A value of Gunicorn's that this server does not serve.
    #[error("{setting} = {} ({origin}) is refused: {why}.{}", refused(.setting, .text), Instead { origin, lines: instead })]
    Refused {
        /// The setting's name.
        setting: &'static str,
        /// Where the value comes from.
        origin: Origin,
        /// The value.
        text: String,
        /// The reason, as a clause.
        why: &'static str,
        /// The settings to write instead, with their values.
        instead: &'static [(&'static str, &'static str)],
    },
    /// The value of a setting of the [program's own](super::OwnSetting) is refused by its parser.
    #[error("invalid value '{}' for {setting} ({origin}): {reason}", refused(.setting, .text))]
    Own {
        /// The setting's name.
        setting: &'static str,
        /// Where the value comes from.
        origin: Origin,
        /// The value.
        text: String,
        /// The reason, in the words of the parser.
        reason: String,
    },
    /// A value for a setting that there is not.
    #[error("there is no setting '{name}' ({origin}){}", did_you_mean(*.nearest))]
    Unknown {
        /// The name.
        name: String,
        /// Where the value comes from.
        origin: Origin,
        /// A setting that the name resembles, if there is one.
        nearest: Option<&'static str>,
    },
}

fn did_you_mean(name: Option<&str>) -> String {
    name.map_or(String::new(), |name| format!(": did you mean {name}?"))
}

/// The lines to write instead, in the language of the place where the value was found.
struct Instead<'a> {
    origin: &'a Origin,
    lines: &'a [(&'static str, &'static str)],
}

impl fmt::Display for Instead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = " Write instead: ";
        for (name, value) in self.lines {
            let flag = Setting::named(name).and_then(Setting::long_flag);
            f.write_str(separator)?;
            match (self.origin, flag) {
                (Origin::Flag(_), Some(flag)) => write!(f, "{flag} {value}")?,
                // It can be left out.
                (Origin::Flag(_), None) => return f.write_str("nothing, the flag can go"),
                _ if is_literal(value) => write!(f, "{name} = {value}")?,
                _ => write!(f, "{name} = \"{value}\"")?,
            }
            separator = match self.origin {
                Origin::Flag(_) => " ",
                _ => ", ",
            };
        }
        Ok(())
    }
}

/// Whether a value stands without quotes in a configuration file.
fn is_literal(value: &str) -> bool {
    matches!(value, "None" | "True" | "False" | "[]")
        || value.bytes().all(|byte| byte.is_ascii_digit())
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Self {
        Error::config(error.to_string()).because(error)
    }
}
