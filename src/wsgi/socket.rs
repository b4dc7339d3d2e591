//! `gunicorn.socket`: the client's connection, for an application that answers a request for another protocol by itself.
//!
//! The object of the environ is a `socket.socket` of Python's whose descriptor is the server's until the application uses
//! it. Then the call takes the connection over ([`Exchange::take_over`]), and its response is none.

use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use super::start_response::StartResponse;
use crate::python::errors::{self, to_python};
use crate::python::greenlet::GreenletId;
use crate::python::{embedded, ffi};
use crate::service::Exchange;

/// Sets `gunicorn.socket` of a request for another protocol, where its connection can be taken over. Where it cannot, a
/// line in the log says why, once in a process.
pub(super) fn offer(
    environ: &Bound<'_, PyDict>,
    start_response: &Py<StartResponse>,
    exchange: &dyn Exchange,
) -> PyResult<()> {
    static EXPLAINED: AtomicBool = AtomicBool::new(false);

    let py = environ.py();
    if let Err(reason) = exchange.may_take_over() {
        if !EXPLAINED.swap(true, Ordering::Relaxed) {
            let text = format!(
                "a request to upgrade its connection has no gunicorn.socket in its environ: {reason}; later ones are not \
                 logged"
            );
            errors::info(py, &text);
        }
        return Ok(());
    }
    let take_over = Py::new(py, TakeOver(start_response.clone_ref(py)))?;
    environ.set_item(
        intern!(py, "gunicorn.socket"),
        class(py)?.call1((take_over,))?,
    )
}

/// The class of sockets that were not used yet.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        let class = embedded::function(py, include_str!("socket.py"), "UnusedSocket")?;
        PyResult::Ok(class.unbind())
    })?;
    Ok(class.bind(py))
}

/// Takes the connection of the call that runs over: gives its descriptor, and what had come.
#[pyclass(frozen, module = "oxicorn")]
struct TakeOver(Py<StartResponse>);

#[pymethods]
impl TakeOver {
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<(i32, Bound<'py, PyBytes>)> {
        let here = GreenletId::current(py);
        let scoped = self.0.get().write().call();
        let upgraded = scoped
            .with(here, |call| call.take_over())?
            .map_err(to_python)?;
        let received = ffi::copy_bytes(py, &upgraded.received)?;
        Ok((upgraded.socket.into_raw_fd(), received))
    }
}
