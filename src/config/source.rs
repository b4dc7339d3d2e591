//! [`SettingsSource`]: the values that one source gives, and how sources make [`Settings`].
//!
//! Loading is the same for every source: text goes through the table's parsers, and an error names the value's origin.
//! No source is read unless it is asked for.

use std::any::Any;
use std::env;
use std::ffi::OsString;
use std::sync::Arc;

use super::error::SettingError;
use super::object::Object;
use super::origin::Origin;
use super::setting::{SETTINGS, Setting};
use super::settings::Settings;
use super::values::ParseProblem;

/// The values that one source gives to some of the settings, each with its origin.
///
/// ```
/// use std::sync::Arc;
///
/// use oxicorn::config::{Origin, Setting, Settings, SettingsSource};
///
/// let line = |line| Origin::File { path: "shop.conf".into(), line: Some(line) };
/// let workers = Setting::named("workers").unwrap();
/// let greet: fn() -> &'static str = || "hello";
/// let file = SettingsSource::new()
///     .text(workers, ["4"], line(1))
///     .object("greet", Arc::new(greet), line(2));
///
/// let settings = Settings::load([&SettingsSource::environment(), &file])?;
/// assert_eq!(settings.workers, 4);
/// assert_eq!(settings.origin(workers).to_string(), "shop.conf:1");
/// assert_eq!(settings.object::<fn() -> &'static str>("greet").unwrap()(), "hello");
/// # Ok::<(), oxicorn::config::SettingError>(())
/// ```
#[derive(Clone, Default)]
pub struct SettingsSource {
    texts: Vec<(&'static Setting, Vec<OsString>, Origin)>,
    objects: Vec<(String, Object, Origin)>,
}

impl SettingsSource {
    /// A source without values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The defaults that this process's environment gives: `PORT` to `bind`, `WEB_CONCURRENCY` to `workers`.
    #[must_use]
    pub fn environment() -> Self {
        Self::environment_of(|name| env::var_os(name))
    }

    /// The defaults that an environment gives, in which `lookup` finds variables. An empty variable counts as unset.
    pub fn environment_of(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut source = Self::new();
        for setting in SETTINGS {
            let Some(variable) = setting.variable else {
                continue;
            };
            if let Some(value) = lookup(variable.name).filter(|value| !value.is_empty()) {
                let mut text = OsString::from(variable.prefix);
                text.push(value);
                let origin = Origin::Environment(variable.name.to_owned());
                source = source.text(setting, [text], origin);
            }
        }
        source
    }

    /// The values that flags give: each setting with all values of its flags, in their order.
    pub fn command_line(
        values: impl IntoIterator<Item = (&'static Setting, Vec<OsString>)>,
    ) -> Self {
        let source = Self::new();
        values
            .into_iter()
            .fold(source, |source, (setting, values)| {
                let flag = if setting.flags.is_empty() {
                    setting.metavar.to_owned()
                } else {
                    setting.flags.join("/")
                };
                source.text(setting, values, Origin::Flag(flag))
            })
    }

    /// Adds the values of a setting as text. Of several the last one counts, and a list takes them all. Without values a
    /// list is empty, and a setting that can be missing is missing.
    #[must_use]
    pub fn text(
        mut self,
        setting: &'static Setting,
        values: impl IntoIterator<Item: Into<OsString>>,
        origin: Origin,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.texts.push((setting, values, origin));
        self
    }

    /// Adds a value that no text can say, such as a function of a configuration file. No setting is of this kind: the
    /// program finds it in the settings by its name ([`Settings::object`]).
    #[must_use]
    pub fn object(
        mut self,
        name: impl Into<String>,
        value: Arc<dyn Any + Send + Sync>,
        origin: Origin,
    ) -> Self {
        self.objects.push((name.into(), value, origin));
        self
    }

    fn apply(&self, settings: &mut Settings) -> Result<(), SettingError> {
        for (setting, values, origin) in &self.texts {
            setting
                .set(settings, values)
                .map_err(|(value, problem)| error(setting, &value, origin, problem))?;
            settings.came_from(setting, origin.clone());
        }
        for (name, object, origin) in &self.objects {
            let objects = &mut settings.objects;
            objects.insert(name.clone(), Arc::clone(object), origin.clone());
        }
        Ok(())
    }
}

impl std::fmt::Debug for SettingsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let objects = self.objects.iter().map(|(name, _, _)| name);
        f.debug_struct("SettingsSource")
            .field("texts", &self.texts)
            .field("objects", &objects.collect::<Vec<_>>())
            .finish()
    }
}

fn error(
    setting: &Setting,
    value: &OsString,
    origin: &Origin,
    problem: ParseProblem,
) -> SettingError {
    let (setting, origin) = (setting.name, origin.clone());
    let text = value.to_string_lossy().into_owned();
    match problem {
        ParseProblem::Negative => SettingError::Negative {
            setting,
            origin,
            text,
        },
        ParseProblem::Expected(expected) => SettingError::Invalid {
            setting,
            origin,
            text,
            expected,
        },
    }
}

impl Settings {
    /// The built-in defaults with the values of sources over them, the lowest source first. A source replaces the
    /// values of those below it. A list is replaced whole.
    ///
    /// # Errors
    ///
    /// The first value that its setting cannot have, also if a higher source would replace it.
    pub fn load<'s>(
        sources: impl IntoIterator<Item = &'s SettingsSource>,
    ) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        for source in sources {
            source.apply(&mut settings)?;
        }
        Ok(settings)
    }

    /// The origin of a setting's value. A value that was written to its field is the program's, unless it is the default.
    #[must_use]
    pub fn origin(&self, setting: &Setting) -> Origin {
        let shown = setting.show(self);
        match self.origins.of(setting.name, shown.as_deref()) {
            Some(origin) => origin.clone(),
            None if shown == setting.default() => Origin::Default,
            None => Origin::Program,
        }
    }

    /// Whether the setting of this name has its default, and no source or program has set it to that.
    pub(crate) fn is_default(&self, name: &str) -> bool {
        Setting::named(name).is_some_and(|setting| self.origin(setting) == Origin::Default)
    }

    /// Notes the origin of a setting's value, which was just set.
    pub(crate) fn came_from(&mut self, setting: &'static Setting, origin: Origin) {
        let shown = setting.show(self);
        self.origins.record(setting.name, origin, shown);
    }

    /// A value that a [source](SettingsSource::object) gave under this name, if it is of type `T`.
    #[must_use]
    pub fn object<T: Any + Send + Sync>(&self, name: &str) -> Option<&T> {
        self.objects.get(name)?.0.downcast_ref()
    }

    /// The names and the origins of all values that sources gave as objects.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &Origin)> {
        let objects = self.objects.iter();
        objects.map(|(name, (_, origin))| (name.as_str(), origin))
    }

    /// A line for each setting, as in `workers = 4  (WEB_CONCURRENCY)`: its name, its value and its origin.
    #[must_use]
    pub fn listing(&self) -> String {
        let line = |setting: &Setting| {
            let value = setting.show(self).unwrap_or_default();
            format!("{} = {value}  ({})\n", setting.name, self.origin(setting))
        };
        SETTINGS.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &'static [(&str, &str)]) -> SettingsSource {
        SettingsSource::environment_of(move |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    }

    fn flags(values: &[(&str, &[&str])]) -> SettingsSource {
        SettingsSource::command_line(values.iter().map(|(name, values)| {
            let setting = SETTINGS.iter().find(|row| row.name == *name).unwrap();
            (setting, values.iter().map(OsString::from).collect())
        }))
    }

    #[test]
    fn without_sources_the_defaults_stand() {
        assert_eq!(Settings::load([]).unwrap(), Settings::default());
        let sources = [environment(&[("PORT", ""), ("HOME", "/")]), flags(&[])];
        assert_eq!(Settings::load(&sources).unwrap(), Settings::default());
    }

    #[test]
    fn the_environment_gives_defaults() {
        let source = environment(&[("PORT", "5000"), ("WEB_CONCURRENCY", "3")]);
        let settings = Settings::load([&source]).unwrap();
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

    #[test]
    fn a_value_knows_where_it_comes_from() {
        let origin = |settings: &Settings, name: &str| {
            settings.origin(Setting::named(name).unwrap()).to_string()
        };
        let line = |line| Origin::File {
            path: "a.conf".into(),
            line,
        };
        let row = |name| Setting::named(name).unwrap();
        let file = SettingsSource::new()
            .text(row("threads"), ["2"], line(Some(3)))
            .text(row("timeout"), ["5"], line(None))
            .text(row("workers"), ["2"], line(Some(4)));
        let sources = [
            environment(&[("PORT", "5000"), ("WEB_CONCURRENCY", "3")]),
            file,
            flags(&[("timeout", &["6"])]),
        ];
        let mut settings = Settings::load(&sources).unwrap();
        settings.backlog = 1;
        settings.threads = 4;
        for (name, wanted) in [
            ("bind", "PORT"),
            ("workers", "a.conf:4"),
            ("timeout", "-t/--timeout"),
            ("threads", "program"),
            ("backlog", "program"),
            ("keepalive", "default"),
        ] {
            assert_eq!(origin(&settings, name), wanted, "{name}");
        }
        let listing = settings.listing();
        assert!(listing.contains("\nworkers = 2  (a.conf:4)\n"), "{listing}");
        assert_eq!(listing.lines().count(), SETTINGS.len());
    }

    #[test]
    fn an_error_names_file_and_line() {
        let origin = Origin::File {
            path: "a.conf".into(),
            line: Some(7),
        };
        let workers = Setting::named("workers").unwrap();
        let file = SettingsSource::new().text(workers, ["many"], origin);
        assert_eq!(
            Settings::load([&file]).unwrap_err().to_string(),
            "invalid value 'many' for workers (a.conf:7): expected a whole number"
        );
    }

    #[test]
    fn a_source_can_take_a_value_away_and_give_objects() {
        let [pidfile, env] = ["pidfile", "raw_env"].map(|name| Setting::named(name).unwrap());
        let none: [&str; 0] = [];
        let below = flags(&[("pidfile", &["x"]), ("raw_env", &["A=1"])])
            .object("hook", Arc::new(1_u8), Origin::Program)
            .object("other", Arc::new("x"), Origin::Program);
        let above = SettingsSource::new()
            .text(pidfile, none, Origin::Program)
            .text(env, none, Origin::Program)
            .object("hook", Arc::new(2_u8), Origin::Environment("X".into()));
        let settings = Settings::load([&below, &above]).unwrap();
        assert_eq!(settings.pidfile, None);
        assert!(settings.raw_env.is_empty());
        assert_eq!(settings.object::<u8>("hook"), Some(&2));
        assert_eq!(settings.object::<u16>("hook"), None);
        assert_eq!(settings.object::<&str>("other"), Some(&"x"));
        let origins: Vec<_> = settings
            .objects()
            .map(|(name, origin)| format!("{name} {origin}"))
            .collect();
        assert_eq!(origins, ["hook X", "other program"]);
        assert_ne!(settings, Settings::load([&above]).unwrap());
        assert_eq!(settings, settings.clone());
    }
}
