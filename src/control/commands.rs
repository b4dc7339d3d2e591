//! [`run`]: what the words of a request mean, and what is answered.

use super::record::Record;
use super::reply::{Reply, number};
use super::{gunicorn, profile, redact, status};
use crate::arbiter::{Completion, Handle, Progress, StackRequest};
use crate::json::Json;
use crate::trace::info;

/// The commands that are this crate's own.
const HELP: &[(&str, &str)] = &[
    ("status", "the arbiter, its workers, and what they do now"),
    ("config", "the settings in force, and where they come from"),
    (
        "reload [--wait]",
        "read the settings again and replace the workers, as HUP",
    ),
    (
        "upgrade [--wait]",
        "start the program anew beside this one, as USR2",
    ),
    (
        "stop [--now] [--wait]",
        "finish what is there and end, as TERM; at once, as INT",
    ),
    (
        "scale N [GROUP] [--wait]",
        "run N workers, of the first group or of that one",
    ),
    ("reopen", "open the log files again, as USR1"),
    (
        "kill N [--now]",
        "replace worker N once another is ready; kill it at once",
    ),
    ("stacks", "the stacks of all threads of all workers, now"),
    (
        "profile SECONDS [RATE]",
        "what all workers spend their time on, as folded stacks",
    ),
    ("help", "this list"),
];

/// Does what is asked for. `may_wait` is whether one more client can wait for a command to end.
pub(super) fn run(
    client: &str,
    words: &[String],
    handle: &Handle,
    record: &Record,
    may_wait: bool,
) -> Reply {
    let (flags, words): (Vec<&str>, Vec<&str>) = words
        .iter()
        .map(String::as_str)
        .partition(|word| word.starts_with("--"));
    let has = |flag: &str| flags.contains(&flag);
    let unknown = flags
        .iter()
        .find(|flag| !["--wait", "--now"].contains(flag));
    if let Some(flag) = unknown {
        return refuse(format!("there is no flag {flag}"));
    }
    let (waits, now) = (has("--wait"), has("--now"));
    if (waits || matches!(words.first(), Some(&("stacks" | "profile")))) && !may_wait {
        return refuse("too many clients wait for commands to end: try again later".to_owned());
    }
    let changes = !matches!(
        words.first(),
        None | Some(&("status" | "config" | "help" | "show"))
    );
    if changes {
        let words = [&words[..], &flags[..]]
            .concat()
            .join(" ")
            .escape_debug()
            .to_string();
        info!("Control socket: {words}, asked for by {client}");
    }
    let command = |completion, name: &str| end_of(completion, name, waits);
    match words[..] {
        ["status"] => Reply::Now(Ok(status::status(handle, record))),
        ["config"] => Reply::Now(Ok(config(record))),
        ["help"] => Reply::Now(Ok(help())),
        ["reload"] => command(handle.reload(), "reload"),
        ["upgrade"] => command(handle.upgrade(), "upgrade"),
        ["reopen"] => command(handle.reopen_logs(), "reopen"),
        ["stop"] if now => command(handle.stop_now(), "stop"),
        ["stop"] => command(handle.stop(), "stop"),
        ["scale", workers] => match number(workers) {
            Ok(workers) => command(handle.scale(workers), "scale"),
            Err(error) => refuse(error),
        },
        ["scale", workers, group] => match number(workers) {
            Ok(workers) => command(handle.scale_group(group, workers), "scale"),
            Err(error) => refuse(error),
        },
        // What comes of it is known at once.
        ["kill", worker] => match number(worker) {
            Ok(worker) if now => end_of(handle.kill(worker), "kill", true),
            Ok(worker) => end_of(handle.recycle(worker), "kill", true),
            Err(error) => refuse(error),
        },
        ["profile", ..] => profile::begin(&words[1..], handle, record),
        ["stacks"] => stacks(handle.stacks()),
        ["scale" | "kill", ..] => refuse(format!("{}: a number is missing", words[0])),
        _ => Reply::Now(gunicorn::run(&words, handle, record).unwrap_or_else(|| {
            let words = words.join(" ");
            Err(format!(
                "there is no command {words:?}: `help` lists them all"
            ))
        })),
    }
}

fn refuse(error: String) -> Reply {
    Reply::Now(Err(error))
}

/// How a command ends, for a client that waits for it; for another one, that it was given.
fn end_of(completion: Completion, name: &str, waits: bool) -> Reply {
    let name = name.to_owned();
    let answer =
        move |how: &str| Json::object([("command", name.as_str().into()), ("status", how.into())]);
    if !waits {
        return match completion.progress() {
            Progress::Failed { reason } => Reply::Now(Err(reason)),
            _ => Reply::Now(Ok(answer("given"))),
        };
    }
    Reply::Later(Box::new(move || match completion.progress() {
        Progress::Done => Some(Ok(answer("done"))),
        Progress::Failed { reason } => Some(Err(reason)),
        Progress::Queued | Progress::Taken | Progress::HandedOver => None,
    }))
}

fn stacks(request: StackRequest) -> Reply {
    Reply::Later(Box::new(move || {
        let stacks = match request.take() {
            Ok(stacks) => stacks?,
            Err(error) => return Some(Err(error.to_string())),
        };
        let workers: Json = stacks
            .into_iter()
            .map(|it| {
                Json::object([
                    ("id", it.id.into()),
                    ("pid", it.pid.into()),
                    ("stacks", it.text.map_or(Json::Null, Json::Text)),
                ])
            })
            .collect();
        Some(Ok(Json::object([("workers", workers)])))
    }))
}

fn config(record: &Record) -> Json {
    let settings = redact::listing(&record.settings)
        .into_iter()
        .map(|(name, value, origin)| {
            Json::object([
                ("name", name.into()),
                ("value", value.into()),
                ("origin", origin.into()),
            ])
        });
    Json::object([("settings", settings.collect())])
}

fn help() -> Json {
    let all = HELP.iter().chain(gunicorn::HELP);
    let commands = all.map(|&(name, meaning)| (name.to_owned(), meaning.into()));
    Json::object([("commands", Json::Object(commands.collect()))])
}
