//! An application that was loaded in the arbiter, before the first fork, so that all workers share its memory.
//! It forks nothing: `MakeService::around_fork` has Python's part done around the fork of others.
//!
//! Between the forks the arbiter holds nothing of Python's: what threads of the application are there go on.

use pyo3::prelude::*;

use super::end;
use super::errors;
use super::ffi;
use super::interpreter::threads;

/// A loaded application.
#[derive(Debug)]
pub(crate) struct Preloaded {
    pub(crate) application: Py<PyAny>,
    /// The temporary files that loading it has opened, as objects of Python's: who loaded it removes them.
    pub(crate) files: Py<PyAny>,
    /// As which user.
    user: u32,
}

impl Preloaded {
    /// Gives what has just been loaded its last touch.
    pub(crate) fn new(application: Bound<'_, PyAny>) -> PyResult<Self> {
        let py = application.py();
        let files = end::settle(py)?;
        // A collection touches every object that it looks at, and what is touched is not shared any more.
        let gc = py.import("gc")?;
        gc.call_method0("collect")?;
        gc.call_method0("freeze")?;
        let threads = threads(py, |_| Ok(true))?;
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
            application: application.unbind(),
            files,
            user: ffi::user(),
        })
    }

    /// Warns, where a worker that has become another user has what was loaded with the first one's privileges.
    pub(crate) fn compare_users(&self, py: Python<'_>) {
        if ffi::user() != self.user {
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
