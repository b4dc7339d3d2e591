//! [`AccessLogger`]: access lines that Python's `logging` writes, by a logger of Gunicorn's interface.

use pyo3::prelude::*;

use super::loggers;
use crate::access::{Access, AccessSink};
use crate::h1::reason_phrase;
use crate::log::AccessFilter;
use crate::python::{errors, ffi, gunicorn_names};
use crate::service::Address;

/// Has the logger of this process write of each request. The interpreter is held for that alone, once for all requests
/// of a turn.
#[derive(Debug)]
pub(crate) struct AccessLogger {
    filter: AccessFilter,
    requests: Vec<Answered>,
}

/// What a logger is told of a request. Text of bytes is Latin-1, as in WSGI.
#[derive(Debug)]
struct Answered {
    client: String,
    /// Method, target, path, decoded path, query and version.
    line: [String; 6],
    status: String,
    sent: u64,
    fields: Vec<(String, String)>,
    response_fields: Vec<(String, String)>,
    micros: u64,
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

impl AccessSink for AccessLogger {
    fn record(&mut self, access: &Access<'_>) {
        if !gunicorn_names::wants_requests() || self.filter.leaves_out(access) {
            return;
        }
        // Like Gunicorn, for which it is written, a logger of Python's has nothing of a request without a head.
        let Some(head) = access.head else { return };
        let pairs = |(name, value): (&[u8], &[u8])| (latin1(name), latin1(value));
        let decoded = access.recorded.variable("PATH_INFO");
        let response = access.recorded.response_fields.iter();
        self.requests.push(Answered {
            client: match access.client() {
                Address::Ip(peer) => peer.ip().to_string(),
                Address::Unix(_) | Address::Hidden => String::new(),
            },
            line: [
                head.method().to_owned(),
                head.target().to_owned(),
                head.path().to_owned(),
                decoded.map_or_else(|| head.path().to_owned(), latin1),
                head.query().to_owned(),
                head.version().to_string(),
            ],
            status: format!("{} {}", access.status, reason_phrase(access.status)),
            sent: access.sent,
            fields: head.fields().map(pairs).collect(),
            response_fields: response.map(|(name, value)| pairs((name, value))).collect(),
            micros: u64::try_from(access.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
    }

    fn flush(&mut self) {
        // A service of Rust's has no interpreter, and so no logger.
        if self.requests.is_empty() || !ffi::is_running() {
            self.requests.clear();
            return;
        }
        Python::attach(|py| {
            let written = match loggers::logger(py) {
                Ok(Some(logger)) => self.write(&logger),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                errors::log_exception(py, "Error in the logger_class", &error);
            }
        });
        self.requests.clear();
    }
}

impl Drop for AccessLogger {
    fn drop(&mut self) {
        self.flush();
    }
}

impl AccessLogger {
    /// The sink that leaves these requests out.
    pub(crate) fn new(filter: AccessFilter) -> Self {
        Self {
            filter,
            requests: Vec::new(),
        }
    }

    fn write(&mut self, logger: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = logger.py();
        let write = gunicorn_names::log_access(py)?;
        for request in self.requests.drain(..) {
            let Answered {
                client,
                line,
                status,
                sent,
                fields,
                response_fields,
                micros,
            } = request;
            let line = line.into_pyobject(py)?;
            let arguments = (
                logger,
                client,
                line,
                status,
                sent,
                fields,
                response_fields,
                micros,
            );
            write.call1(arguments)?;
        }
        Ok(())
    }
}
