//! [`SettingsSource`]: the values that one source gives, and how sources make [`Settings`].
//!
//! Loading is the same for every source: text goes through the table's parsers, and an error names the value's origin.
//! No source is read unless it is asked for.

use std::any::Any;
use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::error::SettingError;
use super::file_value::FileValue;
use super::near_miss::near_miss;
use super::object::{Object, ObjectEntry};
use super::origin::Origin;
#[cfg(feature = "toml")]
use super::own::Form;
use super::own::OwnSetting;
use super::setting::{SETTINGS, Setting};
use super::settings::Settings;
use super::unserved::Unserved;
use super::values::ParseProblem;
use crate::error::Error;

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
    entries: Vec<Entry>,
    /// Lines for the log.
    notices: Vec<String>,
    /// Names that are no settings: the name, the setting that it resembles, and the origin.
    near_misses: Vec<(String, &'static str, Origin)>,
    objects: Vec<(String, Object, Origin)>,
    own: Vec<(OwnSetting, Vec<OsString>, Origin)>,
}

/// What a source says of a setting.
#[derive(Clone, Debug)]
enum Entry {
    Texts(&'static Setting, Vec<OsString>, Origin),
    Wrong(SettingError),
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
                source.text(setting, values, Origin::Flag(setting.flags_text()))
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
        self.entries.push(Entry::Texts(setting, values, origin));
        self
    }

    /// Adds a name of a configuration file with its value, as Gunicorn takes it: a number may be text, a truth value may
    /// be text or a number, a list may be text with commas, and [`FileValue::Absent`] gives nothing.
    ///
    /// A setting of Gunicorn's that is not served is an error of [`Settings::load`] if its value asks for something that
    /// the server would lack; another value of it has no effect, which is [noticed](Settings::notices). So is a name that
    /// [resembles](near_miss) a setting which the source does not give. Every other name is the file's own.
    ///
    /// ```
    /// use oxicorn::config::{FileValue, Origin, Settings, SettingsSource};
    ///
    /// let line = |line| Origin::File { path: "gunicorn.conf.py".into(), line: Some(line) };
    /// let text = |text: &str| FileValue::Text(text.into());
    /// let file = SettingsSource::new()
    ///     .file_value("workers", &text("4"), line(1))
    ///     .file_value("preload_app", &text("True"), line(2))
    ///     .file_value("keyfile", &FileValue::Absent, line(3))
    ///     .file_value("keep_alive", &FileValue::Number("5".into()), line(4));
    /// let settings = Settings::load([&file])?;
    /// assert_eq!((settings.workers, settings.preload_app), (4, true));
    /// assert_eq!(
    ///     settings.notices(),
    ///     ["keep_alive (gunicorn.conf.py:4) is no setting and has no effect: did you mean keepalive?"]
    /// );
    ///
    /// let file = SettingsSource::new().file_value("worker_class", &text("gevent"), line(7));
    /// let refused = Settings::load([&file]).unwrap_err().to_string();
    /// assert!(refused.starts_with("worker_class = gevent (gunicorn.conf.py:7) is refused: "));
    /// assert!(refused.ends_with("Write instead: worker_class = \"gthread\", threads = 8"));
    /// # Ok::<(), oxicorn::config::SettingError>(())
    /// ```
    #[must_use]
    pub fn file_value(mut self, name: &str, value: &FileValue, origin: Origin) -> Self {
        if let Some(setting) = Setting::named(name) {
            match value.texts(setting) {
                Ok(None) => {}
                Ok(Some(texts)) => self.entries.push(Entry::Texts(setting, texts, origin)),
                Err(expected) => self.entries.push(Entry::Wrong(SettingError::Invalid {
                    setting: setting.name,
                    origin,
                    text: value.to_string(),
                    expected,
                })),
            }
        } else if let Some(row) = Unserved::named(name) {
            match row.take(value, &origin) {
                Ok(notice) => self.notices.extend(notice),
                Err(error) => self.entries.push(Entry::Wrong(error)),
            }
        } else if let Some(meant) = near_miss(name) {
            self.near_misses.push((name.to_owned(), meant, origin));
        }
        self
    }

    /// The values of this source with those of another over them.
    #[cfg(feature = "wsgi")]
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self.objects.extend(other.objects);
        self.notices.extend(other.notices);
        self.near_misses.extend(other.near_misses);
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

    /// Adds the values of a setting of the program's own, as [`text`](Self::text) does.
    #[must_use]
    pub fn own(
        mut self,
        setting: &OwnSetting,
        values: impl IntoIterator<Item: Into<OsString>>,
        origin: Origin,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.own.push((setting.clone(), values, origin));
        self
    }

    /// Adds the value of a file to a setting of the program's own.
    #[cfg(feature = "toml")]
    pub(super) fn own_file_value(
        mut self,
        setting: &OwnSetting,
        value: &FileValue,
        origin: Origin,
    ) -> Self {
        match value.own_texts(setting.form == Form::List) {
            Ok(texts) => self.own(setting, texts, origin),
            Err(reason) => {
                self.entries.push(Entry::Wrong(SettingError::Own {
                    setting: setting.name,
                    origin,
                    text: value.to_string(),
                    reason: reason.to_owned(),
                }));
                self
            }
        }
    }

    fn apply(&self, settings: &mut Settings) -> Result<(), SettingError> {
        for entry in &self.entries {
            let (setting, values, origin) = match entry {
                Entry::Texts(setting, values, origin) => (*setting, values, origin),
                Entry::Wrong(error) => return Err(error.clone()),
            };
            setting
                .set(settings, values)
                .map_err(|(value, problem)| error(setting, &value, origin, problem))?;
            settings.came_from(setting, origin.clone());
        }
        for notice in self.notices.iter().cloned().chain(self.near_misses()) {
            settings.origins.notice(notice);
        }
        for (name, object, origin) in &self.objects {
            let objects = &mut settings.objects;
            let entry = ObjectEntry {
                object: Arc::clone(object),
                origin: origin.clone(),
                text: None,
            };
            objects.insert(name.clone(), entry);
        }
        for (setting, values, origin) in &self.own {
            let parsed = setting.parse(values);
            let parsed = parsed.map_err(|(value, reason)| SettingError::Own {
                setting: setting.name,
                origin: origin.clone(),
                text: value.to_string_lossy().into_owned(),
                reason,
            })?;
            let Some((object, text)) = parsed else {
                settings.objects.remove(setting.name);
                continue;
            };
            let entry = ObjectEntry {
                object,
                origin: origin.clone(),
                text: Some(text),
            };
            settings.objects.insert(setting.name.to_owned(), entry);
        }
        Ok(())
    }

    /// A line for each name that resembles a setting, unless the source gives that setting itself: then the name is a
    /// variable by which it is computed.
    fn near_misses(&self) -> impl Iterator<Item = String> {
        let gives = |meant: &str| {
            let mut entries = self.entries.iter();
            entries.any(|entry| matches!(entry, Entry::Texts(row, ..) if row.name == meant))
        };
        let stray = self.near_misses.iter();
        let stray = stray.filter(move |(_, meant, _)| !gives(meant));
        stray.map(|(name, meant, origin)| {
            format!("{name} ({origin}) is no setting and has no effect: did you mean {meant}?")
        })
    }
}

impl std::fmt::Debug for SettingsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let objects = self.objects.iter().map(|(name, _, _)| name);
        f.debug_struct("SettingsSource")
            .field("entries", &self.entries)
            .field("own", &self.own)
            .field("objects", &objects.collect::<Vec<_>>())
            .finish_non_exhaustive()
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
        ParseProblem::Refused { why, instead } => SettingError::Refused {
            setting,
            origin,
            text,
            why,
            instead,
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

    /// An error about the values of these settings, with the name and the origin of each that has not its default; of all
    /// where they have theirs.
    pub(crate) fn blame(&self, names: &[&str], error: Error) -> Error {
        // What only a configuration file can have is in no row.
        let mut objects = names.iter().filter(|name| Setting::named(name).is_none());
        if let Some((name, it)) = objects.find_map(|name| Some((name, self.objects.get(name)?))) {
            return error.about(format_args!("{name} ({})", it.origin));
        }
        let find = |name: &&str| Some((Setting::named(name)?, self.is_default(name)));
        let mut found: Vec<_> = names.iter().filter_map(find).collect();
        if found.iter().any(|(_, is_default)| !is_default) {
            found.retain(|(_, is_default)| !is_default);
        }
        let origin = |(setting, _): &(&Setting, bool)| {
            let name = setting.name;
            format!("{name} ({})", self.origin(setting))
        };
        let origins: Vec<String> = found.iter().map(origin).collect();
        error.about(origins.join(", "))
    }

    /// Notes the origin of a setting's value, which was just set.
    pub(crate) fn came_from(&mut self, setting: &'static Setting, origin: Origin) {
        let shown = setting.show(self);
        self.origins.record(setting.name, origin, shown);
    }

    /// A value that a source gave under this name as an [object](SettingsSource::object) or for a setting of the
    /// [program's own](OwnSetting), if it is of type `T`.
    #[must_use]
    pub fn object<T: Any + Send + Sync>(&self, name: &str) -> Option<&T> {
        self.objects.get(name)?.object.downcast_ref()
    }

    /// Whether a source gave a value under this name.
    #[cfg(feature = "cli")]
    pub(crate) fn has_object(&self, name: &str) -> bool {
        self.objects.get(name).is_some()
    }

    /// The names and the origins of all values that sources gave as objects.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &Origin)> {
        let objects = self.objects.iter();
        objects.map(|(name, entry)| (name.as_str(), &entry.origin))
    }

    /// Name, value and origin of the settings that are the program's own.
    pub(crate) fn own_texts(&self) -> impl Iterator<Item = (&str, &str, &Origin)> {
        let objects = self.objects.iter();
        objects.filter_map(|(name, entry)| {
            let value = entry.text.as_deref()?;
            Some((name.as_str(), value, &entry.origin))
        })
    }

    /// The path of the control socket, unless there is to be none.
    pub(crate) fn control_path(&self) -> Option<&Path> {
        let path = self.control_socket.as_deref();
        path.filter(|_| !self.control_socket_disable)
    }

    /// Lines for the log about values that have no effect, and about names that resemble a setting.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        self.origins.notices()
    }

    /// A line for each setting, as in `workers = 4  (WEB_CONCURRENCY)`: its name, its value and its origin. Those of the
    /// program's own come last.
    #[must_use]
    pub fn listing(&self) -> String {
        let line =
            |name: &str, value: &str, origin: &Origin| format!("{name} = {value}  ({origin})\n");
        let table = SETTINGS.iter().map(|setting| {
            let value = setting.show(self).unwrap_or_default();
            line(setting.name, &value, &self.origin(setting))
        });
        let own = self.own_texts();
        let own = own.map(|(name, value, origin)| line(name, value, origin));
        table.chain(own).collect()
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

    // Gunicorn: S29
    #[test]
    fn files_are_sent_by_the_system_unless_a_flag_forbids_it() {
        let sendfile = |sources: &[SettingsSource]| Settings::load(sources).unwrap().sendfile;
        assert!(sendfile(&[]));
        assert!(sendfile(&[environment(&[("SENDFILE", "y")])]));
        assert!(!sendfile(&[environment(&[("SENDFILE", "0")])]));
        assert!(!sendfile(&[flags(&[("sendfile", &["false"])])]));
        let file = SettingsSource::new();
        let file = file.file_value("sendfile", &FileValue::Bool(true), Origin::Program);
        assert!(sendfile(&[environment(&[("SENDFILE", "0")]), file]));
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
    fn a_name_by_which_a_setting_is_computed_is_no_near_miss() {
        let number = FileValue::Number("4".into());
        let line = |line| Origin::File {
            path: "a.py".into(),
            line: Some(line),
        };
        let stray = SettingsSource::new().file_value("WORKERS", &number, line(1));
        let notice = "WORKERS (a.py:1) is no setting and has no effect: did you mean workers?";
        assert_eq!(Settings::load([&stray]).unwrap().notices(), [notice]);
        let used = stray.file_value("workers", &number, line(2));
        let settings = Settings::load([&used]).unwrap();
        assert_eq!(settings.workers, 4);
        assert!(settings.notices().is_empty());
    }

    #[test]
    fn an_error_of_a_file_shows_the_value_as_it_stands_there() {
        let origin = Origin::File {
            path: "a.py".into(),
            line: Some(2),
        };
        let list = FileValue::List(vec![FileValue::Number("4".into())]);
        let file = SettingsSource::new().file_value("workers", &list, origin);
        assert_eq!(
            Settings::load([&file]).unwrap_err().to_string(),
            "invalid value '[4]' for workers (a.py:2): expected one value, not a list"
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
