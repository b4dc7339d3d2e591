//! [`Setting`]: the description of one setting, by which it is set and shown; and [`SETTINGS`], all of them.

use std::ffi::{OsStr, OsString};
use std::fmt;

use super::settings::Settings;
use super::table::settings_table;
use super::values::{
    ADDRESS, AT_LEAST_ONE, BYTES, BYTES_64, CERT_REQS, CLASS, CLIENT_ADDRESS, COUNT, COUNT_32,
    COUNT_64, DEADLINE, FIELD_VALUE, FIELDS, FLAG, HEADER_MAP, LEVEL, LOG, MODE, NAMES, NETWORKS,
    PAIR, PATH, PATHS, PROXY, ParseProblem, RELOAD_ENGINE, REQUEST_IDS, SECONDS, TEXT, TLS_VERSION,
    UMASK,
};

/// A text that its parser refuses, and why.
pub(super) type Refused = (OsString, ParseProblem);

/// The description of a setting: its name, its flags and its meaning.
#[non_exhaustive]
pub struct Setting {
    /// Name of the setting, and of its field in [`Settings`].
    pub name: &'static str,
    /// Heading under which the setting is listed.
    pub section: &'static str,
    /// Flags of the setting. Short ones have one dash, the first long one is the usual name, the others are aliases.
    /// A setting without flags is the command line's positional argument.
    pub flags: &'static [&'static str],
    /// Environment variable that gives the default, where it is set.
    pub variable: Option<EnvVar>,
    /// Placeholder of a value in a usage line.
    pub metavar: &'static str,
    /// Value of the flag if it is given without one. A [switch](Self::is_switch) takes another value only after an
    /// equals sign.
    pub bare: Option<&'static str>,
    /// Whether the setting is a list whose flag can be repeated. Each use adds a value.
    pub repeats: bool,
    /// Whether `--help` lists the setting. `--help-all` lists every setting.
    pub common: bool,
    /// Meaning of the setting, in a few sentences.
    pub help: &'static str,
    set: fn(&mut Settings, &[OsString]) -> Result<(), Refused>,
    show: fn(&Settings) -> String,
}

/// An environment variable that gives a setting's default.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EnvVar {
    /// Name of the variable.
    pub name: &'static str,
    /// Text that is put before the variable's value.
    pub prefix: &'static str,
}

impl Setting {
    /// The setting of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// The built-in default as text, if there is one.
    #[must_use]
    pub fn default(&self) -> Option<String> {
        self.show(&Settings::default())
    }

    /// The value in `settings` as text, if there is one. The values of a list are separated by commas.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> Option<String> {
        Some((self.show)(settings)).filter(|text| !text.is_empty())
    }

    /// Whether the flag means `true`, or `false`, without a value, and takes a value only after an equals sign.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        matches!(self.bare, Some("true" | "false"))
    }

    /// Its flags as an error names them, or the placeholder of the positional argument.
    pub(crate) fn flags_text(&self) -> String {
        if self.flags.is_empty() {
            self.metavar.to_owned()
        } else {
            self.flags.join("/")
        }
    }

    /// The usual long flag.
    pub(super) fn long_flag(&self) -> Option<&'static str> {
        let flags = self.flags.iter().copied();
        flags.into_iter().find(|flag| flag.starts_with("--"))
    }

    /// Whether the value is a number.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self.metavar, "INT" | "BYTES" | "SECONDS" | "MASK" | "0..2")
    }

    /// Whether true and false are values of the setting.
    pub(super) fn is_truth_value(&self) -> bool {
        matches!(self.metavar, "BOOL" | "MODE")
    }

    /// Whether the value is text that a number cannot stand for.
    pub(super) fn is_text(&self) -> bool {
        let number = self.is_number() || self.is_truth_value();
        !number && !matches!(self.metavar, "USER" | "GROUP" | "VERSION")
    }

    /// Sets a list to all of the values, any other setting to the last of them. Without values a list is empty, and a
    /// setting that can be missing is missing.
    pub(super) fn set(&self, settings: &mut Settings, values: &[OsString]) -> Result<(), Refused> {
        (self.set)(settings, values)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setting({})", self.name)
    }
}

fn parse<T>(parse: fn(&OsStr) -> Result<T, ParseProblem>, value: &OsString) -> Result<T, Refused> {
    parse(value).map_err(|problem| (value.clone(), problem))
}

/// The part of a description that follows from the field and its parser.
macro_rules! field {
    ($name:ident = Vec<$parser:ident>) => {
        Setting {
            repeats: true,
            set: |settings, values| {
                let parsed: Result<_, _> = values
                    .iter()
                    .map(|value| parse($parser.parse, value))
                    .collect();
                settings.$name = parsed?;
                Ok(())
            },
            show: |settings| {
                let shown: Vec<_> = settings.$name.iter().map($parser.show).collect();
                shown.join(",")
            },
            ..row(stringify!($name), $parser.metavar)
        }
    };
    ($name:ident = Option<$parser:ident>) => {
        Setting {
            set: |settings, values| {
                let mut parsed = None;
                for value in values {
                    parsed = Some(parse($parser.parse, value)?);
                }
                settings.$name = parsed;
                Ok(())
            },
            show: |settings| settings.$name.as_ref().map_or(String::new(), $parser.show),
            ..row(stringify!($name), $parser.metavar)
        }
    };
    ($name:ident = $parser:ident) => {
        Setting {
            set: |settings, values| {
                for value in values {
                    settings.$name = parse($parser.parse, value)?;
                }
                Ok(())
            },
            show: |settings| ($parser.show)(&settings.$name),
            ..row(stringify!($name), $parser.metavar)
        }
    };
}

const fn row(name: &'static str, metavar: &'static str) -> Setting {
    Setting {
        name,
        section: "",
        flags: &[],
        variable: None,
        metavar,
        bare: None,
        repeats: false,
        common: false,
        help: "",
        set: |_, _| Ok(()),
        show: |_| String::new(),
    }
}

macro_rules! define {
    ($($section:literal [ $(
        $(#[doc = $text:literal])+
        $name:ident: $outer:ident $(<$inner:tt>)? = $default:expr
            => $parser:ident $(<$element:ident>)? { $($part:ident: $value:expr),* $(,)? }
    )* ])*) => {
        /// All settings, in the order in which they are listed.
        pub static SETTINGS: &[Setting] = &[$($(
            Setting {
                section: $section,
                help: concat!($($text),+).trim_ascii_start(),
                $($part: $value,)*
                ..field!($name = $parser $(<$element>)?)
            },
        )*)*];
    };
}

settings_table!(define);

#[cfg(test)]
mod tests;
