//! What Python is shown of the signals that this process handles by itself, as a worker does: stand-ins.
//! They decide nothing, and take no signal: the process's own handlers stay in force.
//!
//! A handler that is not Python's is `None` to `signal.getsignal`, and `signal.signal` cannot bring it back;
//! so programs fail that set a handler for a while, or call the former one from their own. They find a
//! stand-in, which can be called and brought back: it passes on to the process's own handler.
//!
//! ```text
//!   signal ──▶ the process's handler ──▶ break_off ──▶ Python's mark ──┐
//!                     ▲                                                ▼
//!                     └──────────── passed on ◀────────────────── stand-in ──▶ SystemExit, in a call
//!                                                                      ▲
//!   signal ──▶ Python's handler, after the stand-in was brought back ──┘
//! ```

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use pyo3::exceptions::{PySystemExit, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::calls;
use super::ffi::{self, Action};

/// Those that end programs, and that programs therefore meddle with.
const SIGNALS: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// What the process is to Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The arbiter, whose imports are for workers that there will not be when it is told to stop.
    Arbiter,
    /// A worker, which finishes what it has when it is sent TERM.
    Worker,
    /// A worker in which Python knows what was so in the arbiter.
    Heir,
}

/// The signal that is being passed on, or 0.
static PASSED_ON: AtomicI32 = AtomicI32::new(0);
/// Signals that Python was told of by [`break_off`]: a bit for each.
static TOLD: AtomicU64 = AtomicU64::new(0);

/// For the process's handlers: has the call on Python's main thread, if there is one, end by `SystemExit`, as
/// for INT or QUIT. Async-signal-safe (`signal-safety(7)`).
pub(crate) fn break_off(signal: i32) {
    if ffi::is_running() && PASSED_ON.load(Ordering::Relaxed) != signal {
        let signal = ffi::can_mark(signal);
        TOLD.fetch_or(1 << signal, Ordering::Relaxed);
        ffi::mark_signal(signal);
    }
}

/// What stands for a handler that is not Python's.
#[pyclass(frozen, module = "oxicorn", name = "SignalHandler")]
struct StandIn {
    own: Action,
    /// Whether it breaks off the call that it comes in.
    breaks_off: bool,
}

#[pymethods]
impl StandIn {
    /// Called by Python on its main thread, or by the application's own handler.
    #[pyo3(signature = (*_arguments))]
    fn __call__(slf: &Bound<'_, Self>, _arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
        let Self { own, breaks_off } = slf.get();
        let bit = 1 << own.signal();
        if TOLD.fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
            let in_force = Action::of(own.signal())?;
            own.put();
            PASSED_ON.store(own.signal(), Ordering::Relaxed);
            ffi::raise(own.signal());
            PASSED_ON.store(0, Ordering::Relaxed);
            if !current(slf.py(), own.signal())?.is(slf) {
                in_force.put();
            }
        }
        if *breaks_off && calls::is_running() {
            return Err(PySystemExit::new_err(0));
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("<oxicorn's handler of signal {}>", self.own.signal())
    }
}

/// The stand-ins of this process.
pub(crate) struct StandIns(Vec<Py<StandIn>>);

impl StandIns {
    /// Sets them for what is handled, but not by Python: as Python itself knows, or, in an heir, as the process
    /// knows.
    ///
    /// None are set on a thread that is not Python's main one, where Python allows for no handlers.
    pub(crate) fn set(py: Python<'_>, home: Home) -> PyResult<Self> {
        let mut set = Vec::new();
        for number in SIGNALS {
            let own = Action::of(number)?;
            if own.is_handler() && (home == Home::Heir || current(py, number)?.is_none()) {
                let breaks_off = number != libc::SIGTERM || home == Home::Arbiter;
                let stand_in = Py::new(py, StandIn { own, breaks_off })?;
                match install(py, number, &stand_in) {
                    Err(error) if error.is_instance_of::<PyValueError>(py) => break,
                    outcome => outcome?,
                }
                set.push(stand_in);
            }
        }
        let set = Self(set);
        set.retake(py)?;
        Ok(set)
    }

    /// Puts the process's handlers in force for the stand-ins that Python knows: setting one, or bringing
    /// it back, has put Python's own there.
    pub(crate) fn retake(&self, py: Python<'_>) -> PyResult<()> {
        for stand_in in &self.0 {
            let StandIn { own, .. } = stand_in.get();
            if current(py, own.signal())?.is(stand_in) {
                own.put();
            }
        }
        Ok(())
    }
}

fn install(py: Python<'_>, number: i32, stand_in: &Py<StandIn>) -> PyResult<()> {
    let signal = py.import("signal")?;
    signal.call_method1(intern!(py, "signal"), (number, stand_in))?;
    Ok(())
}

/// What Python believes to be the handler.
fn current(py: Python<'_>, number: i32) -> PyResult<Bound<'_, PyAny>> {
    py.import("signal")?
        .call_method1(intern!(py, "getsignal"), (number,))
}
