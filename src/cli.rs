//! [`Command`]: Gunicorn's command line, made from the table of settings, under a name and with settings of the
//! program's own.
//!
//! It knows no setting by name and never ends the process. Help, version and mistakes are errors with a text and an exit
//! status, which [`exit`](crate::exit) shows.

mod argument;
mod console;
mod ctl;
#[cfg(any(feature = "toml", feature = "wsgi"))]
mod files;
#[cfg(feature = "wsgi")]
mod gunicorn;
#[cfg(feature = "manual")]
mod manual;
mod words;

use std::env;
use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::config::{
    FileValue, Origin, OwnSetting, SETTINGS, Setting, SettingError, Settings, SettingsSource,
    UNSERVED, Unserved,
};
use crate::error::{Error, Result};
use crate::server::{Server, ServerBuilder};
use crate::time::MonoTime;
use console::Console;
#[cfg(feature = "wsgi")]
pub use gunicorn::main;

/// The exit status for a command line that cannot be understood, as with `argparse`.
const USAGE: u8 = 2;

/// The flag that shows the help with all settings.
const HELP_ALL: &str = "help-all";

/// The flag that shows the settings and their origins.
const PRINT_CONFIG: &str = "print-config";

/// The flag that has the settings checked.
const CHECK_CONFIG: &str = "check-config";

/// A command line with a flag for each row of [`SETTINGS`], and `-h/--help`, `--help-all`, `--print-config` and
/// `-v/--version`.
///
/// A program gives it a name, defaults, and settings of its own:
///
/// ```
/// use std::path::PathBuf;
///
/// use oxicorn::cli::Command;
/// use oxicorn::config::OwnSetting;
///
/// let catalog = OwnSetting::value::<PathBuf>("catalog").short('C').help("File of the goods");
/// let command = Command::new("shopd")
///     .version("2.1")
///     .about("Sells")
///     .default("workers", "4")
///     .setting(catalog);
///
/// let settings = command.parse(["shopd", "--bind=:9000", "-C", "goods.csv"])?;
/// assert_eq!(settings.workers, 4);
/// assert_eq!(settings.object::<PathBuf>("catalog").unwrap().to_str(), Some("goods.csv"));
///
/// let mistake = command.parse(["shopd", "--wrokers", "4"]).unwrap_err();
/// assert_eq!(mistake.exit_code(), 2);
/// assert!(mistake.to_string().contains("--workers"));
/// # Ok::<(), oxicorn::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a command does nothing until it parses"]
pub struct Command {
    name: &'static str,
    version: &'static str,
    about: &'static str,
    defaults: Vec<(&'static str, OsString)>,
    examples: Vec<(&'static str, &'static str)>,
    console: bool,
    own: Vec<OwnSetting>,
    without: Vec<&'static str>,
    /// The variable that has further flags, and its value.
    flags_of: Option<(&'static str, OsString)>,
    /// What `--check-config` does once the settings are read.
    check: fn(&Settings) -> Result<()>,
    #[cfg(any(feature = "toml", feature = "wsgi"))]
    files: Option<files::Files>,
}

impl Command {
    /// The command line of a program with this name. Its version is that of this crate until it has
    /// [another](Self::version).
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            version: env!("CARGO_PKG_VERSION"),
            about: "",
            defaults: Vec::new(),
            examples: Vec::new(),
            console: true,
            own: Vec::new(),
            without: Vec::new(),
            flags_of: None,
            check: |_| Ok(()),
            #[cfg(any(feature = "toml", feature = "wsgi"))]
            files: None,
        }
    }

    /// Sets the version that `--version` shows, such as `env!("CARGO_PKG_VERSION")`.
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// Sets the first line of the help.
    pub fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// Adds an example to the end of the help: the arguments behind the program's name, and one line on what they do.
    pub fn example(mut self, arguments: &'static str, meaning: &'static str) -> Self {
        self.examples.push((arguments, meaning));
        self
    }

    /// Sets whether a [server](Self::server) tells an operator what its log does not: that it is ready, at which address
    /// and after how long, and after some seconds of a start, a reload or a stop, which workers are waited for and what
    /// they do. On a terminal that is a banner and one line that is written over, elsewhere lines of the log at growing
    /// intervals. Default: `true`.
    pub fn console(mut self, show: bool) -> Self {
        self.console = show;
        self
    }

    /// Sets the program's default of a setting, of the table or of its own, as text. The environment, files and flags
    /// replace it. Repeated for a list it adds to the default.
    pub fn default(mut self, setting: &'static str, value: impl Into<OsString>) -> Self {
        self.defaults.push((setting, value.into()));
        self
    }

    /// Adds a setting of the program's own. Its flag is listed under the heading `Options`.
    pub fn setting(mut self, setting: OwnSetting) -> Self {
        self.own.push(setting);
        self
    }

    /// Takes further flags from this environment variable, such as `GUNICORN_CMD_ARGS`, split into words as a shell does it.
    /// They come between a configuration file and the command line, whose flags replace them, also that of the file. The
    /// variable is read now, and a reload uses the same flags.
    pub fn flags_from(mut self, variable: &'static str) -> Self {
        self.flags_of = env::var_os(variable).map(|flags| (variable, flags));
        self
    }

    /// Sets what `--check-config` does after the settings were read. By default it does nothing more.
    #[cfg(feature = "wsgi")]
    fn checked_by(mut self, check: fn(&Settings) -> Result<()>) -> Self {
        self.check = check;
        self
    }

    /// Leaves settings of the table out of the command line, by name. A program without Python leaves out `wsgi_app`,
    /// `pythonpath`, `venv`, `raw_env` and `preload_app`.
    pub fn without(mut self, settings: impl IntoIterator<Item = &'static str>) -> Self {
        self.without.extend(settings);
        self
    }

    /// The settings of a command line, whose first item is the program's name, over those of this process's environment,
    /// the program's defaults and the built-in ones.
    ///
    /// A flag takes its value as `--flag VALUE` or `--flag=VALUE`. Of a repeated flag the last one counts, and a list
    /// takes them all.
    ///
    /// # Errors
    ///
    /// - A text that was asked for (`--help` and the like): [`exit_code`](Error::exit_code) 0.
    /// - A mistake in the command line: 2, and Gunicorn's 1 for a negative number.
    /// - A mistake in another source, a file that cannot be read, or a mistake in the description of the command: 1.
    pub fn parse(&self, args: impl IntoIterator<Item: Into<OsString>>) -> Result<Settings> {
        self.parse_over([&SettingsSource::environment()], args)
    }

    /// The settings of a command line over those of other sources, the lowest source first, and over the program's
    /// defaults. The environment is one of them only if it is given.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse).
    pub fn parse_over<'s>(
        &self,
        sources: impl IntoIterator<Item = &'s SettingsSource>,
        args: impl IntoIterator<Item: Into<OsString>>,
    ) -> Result<Settings> {
        let flags = self.read(args, None)?;
        let more = self.read_variable()?;
        let defaults = self.defaults()?;
        let mut all = vec![&defaults];
        for source in sources {
            all.push(source);
        }
        // Gunicorn's own mistakes are status 1, those that argparse finds status 2.
        if let Some(more) = &more {
            all.push(&more.source);
        }
        Settings::load(all.iter().copied())?;
        all.push(&flags.source);
        let settings = Settings::load(all.iter().copied()).map_err(|error| match error {
            SettingError::Negative { .. } | SettingError::Refused { .. } => error.into(),
            _ => Error::command_line(error.to_string(), USAGE),
        })?;
        #[cfg(any(feature = "toml", feature = "wsgi"))]
        let config = flags.config.as_ref();
        #[cfg(any(feature = "toml", feature = "wsgi"))]
        let config = config.or_else(|| more.as_ref()?.config.as_ref());
        #[cfg(any(feature = "toml", feature = "wsgi"))]
        let settings = match self.read_file(config.map(OsString::as_os_str), &settings)? {
            Some(file) => {
                all.insert(all.len() - 1 - usize::from(more.is_some()), &file);
                Settings::load(all)?
            }
            None => settings,
        };
        let asked = |flag: fn(&Flags) -> bool| flag(&flags) || more.as_ref().is_some_and(flag);
        if asked(|flags| flags.print_config) {
            let listing = settings.listing();
            return Err(Error::command_line(listing.trim_end().to_owned(), 0));
        }
        let missing = |own: &&OwnSetting| own.required && !settings.has_object(own.name);
        match self.own.iter().find(missing) {
            Some(own) => Err(Error::command_line(
                format!("a value for {} is missing ({})", own.name, own.flags()),
                USAGE,
            )),
            None if asked(|flags| flags.check_config) => {
                (self.check)(&settings)?;
                Err(Error::command_line("the configuration can be used", 0))
            }
            None => Ok(settings),
        }
    }

    /// Parses a command line, has this process follow its settings, and gives a builder that follows them:
    /// [`Server::prepare_process`]. A reload parses the same arguments again.
    ///
    /// ```no_run
    /// use oxicorn::cli::Command;
    /// use oxicorn::{Request, Responder, Result};
    ///
    /// fn serve() -> Result<()> {
    ///     let hello = |_: Request<'_>, reply: Responder<'_>| reply.text(200, "Hello\n");
    ///     Command::new("shopd").server(std::env::args_os())?.serve(hello)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse) and of [`Server::prepare_process`].
    pub fn server(&self, args: impl IntoIterator<Item: Into<OsString>>) -> Result<ServerBuilder> {
        let begun = MonoTime::now();
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let command = self.clone();
        let server = Server::prepare_process(move || command.parse(&args))?;
        if !self.console {
            return Ok(server);
        }
        let program = format!("{} {}", self.name, self.version);
        Ok(Console::new(program, server.settings(), begun).follow(server))
    }

    /// The values that the flags of a command line give, alone and unchecked: a source for
    /// [`Settings::load`](Settings::load).
    ///
    /// # Errors
    ///
    /// A text that was asked for, and flags that cannot be understood, as with [`parse`](Self::parse).
    pub fn flags(&self, args: impl IntoIterator<Item: Into<OsString>>) -> Result<SettingsSource> {
        Ok(self.read(args, None)?.source)
    }

    /// What the variable with further flags says.
    fn read_variable(&self) -> Result<Option<Flags>> {
        let Some((variable, text)) = &self.flags_of else {
            return Ok(None);
        };
        let text = text.to_str().ok_or("it is no UTF-8 text");
        let words = text.and_then(words::split);
        let words = words.map_err(|why| Error::config(why).about(variable))?;
        let origin = Origin::Environment((*variable).to_owned());
        let args = [self.name.to_owned()].into_iter().chain(words);
        let flags = self.read(args, Some(&origin));
        flags.map(Some).map_err(|error| match error.exit_code() {
            0 => error,
            _ => error.about(variable),
        })
    }

    /// What a command line says. Its values have this origin, or that of their flags.
    fn read(
        &self,
        args: impl IntoIterator<Item: Into<OsString>>,
        origin: Option<&Origin>,
    ) -> Result<Flags> {
        self.check()?;
        let args = args.into_iter().map(Into::<OsString>::into);
        let parsed = self.parser(false).try_get_matches_from(args);
        let mut matches = parsed.map_err(|error| clap_error(&error))?;
        if matches.get_flag(HELP_ALL) {
            let help = self.parser(true).render_help().to_string();
            return Err(Error::command_line(help.trim_end().to_owned(), 0));
        }
        #[cfg(feature = "manual")]
        self.show_manual(&mut matches)?;
        if let Some(matches) = matches.subcommand_matches(ctl::CTL) {
            ctl::run(matches)?;
        }
        let from = |flags: String| origin.cloned().unwrap_or(Origin::Flag(flags));
        let source = self.table().fold(SettingsSource::new(), |source, setting| {
            match matches.remove_many::<OsString>(setting.name) {
                Some(values) => source.text(setting, values, from(setting.flags_text())),
                None => source,
            }
        });
        let source = self.unserved().fold(source, |source, row| {
            let values = matches.remove_many(row.name).into_iter().flatten();
            values.fold(source, |source, value| {
                let flag = from(row.flags.join("/"));
                source.file_value(row.name, &FileValue::Text(value), flag)
            })
        });
        let own = self.own.iter().filter(|own| own.has_flag());
        let source = own.fold(source, |source, own| {
            match matches.remove_many::<OsString>(own.name) {
                Some(values) => source.own(own, values, from(own.flags())),
                None => source,
            }
        });
        Ok(Flags {
            source,
            #[cfg(any(feature = "toml", feature = "wsgi"))]
            config: match self.files {
                Some(_) => matches.remove_one(files::CONFIG),
                None => None,
            },
            print_config: matches.get_flag(PRINT_CONFIG),
            check_config: matches.get_flag(CHECK_CONFIG),
        })
    }

    /// The program's defaults. A list or a switch of its own is never missing.
    fn defaults(&self) -> Result<SettingsSource> {
        let mut source = SettingsSource::new();
        for own in self.own.iter().filter(|own| own.has_flag()) {
            source = source.own(own, [] as [OsString; 0], Origin::Default);
        }
        for (index, (name, _)) in self.defaults.iter().enumerate() {
            let same = |(other, _): &&(&str, OsString)| other == name;
            if self.defaults[..index].iter().any(|default| same(&default)) {
                continue;
            }
            let values = self.defaults.iter().filter(same).map(|(_, value)| value);
            if let Some(own) = self.own.iter().find(|own| own.name == *name) {
                source = source.own(own, values, Origin::Program);
            } else if let Some(setting) = Setting::named(name) {
                source = source.text(setting, values, Origin::Program);
            } else {
                return Err(SettingError::unknown(name, Origin::Program).into());
            }
        }
        Ok(source)
    }

    /// The rows of the table that the command line has.
    fn table(&self) -> impl Iterator<Item = &'static Setting> {
        let rows = SETTINGS.iter();
        rows.filter(|setting| !self.without.contains(&setting.name))
    }

    /// Gunicorn's flags that have no row of the table, but for those that the program uses for its own.
    fn unserved(&self) -> impl Iterator<Item = &'static Unserved> {
        let rows = UNSERVED.iter().filter(|row| !row.flags.is_empty());
        rows.filter(|row| {
            let taken = |own: &OwnSetting| {
                let long = format!("--{}", own.long());
                let short = own.short.map(|letter| format!("-{letter}"));
                let mut flags = row.flags.iter();
                flags.any(|flag| *flag == long || Some(*flag) == short.as_deref())
            };
            !self.own.iter().any(taken)
        })
    }
}

/// A command line that was read.
struct Flags {
    source: SettingsSource,
    /// The name of the configuration file.
    #[cfg(any(feature = "toml", feature = "wsgi"))]
    config: Option<OsString>,
    print_config: bool,
    check_config: bool,
}

/// The message of the parser of flags, whose type is no part of this crate's interface.
fn clap_error(error: &clap::Error) -> Error {
    let status = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ => USAGE,
    };
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    Error::command_line(text.trim_end().to_owned(), status)
}

#[cfg(test)]
mod tests;
