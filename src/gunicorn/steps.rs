//! The program `hooks.py`, run once in a process, and the functions of this server's that it calls.

use std::cell::Cell;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::arbiter::Handle;
use crate::python::embedded;
use crate::trace;

/// The names of `hooks.py`.
static NAMES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
/// What tells how many requests a worker has answered.
static HANDLE: OnceLock<Handle> = OnceLock::new();

/// The process of the arbiter.
static ARBITER: AtomicU32 = AtomicU32::new(0);

/// This process is the arbiter, whose handle objects ask from now on.
pub(super) fn set_handle(handle: &Handle) {
    ARBITER.store(process::id(), Ordering::Relaxed);
    let _ = HANDLE.set(handle.clone());
}

/// The function of this name.
pub(super) fn step<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    names(py)?.as_any().get_item(name)
}

fn names(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    let names = NAMES.get_or_try_init(py, || {
        let names = embedded::run(py, include_str!("hooks.py"))?;
        names.set_item("write_log", wrap_pyfunction!(write_log, py)?)?;
        names.set_item("requests_of", wrap_pyfunction!(requests_of, py)?)?;
        PyResult::Ok(names.unbind())
    })?;
    Ok(names.bind(py))
}

#[pyfunction]
fn write_log(py: Python<'_>, level: i32, text: &str) {
    let write = || match level {
        50.. => trace::critical!("{text}"),
        40.. => trace::error!("{text}"),
        30.. => trace::warning!("{text}"),
        20.. => trace::info!("{text}"),
        _ => trace::debug!("{text}"),
    };
    if ARBITER.load(Ordering::Relaxed) == process::id() {
        // The arbiter forks with the interpreter's lock held: no thread of a file is within the log then.
        write();
    } else {
        py.detach(write);
    }
}

thread_local! {
    /// Whether this thread calls a hook for a request that was answered, and is not counted yet.
    static AFTER_REQUEST: Cell<bool> = const { Cell::new(false) };
}

/// Calls a hook for a request that was answered.
pub(super) fn after_request<T>(hook: impl FnOnce() -> T) -> T {
    AFTER_REQUEST.set(true);
    let called = hook();
    AFTER_REQUEST.set(false);
    called
}

/// How many requests the worker of this number has answered.
#[pyfunction]
fn requests_of(age: u64) -> u64 {
    let workers = HANDLE.get().map(Handle::workers).unwrap_or_default();
    let worker = workers.iter().find(|worker| worker.id == age);
    worker.map_or(0, |worker| worker.requests + u64::from(AFTER_REQUEST.get()))
}
