//! Python's interpreter lock as the [`Turn`] of an application.
//! It never blocks on anything but that lock.

use pyo3::prelude::*;

use super::errors;
use crate::error::{Error, Result};
use crate::service::Turn;
use crate::trace;

/// Attaching to the interpreter. A thread enters once for its life: attaching for each request costs more
/// than a request where the thread has no Python state of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gil;

impl Turn for Gil {
    /// Not on an interpreter without a lock (PEP 703).
    fn exclusive(&self) -> bool {
        cfg!(not(Py_GIL_DISABLED))
    }

    fn enter(&self, life: &mut dyn FnMut()) {
        Python::attach(|_| life());
    }

    fn wait(&self, block: &mut (dyn FnMut() + Send)) {
        Python::attach(|py| py.detach(block));
    }

    /// Runs the handlers of signals that the application set with `signal.signal`.
    fn interrupted(&self) -> Result<()> {
        Python::attach(|py| {
            py.check_signals().map_err(|error| {
                trace::error!(
                    "Error in a signal handler\n{}",
                    errors::traceback(py, &error)
                );
                Error::new(errors::summary(py, &error))
            })
        })
    }
}
