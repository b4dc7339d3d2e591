//! `--completions` and `--man`: completions for a shell and a manual page, made from the parser of flags.

use std::io::{self, Write as _};

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::Command;
use crate::error::{Error, Result};

/// The flag that shows the completions for a shell.
pub(super) const COMPLETIONS: &str = "completions";

/// The flag that shows the manual page.
pub(super) const MAN: &str = "man";

pub(super) fn arguments() -> [Arg; 2] {
    [
        Arg::new(COMPLETIONS)
            .long(COMPLETIONS)
            .value_name("SHELL")
            .value_parser(value_parser!(Shell))
            .help("Print completions for a shell."),
        Arg::new(MAN)
            .long(MAN)
            .action(ArgAction::SetTrue)
            .help("Print the manual page, for man(1)."),
    ]
}

impl Command {
    /// The text that the flags ask for, as an error with the status 0.
    pub(super) fn show_manual(&self, matches: &mut ArgMatches) -> Result<()> {
        let mut text = Vec::new();
        let mut parser = self.parser(true).version(self.version);
        if let Some(shell) = matches.remove_one::<Shell>(COMPLETIONS) {
            generate(shell, &mut parser, self.name, &mut text);
            if shell == Shell::Fish {
                text = with_values_in_fish(&text);
            }
        } else if matches.get_flag(MAN) {
            let usage = parser.render_usage().to_string();
            let written = write_page(&mut text, &Man::new(parser), &usage);
            written.map_err(|error| Error::io("cannot make the manual page", error))?;
        } else {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&text);
        Err(Error::command_line(text.trim_end().to_owned(), 0))
    }
}

/// The completions for fish, where they also offer the value of a flag before a command.
///
/// `clap_complete` asks fish's `argparse` whether a command was typed. It fails for a flag whose value is still to come, and
/// that was taken for a command: nothing of the program was offered then.
fn with_values_in_fish(script: &[u8]) -> Vec<u8> {
    const FAILS: &str = "2>/dev/null\n    or return\n";
    const NO_COMMAND: &str = "2>/dev/null\n    or return 0\n";
    let script = String::from_utf8_lossy(script);
    script.replace(FAILS, NO_COMMAND).into_bytes()
}

/// Writes a page for `man(7)`. Its synopsis is the line of usage: one with each flag would be a page of its own.
fn write_page(out: &mut Vec<u8>, page: &Man, usage: &str) -> io::Result<()> {
    page.render_title(out)?;
    page.render_name_section(out)?;
    writeln!(out, ".SH SYNOPSIS\n{}", usage.trim_start_matches("Usage: "))?;
    page.render_options_section(out)?;
    page.render_subcommands_section(out)?;
    page.render_extra_section(out)?;
    page.render_version_section(out)
}
