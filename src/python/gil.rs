//! [`Gil`]: Python's interpreter lock as the [`ServiceRuntime`] of an application.
//! It waits for nothing but that lock.

use super::errors;
use super::ffi;
use super::threads;
use super::turn;
use crate::error::{Error, Result};
use crate::service::{ServiceRuntime, TurnTimes};

/// The interpreter's lock, which a thread holds for the time of a call.
///
/// [`enter`](ServiceRuntime::enter) keeps Python's state of the thread: making it for each request would cost more than
/// a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gil;

impl ServiceRuntime for Gil {
    fn enter(&self, work: &mut dyn FnMut()) {
        ffi::with_thread_state(work);
    }

    fn run_threads(
        &self,
        count: usize,
        work: &(dyn Fn() + Sync),
        begun: &mut dyn FnMut(),
        woken: &mut dyn FnMut(),
    ) -> Option<Result<()>> {
        turn::begin();
        Some(threads::run(count, work, begun, woken))
    }

    fn is_exclusive(&self) -> bool {
        cfg!(not(Py_GIL_DISABLED))
    }

    fn is_awaited(&self) -> bool {
        turn::is_awaited()
    }

    fn take_turn_times(&self) -> Option<TurnTimes> {
        Some(turn::take())
    }

    /// Runs the handlers of signals that the application set with `signal.signal`.
    fn check_signals(&self) -> Result<()> {
        turn::attach(|py| {
            py.check_signals().map_err(|error| {
                errors::log_exception(py, "Error in a signal handler", &error);
                Error::new(errors::summary(py, &error))
                    .with_exit_status(errors::exit_status(py, &error))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use pyo3::prelude::*;

    use super::super::testing::with_python;
    use super::*;

    #[test]
    fn a_life_holds_nothing_that_other_threads_need() {
        with_python(|_| {
            let mut there = false;
            Gil.enter(&mut || {
                let other = std::thread::spawn(|| Python::attach(|py| py.version_info().major));
                there = other.join().unwrap() == 3;
            });
            assert!(there);
            assert!(Gil.check_signals().is_ok());
        });
    }
}
