//! A fork of a process that has an interpreter: Python's own steps around it, and a child that leaves its parent's
//! belongings alone.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use super::ffi;
use super::finalize::{log_failure, step};
use super::gunicorn_names;
use crate::fork_outcome::ForkOutcome;

/// Whether this process was forked, here, from one with an interpreter.
static FORKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The temporary files of each object that the fork under way is for, and whether its `atexit` functions run in the
    /// child.
    static UNDER_WAY: RefCell<Vec<(PyResult<Py<PyAny>>, bool)>> = const { RefCell::new(Vec::new()) };
}

/// Whether a child has the exit functions of its parent, whatever is loaded there.
static KEEPS_EXIT_FUNCTIONS: AtomicBool = AtomicBool::new(false);

/// From now on children have the exit functions of this process, which a program of theirs has registered: a configuration
/// file.
pub(crate) fn keep_exit_functions() {
    KEEPS_EXIT_FUNCTIONS.store(true, Ordering::Relaxed);
}

pub(crate) fn keeps_exit_functions() -> bool {
    KEEPS_EXIT_FUNCTIONS.load(Ordering::Relaxed)
}

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
///
/// For several applications the calls are one within the other: Python's steps are taken once.
pub(crate) fn around_fork(
    py: Python<'_>,
    files: PyResult<Py<PyAny>>,
    own: bool,
    fork: &mut dyn FnMut() -> ForkOutcome,
) {
    let nested = UNDER_WAY.with_borrow_mut(|forks| {
        forks.push((files, own));
        forks.len() > 1
    });
    if nested {
        fork();
        return;
    }
    let outcome = ffi::around_fork(py, fork);
    let forks = UNDER_WAY.take();
    if outcome == ForkOutcome::Child {
        FORKED.store(true, Ordering::Relaxed);
        gunicorn_names::inherit_logger();
        let own = forks.iter().any(|(_, own)| *own);
        for (files, _) in forks {
            let forgotten = files.and_then(|files| step(py, "forget_parents")?.call1((files, own)));
            if let Err(error) = forgotten {
                log_failure(py, "forget_parents", &error);
            }
        }
    }
}
