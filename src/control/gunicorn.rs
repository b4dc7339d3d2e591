//! Gunicorn's own commands, for its client `gunicornc`: `show`, `worker`, `dirty` and `shutdown`.

use std::process;

use super::record::Record;
use super::redact;
use super::reply::{Outcome, number};
use super::status::seconds;
use crate::arbiter::{Handle, Progress, WorkerStatus};
use crate::ipc::scoreboard::WorkerState;
use crate::json::Json;
use crate::time::MonoTime;

/// What `help` lists of them.
pub(super) const HELP: &[(&str, &str)] = &[
    ("show all", "the arbiter and its workers, for gunicornc"),
    ("show workers", "the workers, for gunicornc"),
    (
        "show config",
        "the settings without their origins, for gunicornc",
    ),
    ("show stats", "counts of the arbiter, for gunicornc"),
    ("show listeners", "the listening sockets, for gunicornc"),
    ("worker add [N]", "N more workers (default 1)"),
    (
        "worker remove [N]",
        "N fewer workers (default 1), but never none",
    ),
    ("worker kill PID", "replace the worker with that process id"),
    ("shutdown [graceful|quick]", "as stop, and as stop --now"),
];

/// The answer to one of them; `None` where the words are none of Gunicorn's.
pub(super) fn run(words: &[&str], handle: &Handle, record: &Record) -> Option<Outcome> {
    let outcome = match *words {
        ["show", "all"] => Ok(all(handle)),
        ["show", "workers"] => Ok(workers(handle)),
        ["show", "config"] => Ok(Json::Object(
            redact::listing(&record.settings)
                .into_iter()
                .map(|(name, value, _)| (name, value.into()))
                .collect(),
        )),
        ["show", "stats"] => Ok(stats(handle, record)),
        ["show", "listeners"] => Ok(listeners(record)),
        ["show", "dirty"] => Ok(Json::object([
            ("enabled", false.into()),
            ("pid", Json::Null),
            ("workers", Json::List(Vec::new())),
            ("apps", Json::List(Vec::new())),
        ])),
        ["show", ..] => {
            Err("show what? all, workers, dirty, config, stats or listeners".to_owned())
        }
        ["worker", "add"] => resize(handle, 1),
        ["worker", "remove"] => resize(handle, -1),
        ["worker", "add", count] => number(count).and_then(|by| resize(handle, by)),
        ["worker", "remove", count] => number(count).and_then(|by: i64| resize(handle, -by)),
        ["worker", "kill", pid] => number(pid).map(|pid| kill(handle, pid)),
        ["worker", ..] => Err("worker add [N], worker remove [N], or worker kill PID".to_owned()),
        ["dirty", ..] => Ok(failure("there are no dirty arbiters here".to_owned())),
        ["shutdown"] | ["shutdown", "graceful"] => {
            handle.stop();
            Ok(shutting_down("graceful"))
        }
        ["shutdown", "quick"] => {
            handle.stop_now();
            Ok(shutting_down("quick"))
        }
        _ => return None,
    };
    Some(outcome)
}

fn shutting_down(mode: &str) -> Json {
    Json::object([("status", "shutting_down".into()), ("mode", mode.into())])
}

fn failure(error: String) -> Json {
    Json::object([("success", false.into()), ("error", error.into())])
}

fn worker(worker: &WorkerStatus) -> Vec<(&'static str, Json)> {
    vec![
        ("pid", worker.pid.into()),
        ("age", worker.id.into()),
        ("booted", (worker.state != WorkerState::Starting).into()),
        ("last_heartbeat", seconds(worker.silence)),
    ]
}

fn object(members: Vec<(&'static str, Json)>) -> Json {
    let members = members.into_iter();
    Json::Object(
        members
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn workers(handle: &Handle) -> Json {
    let workers: Vec<Json> = handle
        .workers()
        .iter()
        .map(|it| object([worker(it), vec![("aborted", false.into())]].concat()))
        .collect();
    let count = workers.len().into();
    Json::object([("workers", Json::List(workers)), ("count", count)])
}

fn all(handle: &Handle) -> Json {
    let workers: Vec<Json> = handle
        .workers()
        .iter()
        .map(|it| object([vec![("type", "web".into())], worker(it)].concat()))
        .collect();
    let count = workers.len().into();
    let arbiter = Json::object([
        ("pid", u64::from(process::id()).into()),
        ("type", "arbiter".into()),
        ("role", "master".into()),
    ]);
    Json::object([
        ("arbiter", arbiter),
        ("web_workers", Json::List(workers)),
        ("web_worker_count", count),
        ("dirty_arbiter", Json::Null),
        ("dirty_workers", Json::List(Vec::new())),
        ("dirty_worker_count", 0.into()),
    ])
}

fn stats(handle: &Handle, record: &Record) -> Json {
    let status = handle.status();
    Json::object([
        ("uptime", seconds(MonoTime::now().since(record.begun))),
        ("pid", u64::from(process::id()).into()),
        ("workers_current", status.workers.into()),
        ("workers_target", status.target.into()),
        ("workers_spawned", record.spawned.into()),
        ("workers_killed", record.exited.into()),
        ("reloads", record.reloads.into()),
        ("dirty_arbiter_pid", Json::Null),
    ])
}

fn listeners(record: &Record) -> Json {
    let listeners: Vec<Json> = record
        .listeners
        .iter()
        .map(|it| {
            Json::object([
                ("address", it.address.as_str().into()),
                ("fd", it.fd.into()),
                ("type", it.kind.into()),
            ])
        })
        .collect();
    let count = listeners.len().into();
    Json::object([("listeners", Json::List(listeners)), ("count", count)])
}

/// More workers, or fewer, but never none.
fn resize(handle: &Handle, by: i64) -> Result<Json, String> {
    let before = handle.status().target;
    let after = i64::try_from(before)
        .unwrap_or(i64::MAX)
        .saturating_add(by)
        .max(1);
    let completion = handle.scale(usize::try_from(after).unwrap_or(usize::MAX));
    if let Progress::Failed { reason } = completion.progress() {
        return Err(reason);
    }
    let after = usize::try_from(after).unwrap_or(usize::MAX);
    Ok(Json::object([
        if by > 0 {
            ("added", after.saturating_sub(before).into())
        } else {
            ("removed", before.saturating_sub(after).into())
        },
        ("previous", before.into()),
        ("total", after.into()),
    ]))
}

/// Replaces a worker.
fn kill(handle: &Handle, pid: i32) -> Json {
    let workers = handle.workers();
    match workers.iter().find(|it| it.pid == pid) {
        Some(worker) => {
            handle.recycle(worker.id);
            Json::object([("success", true.into()), ("killed", pid.into())])
        }
        None => failure(format!("there is no worker with pid {pid}")),
    }
}
