//! [`Preloaded`]: an object that was loaded before the fork, so that all workers share its memory.
//!
//! Between the forks the arbiter holds nothing of Python's: the application's threads, if there are any, go on.

use pyo3::prelude::*;

use super::errors;
use super::fork;
use super::introspect::thread_names;
use crate::sys::user::effective_uid;

/// An object that was loaded before the fork.
#[derive(Debug)]
pub(crate) struct Preloaded {
    pub(crate) object: Py<PyAny>,
    /// The temporary files that loading it has opened, as Python objects. The process that loaded it removes them.
    pub(crate) files: Py<PyAny>,
    /// The user whose privileges loading it had.
    user: u32,
}

impl Preloaded {
    /// Prepares an object that was just loaded for forks.
    pub(crate) fn new(object: Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let files = fork::flush(py)?;
        // A collection writes to every object that it looks at, and memory that is written to is no longer shared.
        let gc = py.import("gc")?;
        gc.call_method0("collect")?;
        gc.call_method0("freeze")?;
        let threads = thread_names(py, |_| Ok(true))?;
        if !threads.is_empty() {
            errors::warn(
                py,
                &format!(
                    "Loading the application before the fork has started threads, which the workers will not \
                     have while the locks that they hold may stay locked there: {}",
                    threads.join(", ")
                ),
            );
        }
        Ok(Self {
            object: object.unbind(),
            files,
            user: effective_uid(),
        })
    }

    /// Warns where this process, a worker, runs as another user than the one whose privileges loading had.
    pub(crate) fn compare_users(&self, py: Python<'_>) {
        if effective_uid() != self.user {
            errors::warn(
                py,
                &format!(
                    "The application was loaded before the fork, with the privileges of user {}: what it opened \
                     or read with them, the workers have",
                    self.user
                ),
            );
        }
    }
}
