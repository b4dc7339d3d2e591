//! [`Settings`]: everything that Gunicorn's users set, typed, and one table that describes it.
//!
//! Data only. Nothing here opens a file, resolves an address or starts anything. The environment is read by
//! [`SettingsSource::environment`] alone.
//!
//! ```text
//!   Settings::default()             built-in defaults
//!        ▲ replaced by
//!   SettingsSource::environment     PORT, WEB_CONCURRENCY
//!        ▲ replaced by
//!   SettingsSource::toml_file       a file (feature `toml`), each value with its line
//!   SettingsSource::new             a program's own source: text and objects, with file and line
//!        ▲ replaced by
//!   SettingsSource::command_line    the flags of SETTINGS
//! ```
//!
//! *Invariants*
//!
//! - A setting is one row of the table: field, default, flags and text are made from it.
//! - A value is written in one way, wherever it comes from.
//! - A source replaces what is below it, lists included. Nothing is appended across sources.
//! - A value knows its [`Origin`].

mod error;
mod file_value;
mod near_miss;
mod object;
mod origin;
mod own;
#[cfg(test)]
mod reference;
mod setting;
mod settings;
mod source;
mod table;
#[cfg(feature = "toml")]
mod toml;
mod unserved;
mod values;

pub use error::SettingError;
pub use file_value::FileValue;
pub use near_miss::near_miss;
pub use origin::Origin;
#[cfg(feature = "cli")]
pub(crate) use own::Form;
pub use own::OwnSetting;
pub use setting::{EnvVar, SETTINGS, Setting};
pub use settings::Settings;
pub use source::SettingsSource;
pub(crate) use table::settings_table;
#[cfg(feature = "cli")]
pub(crate) use unserved::UNSERVED;
#[cfg(any(feature = "cli", feature = "wsgi"))]
pub(crate) use unserved::Unserved;
pub use values::{CertReqs, HeaderMap, ReloadEngine, RequestIdMode, TlsVersion, WorkerClass};
