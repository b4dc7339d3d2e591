//! `ctl`: the client of the control socket, as a subcommand of the server's own program.
//!
//! ```text
//!   shopd ctl --socket /run/shopd.ctl status
//! ```
//!
//! Its exit status is 0 for a command that was done or taken, 1 for one that was refused or has failed, 2 for a mistake in
//! the command line, and 3 where no server answers.

mod client;
#[cfg(feature = "profile")]
mod flame;
mod render;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};

use super::Command;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::sys::terminal;
use client::Client;

/// The name of the subcommand.
pub(super) const CTL: &str = "ctl";

/// The exit status where a command has failed.
const FAILED: u8 = 1;
/// The exit status where no server answers.
const UNREACHABLE: u8 = 3;
/// How long an answer may take to which nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a command has ended when it is answered.
fn wait_flag() -> Arg {
    Arg::new("wait")
        .long("wait")
        .action(ArgAction::SetTrue)
        .help("Wait until it has ended, and tell how")
}

fn now_flag(help: &'static str) -> Arg {
    let flag = Arg::new("now").long("now").action(ArgAction::SetTrue);
    flag.help(help)
}

fn word(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(name).help(help)
}

fn sub(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name).about(about)
}

/// Where a flame graph goes.
#[cfg(feature = "profile")]
fn output() -> [Arg; 1] {
    let flag = Arg::new("svg").long("svg").value_name("FILE");
    let flag = flag.value_parser(value_parser!(OsString));
    [flag
        .value_hint(ValueHint::FilePath)
        .help("Draw a flame graph into this file")]
}

/// There is no feature `profile`.
#[cfg(not(feature = "profile"))]
fn output() -> [Arg; 0] {
    []
}

/// The subcommand, for a parser. Without a socket of the program's own one has to be named.
pub(super) fn subcommand(default: Option<OsString>) -> clap::Command {
    let socket = Arg::new("socket")
        .short('s')
        .long("socket")
        .value_name("PATH")
        .value_parser(value_parser!(OsString))
        .value_hint(ValueHint::FilePath)
        .global(true)
        .help("The server's control_socket");
    let json = Arg::new("json")
        .short('j')
        .long("json")
        .action(ArgAction::SetTrue)
        .global(true)
        .help("Print the answer as JSON, on one line");
    let once = Arg::new("once").long("once").action(ArgAction::SetTrue);
    let once = once.help("Print it once, also on a terminal");
    let number = |name: &'static str, help: &'static str| {
        let number = word(name, help).value_parser(value_parser!(u64));
        number.required(true)
    };
    let rate = Arg::new("RATE")
        .long("rate")
        .value_name("N")
        .value_parser(value_parser!(u64).range(1..=100))
        .help("How many samples a second (97)");
    sub(CTL, "Ask a running server, and command it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(match default {
            Some(path) => socket.default_value(path),
            None => socket,
        })
        .arg(json)
        .subcommands([
            sub(
                "status",
                "Show the workers and what they do, again and again on a terminal",
            )
            .arg(once),
            sub(
                "config",
                "Show the settings in force, without secrets, and where they come from",
            ),
            sub("reload", "Read the settings again and replace the workers").arg(wait_flag()),
            sub("upgrade", "Start the program anew beside the running one").arg(wait_flag()),
            sub("stop", "Finish what is there, and end")
                .arg(now_flag("End at once, giving up what is there"))
                .arg(wait_flag()),
            sub("scale", "Run so many workers")
                .arg(number("N", "How many workers"))
                .arg(word(
                    "GROUP",
                    "The group of workers; the first one by default",
                ))
                .arg(wait_flag()),
            sub("reopen", "Open the log files again"),
            sub("kill", "Replace a worker, once another one is ready")
                .arg(number("N", "The worker's number"))
                .arg(now_flag("Kill it at once: its requests are lost")),
            sub("profile", "Show what all workers spend their time on")
                .arg(number("SECONDS", "For how long stacks are sampled"))
                .arg(rate)
                .args(output()),
            sub("stacks", "Show what all threads of all workers are doing"),
        ])
}

/// Does what `ctl` was asked for. The text that comes of it is an error, as that of `--help` is.
pub(super) fn run(matches: &ArgMatches) -> Result<()> {
    let Some((name, matches)) = matches.subcommand() else {
        return Ok(());
    };
    let Some(path) = matches.get_one::<OsString>("socket") else {
        return Err(Error::command_line(
            "the path of a control socket is missing (--socket PATH)",
            super::USAGE,
        ));
    };
    let has = |flag| matches!(matches.try_get_one::<bool>(flag), Ok(Some(true)));
    let json = has("json");
    let mut client = Client::connect(PathBuf::from(path))?;
    if name == "status" && !json && !has("once") && terminal::is_capable(&std::io::stdout()) {
        return Err(watch::run(&mut client));
    }
    let mut args = Vec::new();
    for number in ["N", "SECONDS", "RATE"] {
        if let Ok(Some(number)) = matches.try_get_one::<u64>(number) {
            args.push(number.to_string());
        }
    }
    if let Ok(Some(group)) = matches.try_get_one::<String>("GROUP") {
        args.push(group.clone());
    }
    let flags = ["wait", "now"].into_iter().filter(|flag| has(flag));
    args.extend(flags.map(|flag| format!("--{flag}")));
    let answer = if name == "stop" && has("wait") {
        client.ask_for_the_end(&args)?
    } else {
        // A profile takes as long as it was told.
        let patience = (!has("wait") && name != "profile").then_some(PATIENCE);
        client.ask(name, &args, patience)?
    };
    #[cfg(feature = "profile")]
    if let Ok(Some(file)) = matches.try_get_one::<OsString>("svg") {
        return Err(flame::draw(&answer, file.as_ref()));
    }
    let text = if json {
        answer.to_string()
    } else {
        render::text(name, &answer)
    };
    Err(Error::command_line(text, 0))
}

impl Command {
    /// The control socket that the program has by default.
    pub(super) fn default_socket(&self) -> Option<OsString> {
        let mut defaults = self.defaults.iter().rev();
        let default = defaults.find(|(name, _)| *name == "control_socket");
        default.map(|(_, path)| path.clone())
    }
}

/// The answer of a command that was taken or done.
fn acknowledged(command: &str, status: &str) -> Json {
    Json::object([("command", command.into()), ("status", status.into())])
}
