//! [`Cli`]: Gunicorn's command line, made from the table of settings.
//!
//! It knows no setting by name and never ends the process. Help, version and mistakes are values with a text and an exit
//! code.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, value_parser};

use crate::config::{SETTINGS, Setting, SettingError, Settings, SettingsSource};

/// The exit status for a command line that cannot be understood, as with `argparse`.
const USAGE: u8 = 2;

/// The flag that shows the help with all settings.
const HELP_ALL: &str = "help-all";

/// The flag that shows the settings and their origins.
const PRINT_CONFIG: &str = "print-config";

/// A command line with a flag for each row of [`SETTINGS`], and `-h/--help`, `--help-all`, `--print-config` and
/// `-v/--version`.
///
/// ```
/// use oxicorn::cli::Cli;
///
/// let settings = Cli::parse(["serve", "-w", "4", "--bind=:9000", "shop:app"])?;
/// assert_eq!(settings.workers, 4);
/// assert_eq!(settings.wsgi_app.as_deref(), Some("shop:app"));
///
/// let stop = Cli::parse(["serve", "--wrokers", "4"]).unwrap_err();
/// assert_eq!(stop.exit_code(), 2);
/// assert!(stop.to_string().contains("--workers"));
/// # Ok::<(), oxicorn::cli::CliError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cli;

/// The text of a command line that gave no settings, because it asked for help, or has a mistake.
#[derive(Debug)]
pub struct CliError {
    text: String,
    exit_code: u8,
}

impl Cli {
    /// The settings of a command line, whose first item is the program's name, over those of this process's environment
    /// and the built-in defaults.
    ///
    /// A flag takes its value as `--flag VALUE` or `--flag=VALUE`. Of a repeated flag the last one counts, and a list
    /// takes them all.
    ///
    /// # Errors
    ///
    /// [`CliError`], whose text is meant to be shown.
    pub fn parse(args: impl IntoIterator<Item: Into<OsString>>) -> Result<Settings, CliError> {
        Self::parse_over([&SettingsSource::environment()], args)
    }

    /// The settings of a command line over those of other sources, the lowest source first. The environment is one of
    /// them only if it is given.
    ///
    /// # Errors
    ///
    /// [`CliError`], whose text is meant to be shown.
    pub fn parse_over<'s>(
        sources: impl IntoIterator<Item = &'s SettingsSource>,
        args: impl IntoIterator<Item: Into<OsString>>,
    ) -> Result<Settings, CliError> {
        let args = args.into_iter().map(Into::<OsString>::into);
        let mut matches = command(false)
            .try_get_matches_from(args)
            .map_err(|error| CliError::clap(&error))?;
        if matches.get_flag(HELP_ALL) {
            return Err(CliError::asked_for(command(true).render_help().to_string()));
        }
        let flags = SettingsSource::command_line(SETTINGS.iter().filter_map(|setting| {
            let values = matches.remove_many(setting.name)?;
            Some((setting, values.collect()))
        }));
        let mut sources: Vec<_> = sources.into_iter().collect();
        // Gunicorn's own mistakes are status 1, those that argparse finds status 2.
        Settings::load(sources.iter().copied()).map_err(|error| CliError::setting(&error, 1))?;
        sources.push(&flags);
        let settings = Settings::load(sources).map_err(|error| {
            let exit_code = match error {
                SettingError::Negative { .. } => 1,
                _ => USAGE,
            };
            CliError::setting(&error, exit_code)
        })?;
        if matches.get_flag(PRINT_CONFIG) {
            return Err(CliError::asked_for(settings.listing()));
        }
        Ok(settings)
    }
}

impl CliError {
    /// The message of the parser of flags, whose type is no part of this crate's interface.
    fn clap(error: &clap::Error) -> Self {
        let exit_code = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
            _ => USAGE,
        };
        Self {
            text: error.render().to_string(),
            exit_code,
        }
    }

    fn asked_for(text: String) -> Self {
        Self { text, exit_code: 0 }
    }

    fn setting(error: &SettingError, exit_code: u8) -> Self {
        Self {
            text: format!("error: {error}\n"),
            exit_code,
        }
    }

    /// The exit status: 0 for a text that was asked for, 2 for a mistake, and Gunicorn's 1 for a negative number and for a
    /// mistake in another source than the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Shows the text, on the standard output if it was asked for and otherwise on the standard error, and
    /// gives the status for `main` to return. Does not exit.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // The stream may be closed already.
        let _ = if self.exit_code == 0 {
            std::io::stdout().write_all(self.text.as_bytes())
        } else {
            std::io::stderr().write_all(self.text.as_bytes())
        };
        ExitCode::from(self.exit_code)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CliError {}

/// The command line, with all settings in its help or only those that are used most.
fn command(all: bool) -> Command {
    let own = |id, help| Arg::new(id).long(id).action(ArgAction::SetTrue).help(help);
    Command::new("oxicorn")
        .version(concat!("(version ", env!("CARGO_PKG_VERSION"), ")"))
        .about("Serves a WSGI application")
        .disable_version_flag(true)
        .args_override_self(true)
        .args(
            SETTINGS
                .iter()
                .map(|setting| argument(setting).hide(!all && !setting.common)),
        )
        .arg(own(HELP_ALL, "Print help for all settings"))
        .arg(own(
            PRINT_CONFIG,
            "Print each setting with its value and its origin",
        ))
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::Version)
                .help("Print version"),
        )
}

/// A row as an argument. Values are taken as they are: the table's parsers read them.
fn argument(setting: &'static Setting) -> Arg {
    let mut help = setting.help.to_owned();
    // Writing to memory cannot fail.
    if let Some(variable) = setting.variable {
        let _ = write!(help, " [environment: {}]", variable.name);
    }
    if let Some(default) = setting.default() {
        let _ = write!(help, " [default: {default}]");
    }
    let mut argument = Arg::new(setting.name)
        .help_heading(setting.section)
        .value_name(setting.metavar)
        .value_parser(value_parser!(OsString))
        // The setting's parser refuses a negative number. It is no flag.
        .allow_negative_numbers(true)
        .action(if setting.repeats {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
        .help(help);
    if let Some(bare) = setting.bare {
        // Or else the application's name would be taken for a switch's value.
        argument = argument
            .num_args(0..=1)
            .require_equals(setting.is_switch())
            .default_missing_value(bare);
    }
    for flag in setting.flags {
        argument = match flag.strip_prefix("--") {
            Some(long) if argument.get_long().is_none() => argument.long(long),
            Some(alias) => argument.visible_alias(alias),
            None => match flag.chars().nth(1) {
                Some(short) => argument.short(short),
                None => argument,
            },
        };
    }
    argument
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    /// Parses without this process's environment.
    fn parse(args: &[&str]) -> Result<Settings, CliError> {
        let none = SettingsSource::environment_of(|_| None);
        Cli::parse_over([&none], ["serve"].iter().chain(args))
    }

    fn stop(args: &[&str]) -> CliError {
        parse(args).unwrap_err()
    }

    #[test]
    fn the_flag_table_is_sound() {
        command(true).debug_assert();
    }

    #[test]
    fn every_flag_of_every_row_sets_its_field_in_both_spellings() {
        for setting in SETTINGS {
            let value = match setting.metavar {
                "NAME=VALUE" => "A=1",
                "LEVEL" => "debug",
                "BOOL" => "true",
                "FIELD" => "forwarded",
                "NAME=VALUE[,NAME=VALUE]" => "A=1,B=2",
                "POLICY" => "refuse",
                "MODE" => "v1",
                "IP[,NETWORK]" => "10.0.0.0/8",
                "CLASS" => "gthread",
                "MASK" => "0o22",
                _ => "17",
            };
            for flag in setting.flags {
                let joined = format!("{flag}={value}");
                // A switch takes no value from the next argument.
                let apart = if setting.is_switch() {
                    &[*flag][..]
                } else {
                    &[*flag, value]
                };
                for args in [apart, &[&joined]] {
                    let settings = parse(args).unwrap();
                    assert_eq!(setting.show(&settings).as_deref(), Some(value), "{args:?}");
                }
            }
            if setting.flags.is_empty() {
                let settings = parse(&[value]).unwrap();
                assert_eq!(setting.show(&settings).as_deref(), Some(value));
            }
        }
    }

    #[test]
    fn without_flags_the_defaults_stand() {
        assert_eq!(parse(&[]).unwrap(), Settings::default());
    }

    // Gunicorn: S46
    #[test]
    fn a_flag_may_stand_bare_where_it_has_a_value_for_that() {
        let settings = parse(&["--proxy-protocol", "--workers", "2", "app"]).unwrap();
        assert_eq!(settings.proxy_protocol, crate::net::ProxyProtocol::Auto);
        assert_eq!(settings.workers, 2);
        let settings = parse(&["--proxy-protocol", "v1", "app"]).unwrap();
        assert_eq!(settings.proxy_protocol, crate::net::ProxyProtocol::V1);
        assert_eq!(stop(&["--workers"]).exit_code(), 2);
    }

    #[test]
    fn a_whole_command_line_is_understood() {
        let settings = parse(&[
            "-w3",
            "--bind=:9000",
            "shop.wsgi:app",
            "-b",
            "unix:/run/x",
            "-t=0.5",
            "--pid",
            "x.pid",
            "--access-logfile",
            "-",
            "--log-file=e.log",
            "-eA=1",
            "--env",
            "B=c=d",
        ])
        .unwrap();
        assert_eq!(settings.workers, 3);
        assert_eq!(settings.bind, [":9000", "unix:/run/x"]);
        assert_eq!(settings.wsgi_app.as_deref(), Some("shop.wsgi:app"));
        assert_eq!(settings.timeout, Duration::from_millis(500));
        assert_eq!(settings.pidfile.as_deref(), Some(Path::new("x.pid")));
        assert_eq!(settings.accesslog.as_deref(), Some(Path::new("-")));
        assert_eq!(settings.errorlog, PathBuf::from("e.log"));
        let variables = [("A", "1"), ("B", "c=d")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(settings.raw_env, variables);
    }

    #[test]
    fn of_a_repeated_flag_the_last_counts_and_a_list_has_them_all() {
        let settings = parse(&["-w", "2", "--workers=5", "-b", "a:1", "--bind", "b:2"]).unwrap();
        assert_eq!(settings.workers, 5);
        assert_eq!(settings.bind, ["a:1", "b:2"]);
    }

    #[test]
    fn flags_replace_the_environment() {
        let below = SettingsSource::environment_of(|name| (name == "PORT").then(|| "5000".into()));
        let parse = |args: &[&str]| Cli::parse_over([&below], args).unwrap().bind;
        assert_eq!(parse(&["serve"]), ["0.0.0.0:5000"]);
        assert_eq!(parse(&["serve", "-b", "a:1"]), ["a:1"]);
    }

    #[test]
    fn an_unknown_flag_is_named_with_the_nearest_known_one() {
        for (typed, known) in [
            ("--wrokers", "--workers"),
            ("--access-log", "--access-logfile"),
        ] {
            let stop = stop(&[typed, "4", "app"]);
            assert_eq!(stop.exit_code(), 2);
            let text = stop.to_string();
            assert!(text.contains(typed), "{text}");
            assert!(text.contains(&format!("'{known}'")), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_no_number_is_a_usage_error_naming_it() {
        let stop = stop(&["--workers", "many"]);
        assert_eq!(stop.exit_code(), 2);
        assert_eq!(
            stop.to_string(),
            "error: invalid value 'many' for workers (-w/--workers): expected a whole number\n"
        );
    }

    #[test]
    fn a_switch_needs_no_value_and_takes_one_only_after_equals() {
        let settings = parse(&["--strip-header-spaces", "shop:app"]).unwrap();
        assert!(settings.strip_header_spaces && !settings.permit_obsolete_folding);
        assert_eq!(settings.wsgi_app.as_deref(), Some("shop:app"));
        let both = ["--casefold-http-method", "--casefold-http-method=false"];
        assert!(!parse(&both).unwrap().casefold_http_method);
        assert_eq!(stop(&["--casefold-http-method=maybe"]).exit_code(), 2);
    }

    #[test]
    fn the_size_of_a_field_has_gunicorns_spelling_and_the_usual_one() {
        for flag in ["--limit-request-field_size", "--limit-request-field-size"] {
            let settings = parse(&[flag, "100"]).unwrap();
            assert_eq!(settings.limit_request_field_size, 100);
        }
    }

    #[test]
    fn a_negative_number_is_status_1() {
        for args in [&["-w", "-1"][..], &["--timeout=-0.5"]] {
            let stop = stop(args);
            assert_eq!(stop.exit_code(), 1);
            assert!(
                stop.to_string().contains("Value must be positive"),
                "{stop}"
            );
        }
    }

    #[test]
    fn a_mistake_in_the_environment_is_status_1() {
        let below =
            SettingsSource::environment_of(|name| (name == "WEB_CONCURRENCY").then(|| "x".into()));
        let stop = Cli::parse_over([&below], ["serve", "-w", "2"]).unwrap_err();
        assert_eq!(stop.exit_code(), 1);
        assert!(stop.to_string().contains("WEB_CONCURRENCY"), "{stop}");
    }

    #[test]
    fn a_missing_value_and_a_second_application_are_usage_errors() {
        for args in [&["--bind"][..], &["-w"], &["a:b", "c:d"]] {
            assert_eq!(stop(args).exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn help_lists_common_settings_and_help_all_lists_every_one() {
        for (flag, all) in [("-h", false), ("--help", false), ("--help-all", true)] {
            let stop = stop(&[flag]);
            assert_eq!(stop.exit_code(), 0);
            let text = stop.to_string();
            let words: Vec<_> = text.split([' ', ',', '\n', '[', ']']).collect();
            for setting in SETTINGS {
                let listed = all || setting.common;
                for flag in setting.flags {
                    assert_eq!(words.contains(flag), listed, "{flag} in {text}");
                }
            }
            assert!(text.contains("[MODULE[:APP]]"), "{text}");
            assert!(text.contains("[default: 127.0.0.1:8000]"), "{text}");
            assert!(words.contains(&"--help-all"), "{text}");
        }
        let common = SETTINGS.iter().filter(|setting| setting.common);
        assert_eq!(common.count(), 25);
    }

    #[test]
    fn settings_are_printed_with_their_origins() {
        let below = SettingsSource::environment_of(|name| (name == "PORT").then(|| "80".into()));
        let args = ["serve", "--print-config", "-w", "3", "shop:app"];
        let stop = Cli::parse_over([&below], args).unwrap_err();
        assert_eq!(stop.exit_code(), 0);
        let text = stop.to_string();
        for line in [
            "wsgi_app = shop:app  (MODULE[:APP])\n",
            "bind = 0.0.0.0:80  (PORT)\n",
            "workers = 3  (-w/--workers)\n",
            "timeout = 30  (default)\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }

    #[test]
    fn the_version_is_shown() {
        for flag in ["-v", "--version"] {
            let stop = stop(&[flag]);
            assert_eq!(stop.exit_code(), 0);
            let wanted = format!("oxicorn (version {})\n", env!("CARGO_PKG_VERSION"));
            assert_eq!(stop.to_string(), wanted);
        }
    }
}
