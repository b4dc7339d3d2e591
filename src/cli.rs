//! [`Cli`]: Gunicorn's command line, made from the table of settings.
//!
//! It knows no setting by name and never ends the process: help, version and mistakes are values with a
//! text and an exit code.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, value_parser};

use crate::config::{Layer, SETTINGS, Setting, SettingError, Settings};

/// The status of a command line that cannot be understood, as `argparse` has it.
const USAGE: u8 = 2;

/// A command line with a flag for each row of [`SETTINGS`], `-h/--help` and `-v/--version`.
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

/// Why a command line gave no settings: it asked for help or the version, or has a mistake.
#[derive(Debug)]
pub struct CliError {
    text: String,
    exit_code: u8,
}

impl Cli {
    /// The settings of a command line, whose first item is the program's name, over those of this
    /// process's environment and the built-in defaults.
    ///
    /// A flag's value follows as `--flag VALUE` or `--flag=VALUE`. Of a repeated flag the last counts, a
    /// list has them all.
    ///
    /// # Errors
    ///
    /// [`CliError`], whose text is meant to be shown.
    pub fn parse(args: impl IntoIterator<Item: Into<OsString>>) -> Result<Settings, CliError> {
        Self::parse_over(&Layer::environment(), args)
    }

    /// The same over a layer of your own in place of the environment's.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse).
    pub fn parse_over(
        below: &Layer,
        args: impl IntoIterator<Item: Into<OsString>>,
    ) -> Result<Settings, CliError> {
        let args = args.into_iter().map(Into::<OsString>::into);
        let mut matches = command()
            .try_get_matches_from(args)
            .map_err(|error| CliError::clap(&error))?;
        let flags = Layer::command_line(SETTINGS.iter().filter_map(|setting| {
            let values = matches.remove_many(setting.name)?;
            Some((setting, values.collect()))
        }));
        // Gunicorn's own mistakes are status 1, those that argparse finds status 2.
        Settings::load([below]).map_err(|error| CliError::setting(&error, 1))?;
        Settings::load([below, &flags]).map_err(|error| {
            let exit_code = match error {
                SettingError::Negative { .. } => 1,
                _ => USAGE,
            };
            CliError::setting(&error, exit_code)
        })
    }
}

impl CliError {
    /// What the parser of flags has to say. Its type stays in here: it is no part of what programs see.
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

    fn setting(error: &SettingError, exit_code: u8) -> Self {
        Self {
            text: format!("error: {error}\n"),
            exit_code,
        }
    }

    /// The status to exit with: 0 after help and version, 2 for a mistake, and Gunicorn's 1 for a negative
    /// number and for a mistake in the environment.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Shows the text, on the standard output if it was asked for and otherwise on the standard error, and
    /// gives the status for `main` to return. Does not exit.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // Whoever asked may have closed the stream: there is nobody left to tell.
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

fn command() -> Command {
    Command::new("oxicorn")
        .version(concat!("(version ", env!("CARGO_PKG_VERSION"), ")"))
        .about("Serves a WSGI application")
        .disable_version_flag(true)
        .args_override_self(true)
        .args(SETTINGS.iter().map(argument))
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::Version)
                .help("Print version"),
        )
}

/// A row as an argument. Values are taken as they are: their grammar is the table's.
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
        // A negative number is answered by the grammar, not taken for a flag.
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
        let none = Layer::environment_of(|_| None);
        Cli::parse_over(&none, ["serve"].iter().chain(args))
    }

    fn stop(args: &[&str]) -> CliError {
        parse(args).unwrap_err()
    }

    #[test]
    fn the_flag_table_is_sound() {
        command().debug_assert();
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
        let below = Layer::environment_of(|name| (name == "PORT").then(|| "5000".into()));
        let parse = |args: &[&str]| Cli::parse_over(&below, args).unwrap().bind;
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
        let below = Layer::environment_of(|name| (name == "WEB_CONCURRENCY").then(|| "x".into()));
        let stop = Cli::parse_over(&below, ["serve", "-w", "2"]).unwrap_err();
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
    fn help_lists_every_setting_and_is_no_failure() {
        for flag in ["-h", "--help"] {
            let stop = stop(&[flag]);
            assert_eq!(stop.exit_code(), 0);
            let text = stop.to_string();
            for setting in SETTINGS {
                assert!(text.contains(setting.metavar), "{}", setting.name);
                for flag in setting.flags {
                    assert!(text.contains(flag), "{flag}");
                }
            }
            assert!(text.contains("[default: 127.0.0.1:8000]"), "{text}");
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
