//! [`OwnSetting`]: a setting of the program's own, beside those of the table.
#![cfg_attr(
    not(feature = "cli"),
    expect(dead_code, reason = "flags are read from it")
)]

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::Arc;

use super::object::Object;

/// A text that is not a value, and the reason.
pub(super) type Rejected = (OsString, String);

/// A value, and the text that gives it.
type Parsed = Option<(Object, String)>;

/// Reads a value of a TOML file.
#[cfg(feature = "toml")]
pub(super) type ReadTable =
    fn(toml::Spanned<toml::de::DeValue<'_>>) -> Result<Object, toml::de::Error>;

type Parse = dyn Fn(&[OsString]) -> Result<Parsed, Rejected> + Send + Sync;

/// A setting of the program's own: a flag of its command line, and a key of its configuration file.
///
/// Its values are read by [`FromStr`]. The program finds them in the settings by name, also in those that a reload reads:
/// [`Settings::object`](super::Settings::object).
///
/// ```
/// use std::path::PathBuf;
///
/// use oxicorn::config::{OwnSetting, Origin, Settings, SettingsSource};
///
/// let catalog = OwnSetting::value::<PathBuf>("catalog").short('C').help("File of the goods");
/// let source = SettingsSource::new().own(&catalog, ["goods.csv"], Origin::Program);
///
/// let settings = Settings::load([&source])?;
/// let path: &PathBuf = settings.object("catalog").unwrap();
/// assert_eq!(path.to_str(), Some("goods.csv"));
/// # Ok::<(), oxicorn::config::SettingError>(())
/// ```
#[derive(Clone)]
#[must_use = "a setting does nothing until it is given to a command or a source"]
pub struct OwnSetting {
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) metavar: &'static str,
    pub(crate) help: &'static str,
    pub(crate) required: bool,
    pub(crate) form: Form,
    #[cfg(feature = "toml")]
    pub(super) table: Option<ReadTable>,
    parse: Arc<Parse>,
}

/// How values are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Value,
    List,
    Switch,
    /// Only a file can give it.
    #[cfg(feature = "toml")]
    Table,
}

impl OwnSetting {
    /// A setting with one value of type `T`, whose flag is `--name VALUE`, with hyphens for the underscores of the name. It
    /// is missing in the settings where no source gives it.
    pub fn value<T>(name: &'static str) -> Self
    where
        T: FromStr<Err: Display> + Send + Sync + 'static,
    {
        Self::new(name, |values| {
            let last = parse_all::<T>(values)?.pop();
            Ok(last.map(|(value, text)| (Arc::new(value) as Object, text)))
        })
    }

    /// A setting with any number of values: a `Vec<T>`, which is empty where no source gives one. The flag can be
    /// repeated.
    pub fn list<T>(name: &'static str) -> Self
    where
        T: FromStr<Err: Display> + Send + Sync + 'static,
    {
        Self {
            form: Form::List,
            ..Self::new(name, |values| {
                let (values, texts): (Vec<_>, Vec<_>) = parse_all::<T>(values)?.into_iter().unzip();
                Ok(Some((Arc::new(values), texts.join(","))))
            })
        }
    }

    /// A setting that is `true` or `false`: a `bool`, which is `false` where no source gives it. The flag alone means
    /// `true`, and takes a value only after an equals sign.
    pub fn switch(name: &'static str) -> Self {
        Self {
            form: Form::Switch,
            metavar: "BOOL",
            ..Self::new(name, |values| {
                let last = parse_all::<bool>(values)?.pop();
                let on = last.is_some_and(|(on, _)| on);
                Ok(Some((Arc::new(on), on.to_string())))
            })
        }
    }

    fn new(
        name: &'static str,
        parse: impl Fn(&[OsString]) -> Result<Parsed, Rejected> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            short: None,
            metavar: "VALUE",
            help: "",
            required: false,
            form: Form::Value,
            #[cfg(feature = "toml")]
            table: None,
            parse: Arc::new(parse),
        }
    }

    /// Adds a flag of one letter: `-c` for `'c'`.
    pub fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// Sets the placeholder of the value in the help. Default: `VALUE`.
    pub fn value_name(mut self, name: &'static str) -> Self {
        self.metavar = name;
        self
    }

    /// Sets the text of the help.
    pub fn help(mut self, text: &'static str) -> Self {
        self.help = text;
        self
    }

    /// A [command](crate::cli::Command) is refused without a value for this setting.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The name in the settings, and the key in a configuration file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The flags as a help lists them: `-C/--catalog`.
    pub(crate) fn flags(&self) -> String {
        let long = self.long();
        match self.short {
            Some(short) => format!("-{short}/--{long}"),
            None => format!("--{long}"),
        }
    }

    /// The long flag, without its hyphens at the front.
    pub(crate) fn long(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Whether a command line can give the value.
    pub(crate) fn has_flag(&self) -> bool {
        matches!(self.form, Form::Value | Form::List | Form::Switch)
    }

    pub(super) fn parse(&self, values: &[OsString]) -> Result<Parsed, Rejected> {
        (self.parse)(values)
    }
}

impl fmt::Debug for OwnSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnSetting({})", self.name)
    }
}

fn parse_all<T>(values: &[OsString]) -> Result<Vec<(T, String)>, Rejected>
where
    T: FromStr<Err: Display>,
{
    let parse = |value: &OsStr| match value.to_str() {
        Some(text) => match text.parse() {
            Ok(parsed) => Ok((parsed, text.to_owned())),
            Err(reason) => Err(T::Err::to_string(&reason)),
        },
        None => Err("it is not UTF-8".to_owned()),
    };
    let values = values.iter();
    values
        .map(|value| parse(value).map_err(|reason| (value.clone(), reason)))
        .collect()
}
