//! [`SettingError`]: a value that a setting cannot have, with its origin.
//!
//! It is about values alone. A file that cannot be opened is reported by the code that opens it.

use super::origin::Origin;
use crate::error::Error;

/// A value that a setting cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// The value is refused by the setting's parser.
    #[error("invalid value '{text}' for {setting} ({origin}): expected {expected}")]
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
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Self {
        Error::config(error.to_string()).because(error)
    }
}
