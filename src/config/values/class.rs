//! [`CLASS`]: kinds of workers under all of Gunicorn's names, and which of its kinds are refused.

use super::{ParseProblem, ValueParser, text};

/// The kinds of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerClass {
    /// A worker that answers one request at a time, on its main thread.
    #[default]
    Sync,
    /// A worker that answers several requests at once, on threads.
    Gthread,
}

/// What to write where several requests have to be answered at once.
const THREADS: &[(&str, &str)] = &[("worker_class", "gthread"), ("threads", "8")];

/// A kind of worker: a short name, the path of Gunicorn's class, or an entry point of Gunicorn's.
pub(in super::super) const CLASS: ValueParser<WorkerClass> = ValueParser {
    metavar: "CLASS",
    parse: |value| {
        let name = text(value, "the name of a worker class")?.trim();
        let short = name.strip_prefix("egg:gunicorn#").unwrap_or(name);
        match short {
            "sync" | "gunicorn.workers.sync.SyncWorker" => Ok(WorkerClass::Sync),
            "gthread" | "gunicorn.workers.gthread.ThreadWorker" => Ok(WorkerClass::Gthread),
            _ => Err(refusal(&short.to_ascii_lowercase())),
        }
    },
    show: |class| {
        let name = match class {
            WorkerClass::Sync => "sync",
            WorkerClass::Gthread => "gthread",
        };
        name.to_owned()
    },
};

/// Why a kind of worker is refused, in lower case.
fn refusal(name: &str) -> ParseProblem {
    let greenlets = ["gevent", "eventlet"]
        .iter()
        .any(|kind| name.contains(kind));
    let asgi = [
        "asgi",
        "uvicorn",
        "hypercorn",
        "aiohttp",
        "daphne",
        "uvloop",
    ];
    let why = if greenlets {
        "greenlets are not served, but threads are"
    } else if asgi.iter().any(|kind| name.contains(kind)) {
        "ASGI is not served: an asynchronous application stays with its server, and one that has a WSGI callable is \
         served by threads"
    } else if name.contains("tornado") {
        "Tornado's loop is not served, but a WSGI application is, by threads"
    } else if name.contains('.') || name.contains(':') {
        "worker classes written in Python are not served"
    } else {
        return ParseProblem::Expected("one of sync, gthread");
    };
    ParseProblem::Refused {
        why,
        instead: THREADS,
    }
}
