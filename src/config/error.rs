//! [`SettingError`]: which setting cannot be used, where it was written and what was written there.
//!
//! It is about values alone: whether a file can be opened, the one who opens it says.

use crate::error::Error;

/// A value that a setting cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// The value does not follow the setting's grammar.
    #[error("invalid value '{text}' for {setting} ({origin}): expected {expected}")]
    Invalid {
        /// The setting's name.
        setting: &'static str,
        /// Where the value comes from: the setting's flags, or an environment variable.
        origin: String,
        /// The value.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A number below zero.
    #[error("invalid value '{text}' for {setting} ({origin}): Value must be positive")]
    Negative {
        /// The setting's name.
        setting: &'static str,
        /// Where the value comes from: the setting's flags, or an environment variable.
        origin: String,
        /// The value.
        text: String,
    },
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Self {
        Error::config(error.to_string()).because(error)
    }
}
