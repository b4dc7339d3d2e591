//! Settings as arguments of the parser of flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, ValueHint, value_parser};

use super::ctl;
#[cfg(feature = "manual")]
use super::manual;
use super::{CHECK_CONFIG, Command, HELP_ALL, PRINT_CONFIG};
use crate::config::{Form, OwnSetting, SETTINGS, Setting, Unserved};
use crate::error::{Error, Result};

/// The most columns of a line of help. A narrower terminal has fewer.
const WIDTH: usize = 100;

impl Command {
    /// The parser, with all settings in its help or only those that are used most.
    pub(super) fn parser(&self, all: bool) -> clap::Command {
        let word = |id, help| Arg::new(id).long(id).action(ArgAction::SetTrue).help(help);
        let program = |argument: Arg| argument.help_heading("Program");
        let defaults = |name: &str| {
            let values = self.defaults.iter().filter(|(setting, _)| *setting == name);
            let values = values.map(|(_, value)| value.to_string_lossy());
            Some(values.collect::<Vec<_>>().join(",")).filter(|text| !text.is_empty())
        };
        let command = clap::Command::new(self.name)
            .version(format!("(version {})", self.version))
            .about(self.about)
            .after_help(self.shown_examples())
            .max_term_width(WIDTH)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
            .args(self.table().enumerate().map(|(index, setting)| {
                let default = defaults(setting.name).or_else(|| setting.default());
                // In each section the common ones come first.
                let order = if setting.common {
                    index
                } else {
                    index + SETTINGS.len()
                };
                row(setting, default)
                    .display_order(order)
                    .hide(!all && !setting.common)
            }))
            // No help lists them.
            .args(self.unserved().filter(|_| !all).map(unserved_argument))
            .args(
                self.own
                    .iter()
                    .filter(|own| own.has_flag())
                    .map(|own| argument(own, defaults(own.name))),
            );
        #[cfg(any(feature = "toml", feature = "wsgi"))]
        let command = command.args(self.config_argument().map(program));
        #[cfg(feature = "manual")]
        let command = command.args(manual::arguments().map(program));
        let command = command
            .subcommand(ctl::subcommand(self.default_socket()))
            .args_conflicts_with_subcommands(true)
            .disable_help_subcommand(true);
        let help = Arg::new("help")
            .short('h')
            .long("help")
            .action(ArgAction::Help);
        let version = Arg::new("version").short('v').long("version");
        command.args(
            [
                word(
                    PRINT_CONFIG,
                    "Print each setting with its value and its origin.",
                ),
                word(
                    CHECK_CONFIG,
                    "Read all settings, load the application, and end.",
                ),
                help.help("Print help for the settings that are used most."),
                word(HELP_ALL, "Print help for all settings."),
                version
                    .action(ArgAction::Version)
                    .help("Print the version."),
            ]
            .map(program),
        )
    }

    /// The examples, each behind a line that says what it does.
    fn shown_examples(&self) -> String {
        let mut text = String::new();
        for (arguments, meaning) in &self.examples {
            let head = if text.is_empty() { "Examples:" } else { "" };
            // Writing to memory cannot fail.
            let _ = write!(text, "{head}\n  # {meaning}\n  {} {arguments}\n", self.name);
        }
        text
    }

    /// A name or a flag that two settings have is a mistake of the program.
    pub(super) fn check(&self) -> Result<()> {
        let mut taken: BTreeMap<String, &str> = [
            "help",
            "h",
            "version",
            "v",
            HELP_ALL,
            PRINT_CONFIG,
            CHECK_CONFIG,
        ]
        .map(|flag| (flag.to_owned(), flag))
        .into();
        for setting in self.table() {
            let flags = setting.flags.iter();
            let flags = flags.map(|flag| flag.trim_start_matches('-').to_owned());
            taken.extend(flags.map(|flag| (flag, setting.name)));
        }
        #[cfg(feature = "manual")]
        taken.extend([manual::COMPLETIONS, manual::MAN].map(|flag| (flag.to_owned(), flag)));
        #[cfg(any(feature = "toml", feature = "wsgi"))]
        taken.extend(self.config_flags().map(|flag| (flag.to_owned(), flag)));
        for own in &self.own {
            if Setting::named(own.name).is_some() {
                let (program, name) = (self.name, own.name);
                return Err(Error::config(format!(
                    "{program} has a setting of its own that is called '{name}', as one of the table is"
                )));
            }
            if !own.has_flag() {
                continue;
            }
            let short = own.short.map(String::from);
            for flag in short.into_iter().chain([own.long()]) {
                if let Some(other) = taken.insert(flag.clone(), own.name) {
                    return Err(Error::config(format!(
                        "the settings {other} and {} of {} have one flag, {flag}",
                        own.name, self.name
                    )));
                }
            }
        }
        Ok(())
    }
}

/// A row of the table as an argument. Values are taken as they are: the table's parsers read them.
fn row(setting: &'static Setting, default: Option<String>) -> Arg {
    let mut help = setting.help.to_owned();
    // Writing to memory cannot fail.
    if let Some(variable) = setting.variable {
        let _ = write!(help, " [environment: {}]", variable.name);
    }
    let mut argument = valued(setting.name, setting.metavar, setting.repeats)
        .help_heading(setting.section)
        .help(with_default(help, default));
    if let Some(bare) = setting.bare {
        argument = may_stand_bare(argument, bare, setting.is_switch());
    }
    flagged(argument, setting.flags)
}

/// A flag of Gunicorn's that has no row of the table. Its value is refused or has no effect.
fn unserved_argument(row: &'static Unserved) -> Arg {
    let argument = Arg::new(row.name)
        .value_parser(value_parser!(OsString))
        .action(ArgAction::Append)
        .hide(true);
    let argument = if row.takes_value {
        argument
    } else {
        may_stand_bare(argument, "true", true)
    };
    flagged(argument, row.flags)
}

fn flagged(mut argument: Arg, flags: &'static [&'static str]) -> Arg {
    for flag in flags {
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

/// A setting of the program's own as an argument.
fn argument(own: &OwnSetting, default: Option<String>) -> Arg {
    let mut argument = valued(own.name, own.metavar, own.form == Form::List)
        .long(own.long())
        .help(with_default(own.help.to_owned(), default));
    if let Some(short) = own.short {
        argument = argument.short(short);
    }
    if own.form == Form::Switch {
        argument = may_stand_bare(argument, "true", true);
    }
    argument
}

fn valued(name: &'static str, metavar: &'static str, repeats: bool) -> Arg {
    Arg::new(name)
        .value_name(metavar)
        .value_parser(value_parser!(OsString))
        .value_hint(match metavar {
            "PATH" | "FILE" => ValueHint::AnyPath,
            "USER" => ValueHint::Username,
            _ => ValueHint::Unknown,
        })
        // The setting's parser refuses a negative number. It is no flag.
        .allow_negative_numbers(true)
        .action(if repeats {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
}

fn with_default(mut help: String, default: Option<String>) -> String {
    if let Some(default) = default {
        let _ = write!(help, " [default: {default}]");
    }
    help
}

/// The flag may be given without a value. That of a switch takes none from the next argument, which may be the name of the
/// application.
fn may_stand_bare(argument: Arg, bare: &'static str, switch: bool) -> Arg {
    argument
        .num_args(0..=1)
        .require_equals(switch)
        .default_missing_value(bare)
}
