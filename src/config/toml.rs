//! [`SettingsSource::toml`]: settings from TOML, each with its line.

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::SettingError;
use super::file_value::FileValue;
use super::object::Object;
use super::origin::Origin;
use super::own::{Form, OwnSetting, ReadTable};
use super::setting::Setting;
use super::source::SettingsSource;
use super::unserved::Unserved;
use crate::error::{Error, Result};

impl OwnSetting {
    /// A table of TOML files, or another value of theirs, that `T` reads from its form in the file (serde). No command
    /// line has it, and it is missing in the settings where no file has it.
    ///
    /// ```
    /// use oxicorn::config::{OwnSetting, Settings, SettingsSource};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Tax {
    ///     rate: f64,
    /// }
    ///
    /// let own = [OwnSetting::table::<Tax>("tax")];
    /// let text = "workers = 4\n\n[tax]\nrate = 0.19\n";
    /// let settings = Settings::load([&SettingsSource::toml(text, "shop.toml", &own)?])?;
    /// assert_eq!(settings.object::<Tax>("tax").unwrap().rate, 0.19);
    ///
    /// let error = SettingsSource::toml("[tax]\nrate = 'low'\n", "shop.toml", &own).unwrap_err();
    /// assert_eq!(error.to_string(), "tax (shop.toml:2): invalid type: string \"low\", expected f64");
    /// # Ok::<(), oxicorn::Error>(())
    /// ```
    pub fn table<T: DeserializeOwned + Any + Send + Sync>(name: &'static str) -> Self {
        let read: ReadTable = |value| {
            let read = T::deserialize(toml::de::ValueDeserializer::from(value));
            read.map(|value| Arc::new(value) as Object)
        };
        let mut setting = Self::value::<String>(name);
        setting.form = Form::Table;
        setting.table = Some(read);
        setting
    }
}

impl SettingsSource {
    /// The settings of a TOML file, each with its file and line as its origin: see [`toml`](Self::toml).
    ///
    /// # Errors
    ///
    /// [`Error::is_config`]: a file that cannot be read, and those of [`toml`](Self::toml).
    pub fn toml_file(path: impl AsRef<Path>, own: &[OwnSetting]) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|error| {
            let path = path.display();
            Error::config(format!("cannot read the settings in {path}: {error}")).because(error)
        })?;
        Self::toml(&text, path, own)
    }

    /// The settings of a text in TOML, which came from the file `path`. A key is the name of a setting, of the table or of
    /// the program's own. Numbers, truth values, texts, lists, and tables for pairs are taken:
    ///
    /// ```toml
    /// bind = ["127.0.0.1:8000", "unix:/run/shop.sock"]
    /// workers = 4
    /// preload_app = true
    /// raw_env = { SHOP_MODE = "live" }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::is_config`], with file and line: a text that is no TOML, a key that is no setting, a table of the program's
    /// own that cannot be read. A value that its setting cannot have is an error of [`Settings::load`](super::Settings).
    pub fn toml(text: &str, path: impl Into<PathBuf>, own: &[OwnSetting]) -> Result<Self> {
        let path: PathBuf = path.into();
        let origin = |at: usize| Origin::File {
            path: path.clone(),
            line: Some(line(text, at)),
        };
        let failed = |name: &str, at: usize, error: &toml::de::Error| {
            let origin = origin(error.span().map_or(at, |span| span.start));
            let message = error.message().lines().next().unwrap_or_default();
            if name.is_empty() {
                Error::config(format!("{origin}: {message}"))
            } else {
                Error::config(format!("{name} ({origin}): {message}"))
            }
        };
        let document = DeTable::parse(text).map_err(|error| failed("", 0, &error))?;
        let mut source = Self::new();
        for (key, value) in document.into_inner() {
            let at = key.span().start;
            let name = key.into_inner();
            if let Some(own) = own.iter().find(|own| own.name == name) {
                if let Some(read) = own.table {
                    let object = read(value).map_err(|error| failed(&name, at, &error))?;
                    source = source.object(name, object, origin(at));
                } else {
                    source = source.own_file_value(own, &file_value(value), origin(at));
                }
            } else if Setting::named(&name).is_some() || Unserved::named(&name).is_some() {
                source = source.file_value(&name, &file_value(value), origin(at));
            } else {
                return Err(SettingError::unknown(&name, origin(at)).into());
            }
        }
        Ok(source)
    }
}

/// The line of a position, counted from 1.
fn line(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().iter().take(at);
    let breaks = before.filter(|byte| **byte == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX).saturating_add(1)
}

fn file_value(value: Spanned<DeValue<'_>>) -> FileValue {
    match value.into_inner() {
        DeValue::String(text) => FileValue::Text(text.into_owned().into()),
        DeValue::Integer(number) => {
            let value = i64::from_str_radix(number.as_str(), number.radix());
            FileValue::Number(value.map_or(number.as_str().to_owned(), |value| value.to_string()))
        }
        DeValue::Float(number) => {
            let value = number.as_str().parse::<f64>();
            FileValue::Number(value.map_or(number.as_str().to_owned(), |value| value.to_string()))
        }
        DeValue::Boolean(value) => FileValue::Bool(value),
        DeValue::Datetime(time) => FileValue::Other(time.to_string()),
        DeValue::Array(items) => FileValue::List(items.into_iter().map(file_value).collect()),
        DeValue::Table(items) => {
            let items = items.into_iter();
            let items =
                items.map(|(name, item)| (name.into_inner().into_owned(), file_value(item)));
            FileValue::Table(items.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn own() -> [OwnSetting; 4] {
        [
            OwnSetting::value::<PathBuf>("catalog"),
            OwnSetting::list::<u8>("shelf"),
            OwnSetting::switch("closed"),
            OwnSetting::table::<Vec<(String, f64)>>("prices"),
        ]
    }

    fn load(text: &str) -> Result<Settings> {
        let source = SettingsSource::toml(text, "shop.toml", &own())?;
        Ok(Settings::load([&source])?)
    }

    #[test]
    fn values_of_every_kind_are_taken_with_their_lines() {
        let settings = load(concat!(
            "# The shop.\n",
            "bind = ['a:1', 'b:2']\n",
            "workers = 0x10\n",
            "timeout = 0.5\n",
            "preload_app = true\n",
            "raw_env = { A = '1', B = 'x=y' }\n",
            "pythonpath = ['/a', '/b']\n",
            "secure_scheme_headers = { X-TLS = 'on' }\n",
            "umask = 0o22\n",
            "catalog = 'goods.csv'\n",
            "shelf = [\n  1,\n  2,\n]\n",
            "closed = true\n",
            "prices = [['tea', 2.5]]\n",
        ))
        .unwrap();
        assert_eq!(settings.bind, ["a:1", "b:2"]);
        assert_eq!(settings.workers, 16);
        assert_eq!(settings.timeout.as_millis(), 500);
        assert!(settings.preload_app);
        assert_eq!(settings.raw_env.len(), 2);
        assert_eq!(settings.pythonpath, [Path::new("/a"), Path::new("/b")]);
        assert_eq!(
            settings.secure_scheme_headers,
            [("X-TLS".to_owned(), "on".to_owned())]
        );
        assert_eq!(settings.umask, Some(0o22));
        let catalog: &PathBuf = settings.object("catalog").unwrap();
        assert_eq!(catalog, Path::new("goods.csv"));
        assert_eq!(settings.object::<Vec<u8>>("shelf"), Some(&vec![1, 2]));
        assert_eq!(settings.object::<bool>("closed"), Some(&true));
        let prices: &Vec<(String, f64)> = settings.object("prices").unwrap();
        assert_eq!(prices[0].0, "tea");
        let listing = settings.listing();
        for wanted in [
            "workers = 16  (shop.toml:3)\n",
            "shelf = 1,2  (shop.toml:11)\n",
            "closed = true  (shop.toml:15)\n",
        ] {
            assert!(listing.contains(wanted), "{listing}");
        }
    }

    #[test]
    fn an_error_of_a_toml_file_names_file_line_and_setting() {
        for (text, told) in [
            (
                "workers = 4\nwrokers = 4\n",
                "there is no setting 'wrokers' (shop.toml:2): did you mean workers?",
            ),
            (
                "[shop]\nx = 1\n",
                "there is no setting 'shop' (shop.toml:1)",
            ),
            (
                "workers = 'many'\n",
                "invalid value 'many' for workers (shop.toml:1): expected a whole number",
            ),
            (
                "\nworkers = -1\n",
                "invalid value '-1' for workers (shop.toml:2): Value must be positive",
            ),
            (
                "workers = [1]\n",
                "invalid value '[1]' for workers (shop.toml:1): expected one value, not a list",
            ),
            (
                "workers = 1979-05-27\n",
                "invalid value '1979-05-27' for workers (shop.toml:1): expected a text, a number or a truth value",
            ),
            (
                "worker_class = 'gevent'\n",
                "worker_class = gevent (shop.toml:1) is refused: ",
            ),
            (
                "shelf = [1, 300]\n",
                "invalid value '300' for shelf (shop.toml:1): number too large to fit in target type",
            ),
            (
                "catalog = ['a']\n",
                "invalid value '[a]' for catalog (shop.toml:1): one value is expected, not a list",
            ),
            (
                "catalog = { a = 1 }\n",
                "invalid value '{a: 1}' for catalog (shop.toml:1): one value is expected, not a table",
            ),
            (
                "\nprices = [\n  ['tea', 'cheap'],\n]\n",
                "prices (shop.toml:3): invalid type: string \"cheap\", expected f64",
            ),
            ("workers = 4\nworkers = 5\n", "shop.toml:2: duplicate key"),
            ("a = 1\n b", "shop.toml:2: "),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.to_string().starts_with(told), "{error}");
            assert!(error.is_config());
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = SettingsSource::toml_file("/nowhere/shop.toml", &[]).unwrap_err();
        let told = error.to_string();
        assert!(
            told.starts_with("cannot read the settings in /nowhere/shop.toml: "),
            "{told}"
        );
    }
}
