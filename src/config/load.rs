//! [`Layer`]: the values that one source gives, and how layers make [`Settings`].
//!
//! Loading is the same for every source: text goes through the table's grammar, and an error knows where
//! it came from. No source is read unless its layer is asked for.

use std::env;
use std::ffi::OsString;

use super::grammar::Problem;
use super::meta::SETTINGS;
use super::setting::Setting;
use super::{SettingError, Settings};

/// The values that one source gives to some of the settings, not yet parsed.
#[derive(Clone, Debug)]
pub struct Layer {
    source: Source,
    values: Vec<(&'static Setting, Vec<OsString>)>,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Environment,
    CommandLine,
}

impl Layer {
    /// The defaults that this process's environment gives: `PORT` to `bind`, `WEB_CONCURRENCY` to
    /// `workers`.
    #[must_use]
    pub fn environment() -> Self {
        Self::environment_of(|name| env::var_os(name))
    }

    /// The defaults that an environment gives, which `lookup` knows. An empty variable counts as unset.
    pub fn environment_of(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let values = SETTINGS.iter().filter_map(|setting| {
            let variable = setting.variable?;
            let value = lookup(variable.name).filter(|value| !value.is_empty())?;
            let mut text = OsString::from(variable.prefix);
            text.push(value);
            Some((setting, vec![text]))
        });
        Self {
            source: Source::Environment,
            values: values.collect(),
        }
    }

    /// The values that flags give: each setting with all values of its flags, in their order.
    pub fn command_line(
        values: impl IntoIterator<Item = (&'static Setting, Vec<OsString>)>,
    ) -> Self {
        Self {
            source: Source::CommandLine,
            values: values.into_iter().collect(),
        }
    }

    fn apply(&self, settings: &mut Settings) -> Result<(), SettingError> {
        for (setting, values) in &self.values {
            setting
                .set(settings, values)
                .map_err(|(value, problem)| self.error(setting, &value, problem))?;
        }
        Ok(())
    }

    fn error(&self, setting: &Setting, value: &OsString, problem: Problem) -> SettingError {
        let origin = match (self.source, setting.variable) {
            (Source::Environment, Some(variable)) => variable.name.to_owned(),
            _ if setting.flags.is_empty() => setting.metavar.to_owned(),
            _ => setting.flags.join("/"),
        };
        let setting = setting.name;
        let text = value.to_string_lossy().into_owned();
        match problem {
            Problem::Negative => SettingError::Negative {
                setting,
                origin,
                text,
            },
            Problem::Expected(expected) => SettingError::Invalid {
                setting,
                origin,
                text,
                expected,
            },
        }
    }
}

impl Settings {
    /// The built-in defaults with layers over them, the lowest first. What a layer gives replaces what is
    /// below it; a list is replaced whole.
    ///
    /// # Errors
    ///
    /// The first value that its setting cannot have, also where a higher layer would replace it.
    pub fn load<'l>(layers: impl IntoIterator<Item = &'l Layer>) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        for layer in layers {
            layer.apply(&mut settings)?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &'static [(&str, &str)]) -> Layer {
        Layer::environment_of(move |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    }

    fn flags(values: &[(&str, &[&str])]) -> Layer {
        Layer::command_line(values.iter().map(|(name, values)| {
            let setting = SETTINGS.iter().find(|row| row.name == *name).unwrap();
            (setting, values.iter().map(OsString::from).collect())
        }))
    }

    #[test]
    fn without_layers_the_defaults_stand() {
        assert_eq!(Settings::load([]).unwrap(), Settings::default());
        let layers = [environment(&[("PORT", ""), ("HOME", "/")]), flags(&[])];
        assert_eq!(Settings::load(&layers).unwrap(), Settings::default());
    }

    #[test]
    fn the_environment_gives_defaults() {
        let layer = environment(&[("PORT", "5000"), ("WEB_CONCURRENCY", "3")]);
        let settings = Settings::load([&layer]).unwrap();
        assert_eq!(settings.bind, ["0.0.0.0:5000"]);
        assert_eq!(settings.workers, 3);
    }

    #[test]
    fn the_command_line_replaces_the_environment_lists_included() {
        let settings = Settings::load(&[
            environment(&[("PORT", "5000"), ("WEB_CONCURRENCY", "3")]),
            flags(&[("bind", &["a:1", "b:2"]), ("workers", &["4", "5"])]),
        ])
        .unwrap();
        assert_eq!(settings.bind, ["a:1", "b:2"]);
        assert_eq!(settings.workers, 5);
    }

    #[test]
    fn an_error_names_the_setting_its_flags_and_the_text() {
        let error = Settings::load([&flags(&[("workers", &["many"])])]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid value 'many' for workers (-w/--workers): expected a whole number"
        );
        let error = Settings::load([&flags(&[("errorlog", &[""])])]).unwrap_err();
        assert!(error.to_string().contains("--error-logfile/--log-file"));
        assert!(crate::Error::from(error).is_config());
    }

    #[test]
    fn an_error_of_the_environment_names_the_variable() {
        let error = Settings::load([&environment(&[("WEB_CONCURRENCY", "-2")])]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid value '-2' for workers (WEB_CONCURRENCY): Value must be positive"
        );
    }
}
