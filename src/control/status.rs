//! What the status is made of, as JSON: no query string of a request, and nothing of its headers.

use std::process;
use std::time::Duration;

use super::record::Record;
use crate::arbiter::{CurrentRequest, Handle, WorkerStatus};
use crate::json::Json;
use crate::metrics::{path, restart_word, state_word, worker_state_word};
use crate::time::MonoTime;

/// The answer to `status`.
pub(super) fn status(handle: &Handle, record: &Record) -> Json {
    let status = handle.status();
    let totals = handle.totals();
    let requests = totals.as_ref().map_or(status.requests, |it| it.requests);
    let restarts = totals.iter().flat_map(|it| &it.restarts);
    let restarts = restarts.filter(|(_, count)| **count > 0);
    let restarts =
        restarts.map(|(cause, count)| (restart_word(*cause).to_owned(), (*count).into()));
    Json::object([
        ("pid", Json::from(u64::from(process::id()))),
        ("state", state_word(status.state).into()),
        ("uptime", seconds(MonoTime::now().since(record.begun))),
        ("target", status.target.into()),
        ("ready", status.ready.into()),
        ("connections", status.connections.into()),
        ("requests", requests.into()),
        ("restarts", Json::Object(restarts.collect())),
        ("reloads", record.reloads.into()),
        ("listeners", addresses(record)),
        ("workers", handle.workers().iter().map(worker).collect()),
    ])
}

fn addresses(record: &Record) -> Json {
    record
        .listeners
        .iter()
        .map(|it| it.address.as_str())
        .collect()
}

pub(super) fn worker(worker: &WorkerStatus) -> Json {
    Json::object([
        ("id", worker.id.into()),
        ("group", (&*worker.group).into()),
        ("generation", worker.generation.into()),
        ("pid", worker.pid.into()),
        ("threads", u64::from(worker.threads).into()),
        ("memory", worker.memory().map_or(Json::Null, Json::from)),
        ("age", seconds(worker.age)),
        ("state", worker_state_word(worker.state).into()),
        ("connections", u64::from(worker.connections).into()),
        ("requests", worker.requests.into()),
        ("current", worker.current.iter().map(current).collect()),
    ])
}

fn current(request: &CurrentRequest) -> Json {
    Json::object([
        ("method", request.method.as_str().into()),
        ("path", path(&request.target).into()),
        ("seconds", seconds(request.age)),
    ])
}

/// Seconds with three decimals.
pub(super) fn seconds(time: Duration) -> Json {
    Json::Float((time.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_without_its_query_string() {
        let request = CurrentRequest {
            method: "GET".to_owned(),
            target: "/a?token=hunter2".to_owned(),
            age: Duration::from_millis(1_250),
            thread: 1,
        };
        let shown = current(&request).to_string();
        assert_eq!(shown, r#"{"method":"GET","path":"/a","seconds":1.25}"#);
    }
}
