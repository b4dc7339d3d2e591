//! [`FAMILIES`]: the table of all metrics: names, kinds, meanings, and where their samples come from.
//!
//! From it are made the texts of [`exposition`](super::exposition) and `docs/METRICS.md`. Names follow
//! <https://prometheus.io/docs/practices/naming/>.

use std::fmt::Display;
use std::time::Duration;

use super::Snapshot;
use crate::access::RefusalCause;
use crate::arbiter::{ArbiterState, Durations, Outcomes, RestartCause, Totals};
use crate::ipc::exemplars::Exemplar;
use crate::ipc::scoreboard::WorkerState;

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Facts as labels of a sample that is always 1.
    Info,
}

/// One metric.
pub(super) struct Family {
    /// Without the suffix of its kind.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The labels, for the document.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test makes the document"))]
    pub(super) labels: &'static str,
    pub(super) help: &'static str,
    pub(super) samples: fn(&Snapshot, &mut Samples<'_>),
}

/// Where the samples of a family go.
pub(super) struct Samples<'o>(pub(super) &'o mut dyn FnMut(Sample<'_>));

/// One sample: what follows its family's name, its labels, its value.
pub(super) struct Sample<'s> {
    pub(super) suffix: &'static str,
    pub(super) labels: &'s [(&'static str, &'s str)],
    pub(super) value: &'s dyn Display,
    pub(super) exemplar: Option<&'s Exemplar>,
}

impl Samples<'_> {
    fn one(&mut self, value: impl Display) {
        self.labelled(&[], value);
    }

    fn labelled(&mut self, labels: &[(&'static str, &str)], value: impl Display) {
        self.suffixed("", labels, &value, None);
    }

    fn suffixed(
        &mut self,
        suffix: &'static str,
        labels: &[(&'static str, &str)],
        value: &dyn Display,
        exemplar: Option<&Exemplar>,
    ) {
        (self.0)(Sample {
            suffix,
            labels,
            value,
            exemplar,
        });
    }

    /// There may be fewer exemplars than buckets.
    fn histogram(&mut self, durations: &Durations, exemplars: &[Option<Exemplar>]) {
        let mut count = 0;
        for (index, (bound, within)) in durations.buckets.iter().enumerate() {
            let bound = bound.map_or("+Inf".to_owned(), |it| format!("{:?}", it.as_secs_f64()));
            count = *within;
            let exemplar = exemplars.get(index).and_then(Option::as_ref);
            self.suffixed("_bucket", &[("le", &bound)], within, exemplar);
        }
        self.suffixed("_sum", &[], &durations.sum.as_secs_f64(), None);
        self.suffixed("_count", &[], &count, None);
    }

    fn outcomes(&mut self, outcomes: Outcomes) {
        self.labelled(&[("outcome", "succeeded")], outcomes.succeeded);
        self.labelled(&[("outcome", "failed")], outcomes.failed);
    }
}

const STATES: [(ArbiterState, &str); 6] = [
    (ArbiterState::Starting, "starting"),
    (ArbiterState::Serving, "serving"),
    (ArbiterState::Reloading, "reloading"),
    (ArbiterState::Quiesced, "quiesced"),
    (ArbiterState::Stopping, "stopping"),
    (ArbiterState::Ended, "ended"),
];

const WORKER_STATES: [(WorkerState, &str); 4] = [
    (WorkerState::Starting, "starting"),
    (WorkerState::Ready, "ready"),
    (WorkerState::Busy, "busy"),
    (WorkerState::Draining, "draining"),
];

/// The word for a state of the arbiter, in labels and pages.
pub(crate) fn state_word(state: ArbiterState) -> &'static str {
    let known = STATES.iter().find(|(known, _)| *known == state);
    known.map_or("unknown", |(_, word)| word)
}

/// The word for a state of a worker.
pub(crate) fn worker_state_word(state: WorkerState) -> &'static str {
    let known = WORKER_STATES.iter().find(|(known, _)| *known == state);
    known.map_or("empty", |(_, word)| word)
}

/// The word for the cause of a restart.
pub(crate) fn restart_word(cause: RestartCause) -> &'static str {
    match cause {
        RestartCause::Requests => "max_requests",
        RestartCause::Age => "max_worker_age",
        RestartCause::Memory => "max_worker_memory",
        RestartCause::Timeout => "timeout",
        RestartCause::BootTimeout => "boot_timeout",
        RestartCause::RequestTimeout => "request_timeout",
        RestartCause::BootFailure => "boot_failure",
        RestartCause::Signal => "signal",
        RestartCause::Exit => "exit",
    }
}

/// The word for the cause of a refusal.
pub(crate) fn refusal_word(cause: RefusalCause) -> &'static str {
    match cause {
        RefusalCause::Malformed => "malformed",
        RefusalCause::TooSlow => "too_slow",
        RefusalCause::TooLarge => "too_large",
        RefusalCause::NoRoom => "no_room",
        RefusalCause::ServiceFailed => "service_failed",
        RefusalCause::CallTimeout => "call_timeout",
    }
}

fn with_totals(snapshot: &Snapshot, write: impl FnOnce(&Totals)) {
    if let Some(totals) = &snapshot.totals {
        write(totals);
    }
}

const fn family(
    name: &'static str,
    kind: Kind,
    labels: &'static str,
    help: &'static str,
    samples: fn(&Snapshot, &mut Samples<'_>),
) -> Family {
    Family {
        name,
        kind,
        labels,
        help,
        samples,
    }
}

/// All metrics.
pub(super) const FAMILIES: &[Family] = &[
    family(
        "oxicorn_build",
        Kind::Info,
        "`version`",
        "Version of the server.",
        |_, to| to.labelled(&[("version", env!("CARGO_PKG_VERSION"))], 1),
    ),
    family(
        "oxicorn_ready",
        Kind::Gauge,
        "",
        "Whether the server is ready, as /readyz says.",
        |it, to| to.one(u8::from(it.readiness.is_ready())),
    ),
    family(
        "oxicorn_arbiter_state",
        Kind::Gauge,
        "`state`",
        "1 for the state that the arbiter is in, 0 for the others.",
        |it, to| {
            for (state, word) in STATES {
                to.labelled(&[("state", word)], u8::from(it.status.state == state));
            }
        },
    ),
    family(
        "oxicorn_arbiter_uptime_seconds",
        Kind::Gauge,
        "",
        "Time since the arbiter that answers has started.",
        |it, to| to.one(it.status.uptime.as_secs_f64()),
    ),
    family(
        "oxicorn_arbiter_busy_seconds",
        Kind::Gauge,
        "",
        "Time that the arbiter has spent in the step that it is in, such as a configuration file or a hook; 0 while it waits.",
        |it, to| to.one(it.status.busy.as_secs_f64()),
    ),
    family(
        "oxicorn_generation",
        Kind::Gauge,
        "",
        "Number of the newest generation of settings. Each reload whose settings can be read adds one for each group of workers.",
        |it, to| to.one(it.status.generation),
    ),
    family(
        "oxicorn_reloads",
        Kind::Counter,
        "`outcome`: succeeded, failed",
        "Reloads, by whether the new settings were taken.",
        |it, to| with_totals(it, |totals| to.outcomes(totals.reloads)),
    ),
    family(
        "oxicorn_upgrades",
        Kind::Counter,
        "`outcome`: succeeded, failed",
        "Upgrades, by whether the next arbiter was ready.",
        |it, to| with_totals(it, |totals| to.outcomes(totals.upgrades)),
    ),
    family(
        "oxicorn_workers_target",
        Kind::Gauge,
        "",
        "Number of workers that there are to be.",
        |it, to| to.one(it.status.target),
    ),
    family(
        "oxicorn_workers",
        Kind::Gauge,
        "`state`: starting, ready, busy, draining",
        "Workers by state. A busy worker can take no further request.",
        |it, to| {
            for (state, word) in WORKER_STATES {
                to.labelled(&[("state", word)], it.workers_in(state));
            }
        },
    ),
    family(
        "oxicorn_threads",
        Kind::Gauge,
        "`state`: busy, idle",
        "Threads that answer a request, and threads of serving workers that could.",
        |it, to| {
            to.labelled(&[("state", "busy")], it.in_flight());
            to.labelled(&[("state", "idle")], it.idle_threads());
        },
    ),
    family(
        "oxicorn_oldest_request_seconds",
        Kind::Gauge,
        "",
        "Age of the oldest request that is being answered; 0 without one.",
        |it, to| {
            let calls = it
                .workers
                .iter()
                .filter_map(|worker| worker.current.first());
            let oldest = calls.map(|call| call.age).max().unwrap_or(Duration::ZERO);
            to.one(oldest.as_secs_f64());
        },
    ),
    family(
        "oxicorn_connections",
        Kind::Gauge,
        "",
        "Open connections of all workers.",
        |it, to| to.one(it.status.connections),
    ),
    family(
        "oxicorn_listener_backlog",
        Kind::Gauge,
        "`listener`: its address",
        "Connections that wait at a listener until a worker accepts them. Without a sample where the system does not tell.",
        |it, to| {
            for backlog in &it.backlogs {
                to.labelled(&[("listener", &backlog.address)], backlog.waiting);
            }
        },
    ),
    family(
        "oxicorn_requests",
        Kind::Counter,
        "`status`: 1xx to 5xx, none",
        "Requests that were answered or refused, by the class of their status; none where the client left before.",
        |it, to| {
            with_totals(it, |totals| {
                let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
                for (class, count) in classes.into_iter().zip(totals.responses) {
                    to.labelled(&[("status", class)], count);
                }
            });
        },
    ),
    family(
        "oxicorn_request_duration_seconds",
        Kind::Histogram,
        "",
        "Time from the complete head of a request to the end of its response. OpenMetrics has ids of requests as exemplars where request_id is on.",
        |it, to| with_totals(it, |totals| to.histogram(&totals.durations, &it.exemplars)),
    ),
    family(
        "oxicorn_request_first_byte_seconds",
        Kind::Histogram,
        "",
        "Time from the complete head of a request to the beginning of the application's response.",
        |it, to| with_totals(it, |totals| to.histogram(&totals.first_bytes, &[])),
    ),
    family(
        "oxicorn_request_queue_seconds",
        Kind::Histogram,
        "",
        "Time from the complete request to the beginning of its call, within its worker.",
        |it, to| with_totals(it, |totals| to.histogram(&totals.queued, &[])),
    ),
    family(
        "oxicorn_python_lock_wait_seconds",
        Kind::Counter,
        "",
        "Time that threads waited for Python's interpreter lock, in workers with threads, where the server asks for it: to begin a call, to go on with one after it has read or written for it, to see that the lock can be had. Where Python code gives the lock up by itself and takes it again, that wait cannot be seen.",
        |it, to| with_totals(it, |totals| to.one(totals.lock_wait.as_secs_f64())),
    ),
    family(
        "oxicorn_request_body_bytes",
        Kind::Counter,
        "",
        "Bytes of request bodies that were received, without framing.",
        |it, to| with_totals(it, |totals| to.one(totals.received)),
    ),
    family(
        "oxicorn_response_body_bytes",
        Kind::Counter,
        "",
        "Bytes of response bodies that were sent, without framing.",
        |it, to| with_totals(it, |totals| to.one(totals.sent)),
    ),
    family(
        "oxicorn_refused_requests",
        Kind::Counter,
        "`cause`: malformed, too_slow, too_large, no_room, service_failed, call_timeout",
        "Requests that the server answered in the application's place. Each is among oxicorn_requests_total as well.",
        |it, to| {
            with_totals(it, |totals| {
                for (cause, count) in &totals.refusals {
                    to.labelled(&[("cause", refusal_word(*cause))], count);
                }
            });
        },
    ),
    family(
        "oxicorn_worker_restarts",
        Kind::Counter,
        "`cause`: max_requests, max_worker_age, max_worker_memory, timeout, boot_timeout, request_timeout, boot_failure, signal, exit",
        "Workers that were replaced, by the cause. What a stop, a reload or a smaller number of workers ends does not count.",
        |it, to| {
            with_totals(it, |totals| {
                for (cause, count) in &totals.restarts {
                    to.labelled(&[("cause", restart_word(*cause))], count);
                }
            });
        },
    ),
    family(
        "oxicorn_worker_memory_bytes",
        Kind::Gauge,
        "`worker`, `pid`",
        "Resident memory of a worker. Pages that workers share are counted in each.",
        |it, to| {
            for worker in &it.workers {
                if let Some(memory) = worker.memory() {
                    let (id, pid) = (worker.id.to_string(), worker.pid.to_string());
                    to.labelled(&[("worker", &id), ("pid", &pid)], memory);
                }
            }
        },
    ),
];
