//! `/status`: a [`Snapshot`] as JSON.

use crate::control::status::{seconds, worker};
use crate::json::Json;
use crate::metrics::{Snapshot, refusal_word, restart_word, state_word};

pub(super) fn json(snapshot: &Snapshot) -> Json {
    let status = &snapshot.status;
    let totals = snapshot.totals.as_ref();
    let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let responses = totals.map_or([0; 6], |it| it.responses);
    let refused = totals.iter().flat_map(|it| &it.refusals);
    let refused = refused.map(|(cause, count)| (refusal_word(*cause), *count));
    let restarts = totals.iter().flat_map(|it| &it.restarts);
    let restarts = restarts.map(|(cause, count)| (restart_word(*cause), *count));
    let backlogs = snapshot.backlogs.iter();
    let backlogs = backlogs.map(|it| (&*it.address, it.waiting));
    Json::object([
        ("ready", snapshot.readiness.is_ready().into()),
        ("readiness", snapshot.readiness.to_string().into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("pid", status.pid.into()),
        ("state", state_word(status.state).into()),
        ("generation", status.generation.into()),
        ("uptime", seconds(status.uptime)),
        ("busy", seconds(status.busy)),
        ("target", status.target.into()),
        ("serving", status.ready.into()),
        ("in_flight", snapshot.in_flight().into()),
        ("connections", status.connections.into()),
        ("backlog", counts(backlogs)),
        ("requests", counts(classes.into_iter().zip(responses))),
        ("refused", counts(refused)),
        ("restarts", counts(restarts)),
        ("workers", snapshot.workers.iter().map(worker).collect()),
    ])
}

fn counts<'w>(counts: impl Iterator<Item = (&'w str, u64)>) -> Json {
    Json::Object(
        counts
            .map(|(word, count)| (word.to_owned(), count.into()))
            .collect(),
    )
}
