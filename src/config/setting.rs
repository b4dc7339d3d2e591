//! [`Setting`]: what is known of one setting, and how it is set and shown.
//!
//! Nothing here knows a setting by name: they are the rows of [`SETTINGS`](super::SETTINGS).

use std::ffi::{OsStr, OsString};
use std::fmt;

use super::Settings;
use super::grammar::Problem;

/// A value that does not follow its grammar, and why.
pub(super) type Wrong = (OsString, Problem);

/// A setting: what it is called, how it is written and what it means.
pub struct Setting {
    /// Its name: that of the field of [`Settings`].
    pub name: &'static str,
    /// Under which heading it is listed.
    pub section: &'static str,
    /// Its flags: short ones have one dash, the first long one is its usual name, the others are aliases.
    /// A setting without flags is the command line's positional argument.
    pub flags: &'static [&'static str],
    /// The environment variable that its default comes from where it is set.
    pub variable: Option<Variable>,
    /// What stands for a value in a usage line.
    pub metavar: &'static str,
    /// The value that its flag stands for without one. A [switch](Self::is_switch) takes another one only
    /// behind an equals sign.
    pub bare: Option<&'static str>,
    /// Whether it is a list: its flag may be repeated, and each adds a value.
    pub repeats: bool,
    /// What it means, in a sentence or two.
    pub help: &'static str,
    pub(super) set: fn(&mut Settings, &[OsString]) -> Result<(), Wrong>,
    pub(super) show: fn(&Settings) -> String,
}

/// An environment variable that gives a setting's default.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What is put before its value.
    pub prefix: &'static str,
}

impl Setting {
    /// The built-in default, as it would be written, if there is one.
    #[must_use]
    pub fn default(&self) -> Option<String> {
        self.show(&Settings::default())
    }

    /// The value in `settings`, as it would be written, if there is one; commas between those of a list.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> Option<String> {
        Some((self.show)(settings)).filter(|text| !text.is_empty())
    }

    /// Whether its flag is on without a value, and takes one only behind an equals sign.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        self.bare == Some("true")
    }

    /// Sets it: a list to all of the values, another setting to the last of them. Where one is wrong, says
    /// which and why.
    pub(super) fn set(&self, settings: &mut Settings, values: &[OsString]) -> Result<(), Wrong> {
        (self.set)(settings, values)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setting({})", self.name)
    }
}

pub(super) fn parse<T>(
    parse: fn(&OsStr) -> Result<T, Problem>,
    value: &OsString,
) -> Result<T, Wrong> {
    parse(value).map_err(|problem| (value.clone(), problem))
}

/// The part of a row that follows from the field and its grammar.
macro_rules! field {
    ($name:ident = Vec<$grammar:ident>) => {
        Setting {
            repeats: true,
            set: |settings, values| {
                let parsed: Result<_, _> = values
                    .iter()
                    .map(|value| parse($grammar.parse, value))
                    .collect();
                settings.$name = parsed?;
                Ok(())
            },
            show: |settings| {
                let shown: Vec<_> = settings.$name.iter().map($grammar.show).collect();
                shown.join(",")
            },
            ..row(stringify!($name), $grammar.metavar)
        }
    };
    ($name:ident = Option<$grammar:ident>) => {
        Setting {
            set: |settings, values| {
                for value in values {
                    settings.$name = Some(parse($grammar.parse, value)?);
                }
                Ok(())
            },
            show: |settings| settings.$name.as_ref().map_or(String::new(), $grammar.show),
            ..row(stringify!($name), $grammar.metavar)
        }
    };
    ($name:ident = $grammar:ident) => {
        Setting {
            set: |settings, values| {
                for value in values {
                    settings.$name = parse($grammar.parse, value)?;
                }
                Ok(())
            },
            show: |settings| ($grammar.show)(&settings.$name),
            ..row(stringify!($name), $grammar.metavar)
        }
    };
}

pub(super) const fn row(name: &'static str, metavar: &'static str) -> Setting {
    Setting {
        name,
        section: "",
        flags: &[],
        variable: None,
        metavar,
        bare: None,
        repeats: false,
        help: "",
        set: |_, _| Ok(()),
        show: |_| String::new(),
    }
}
pub(super) use field;
