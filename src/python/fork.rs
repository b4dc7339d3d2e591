//! A fork of a process that has an interpreter: Python's own steps around it, and a child that leaves its parent's
//! belongings alone.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use super::ffi;
use super::finalize::{log_failure, step};
use crate::fork_outcome::ForkOutcome;

/// Whether this process was forked, here, from one with an interpreter.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether the interpreter of this process was its parent's, at a fork by [`around_fork`].
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Writes the buffers of files, so that no child writes them once more, and returns the temporary files that are open,
/// which their creator is to remove.
pub(crate) fn flush(py: Python<'_>) -> PyResult<Py<PyAny>> {
    step(py, "flush")?.call0()?;
    Ok(step(py, "temporary_files")?.call0()?.unbind())
}

/// Calls `fork` between Python's own steps. A child leaves the parent's exit functions, helper processes and
/// temporary `files` alone. `own` says that the parent has loaded this child's application, whose `atexit` functions run
/// in both.
pub(crate) fn around_fork(
    py: Python<'_>,
    files: PyResult<Py<PyAny>>,
    own: bool,
    fork: &mut dyn FnMut() -> ForkOutcome,
) {
    if ffi::around_fork(py, fork) == ForkOutcome::Child {
        FORKED.store(true, Ordering::Relaxed);
        let forgotten = files.and_then(|files| step(py, "forget_parents")?.call1((files, own)));
        if let Err(error) = forgotten {
            log_failure(py, "forget_parents", &error);
        }
    }
}
