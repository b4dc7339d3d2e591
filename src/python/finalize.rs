//! How Python ends: in a worker as in any program, and in a process that goes on as far as the application needs it.
//!
//! An interpreter that is a program's own is not ended here.
//!
//! ```text
//!   a worker's process, our interpreter:        shutdown ──▶ finalize
//!   a worker's process, the host's interpreter: shutdown ──▶ save
//!   a worker that leaves calls behind:          save
//!   a program's process, our interpreter:       run_exit_functions, when its last application stops;
//!                                               unload, in an arbiter that has preloaded one
//!   a program's process, its own interpreter:   nothing
//! ```

use pyo3::prelude::*;

use super::embedded;
use super::errors;
use super::ffi;
use super::gunicorn_names;
use super::interpreter;
use super::introspect::{loaded_module, thread_names};
use crate::trace;

/// The function `name` of `lifecycle.py`.
pub(super) fn step<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    embedded::function(py, include_str!("lifecycle.py"), name)
}

fn run_step(py: Python<'_>, name: &str) {
    if let Err(error) = step(py, name).and_then(|step| step.call0()) {
        log_failure(py, name, &error);
    }
}

/// Logs that a step failed. The others follow nevertheless.
pub(super) fn log_failure(py: Python<'_>, step: &str, error: &PyErr) {
    errors::log_exception(py, &format!("Error at the end of Python ({step})"), error);
}

/// Waits for the threads that are not daemons, then calls the functions registered with `atexit`: in a worker that has
/// no call left.
pub(crate) fn shutdown(py: Python<'_>) {
    let waited_for = thread_names(py, |thread| Ok(!thread.getattr("daemon")?.is_truthy()?));
    if let Ok(names @ [_, ..]) = waited_for.as_deref() {
        let names = names.join(", ");
        let text = format!("Waiting for the application's threads that are not daemons: {names}");
        errors::info(py, &text);
    }
    let waited = loaded_module(py, "threading").and_then(|threading| match threading {
        Some(threading) => threading.call_method0("_shutdown").map(drop),
        None => Ok(()),
    });
    if let Err(error) = waited {
        log_failure(py, "threading._shutdown", &error);
    }
    let finalizes = interpreter::is_ours();
    let run = step(py, "run_last_exit_functions").and_then(|step| step.call1((finalizes,)));
    if let Err(error) = run {
        log_failure(py, "atexit._run_exitfuncs", &error);
    }
}

/// Ends the interpreter, in a worker's own process, whose work is done and which has none of our threads left.
pub(crate) fn finalize() {
    Python::attach(|py| {
        run_step(py, "ignore_signals");
        // Finalization skips objects that daemon threads hold, and a stack may hold all of a module.
        if thread_names(py, |_| Ok(true)).is_ok_and(|threads| !threads.is_empty()) {
            save(py);
        }
    });
    gunicorn_names::release_logger();
    if !ffi::finalize() {
        trace::warning!("Python could not write at its end all that files had buffered");
    }
}

/// Writes the buffers of files and removes temporary files, where the interpreter cannot be ended.
pub(crate) fn save(py: Python<'_>) {
    run_step(py, "save");
}

/// Calls the application's `atexit` functions, in a process in which Python goes on.
pub(crate) fn run_exit_functions(py: Python<'_>) {
    run_step(py, "run_exit_functions");
}

/// Ends an application that was loaded in this process, with its helper processes and threads. The process goes on.
pub(crate) fn unload(py: Python<'_>) {
    run_step(py, "unload");
}
