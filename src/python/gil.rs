//! Python's interpreter lock as the [`ServiceRuntime`] of an application.
//! It never blocks on anything but that lock.

use pyo3::prelude::*;

use super::errors;
use super::ffi;
use super::threads;
use crate::error::{Error, Result};
use crate::service::ServiceRuntime;

/// The interpreter's lock, which a thread has for the time of a call. Python keeps what it knows of a thread from
/// its [`enter`](ServiceRuntime::enter) on: to make that for each request costs more than a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gil;

impl ServiceRuntime for Gil {
    fn enter(&self, life: &mut dyn FnMut()) {
        Python::attach(|py| ffi::detached(py, life));
    }

    fn run_threads(
        &self,
        count: usize,
        life: &(dyn Fn() + Sync),
        begun: &mut dyn FnMut(),
        woken: &mut dyn FnMut(),
    ) -> Option<Result<()>> {
        Some(threads::run(count, life, begun, woken))
    }

    /// Runs the handlers of signals that the application set with `signal.signal`.
    fn check_signals(&self) -> Result<()> {
        Python::attach(|py| {
            py.check_signals().map_err(|error| {
                errors::log(
                    py,
                    &format!(
                        "Error in a signal handler\n{}",
                        errors::traceback(py, &error)
                    ),
                );
                Error::new(errors::summary(py, &error))
                    .with_exit_status(errors::exit_status(py, &error))
            })
        })
    }
}
