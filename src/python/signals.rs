//! [`SignalProxies`]: Python functions in the place of the handlers that this process, a worker or an arbiter, has for
//! its signals. The process's own handlers stay in force.
//!
//! `signal.getsignal` gives `None` for a handler that is not Python's, and `signal.signal` cannot bring that back. So
//! programs fail that set a handler for a while, or call the former one from their own. With a proxy they find a
//! function that can be called and set again: it forwards the signal to the process's own handler.
//!
//! ```text
//!   signal ──▶ the process's handler ──▶ interrupt ──▶ Python's mark ──┐
//!                     ▲                                                ▼
//!                     └──────────── forwarded ◀─────────────────────  proxy ──▶ SystemExit, in a call
//!                                                                      ▲
//!   signal ──▶ Python's handler, after the proxy was set again ────────┘
//! ```

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use pyo3::exceptions::{PySystemExit, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::calls::{self, Call};
use super::ffi;
use crate::sys::sigaction::{self, SigAction};

/// The signals that end programs, and whose handlers programs therefore change.
const SIGNALS: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// The kind of process that Python runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessKind {
    /// The arbiter. TERM breaks its import off: the workers that it is for will not be started.
    Arbiter,
    /// A worker that has started the interpreter. On TERM it finishes the calls that it has.
    Worker,
    /// A worker that was forked from a process with an interpreter, and has Python's handlers of that process.
    ForkedWorker,
}

/// The signal that a proxy forwards at this moment, or 0.
static FORWARDED: AtomicI32 = AtomicI32::new(0);
/// The signals that [`interrupt`] has marked for Python: a bit for each.
static MARKED: AtomicU64 = AtomicU64::new(0);

/// Whether Python has proxies, so that a mark reaches them.
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
/// Whether [`interrupt`] was called since [`interrupter`] gave it out, and no call has ended by it.
static IS_PENDING: AtomicBool = AtomicBool::new(false);

/// What [`before_end`] was given.
static BEFORE_END: OnceLock<fn()> = OnceLock::new();

/// Has `tell` called where a signal is about to end a call on Python's main thread: the stack is still that of the call.
pub(crate) fn before_end(tell: fn()) {
    let _ = BEFORE_END.set(tell);
}

/// The function that the process's handlers are to call from now on.
pub(crate) fn interrupter() -> fn(i32) {
    IS_PENDING.store(false, Ordering::Relaxed);
    interrupt
}

/// For the process's handlers: ends the call on Python's main thread, if there is one, by `SystemExit`, as for INT or
/// QUIT. Async-signal-safe (`signal-safety(7)`).
fn interrupt(signal: i32) {
    if FORWARDED.load(Ordering::Relaxed) == signal {
        return;
    }
    IS_PENDING.store(true, Ordering::Relaxed);
    if ffi::is_running() && IS_INSTALLED.load(Ordering::Relaxed) {
        let signal = ffi::markable_signal(signal);
        MARKED.fetch_or(1 << signal, Ordering::Relaxed);
        ffi::mark_signal(signal);
    }
}

/// Runs `work` in a process that is no worker, as a call that [`interrupt`] ends. `None` where that came before the call
/// had begun: `work` is not run then.
pub(crate) fn interruptible<T>(py: Python<'_>, work: impl FnOnce() -> T) -> Option<T> {
    let call = Call::begin(py);
    let done = (!IS_PENDING.load(Ordering::Relaxed)).then(work);
    drop(call);
    done
}

/// A Python function in the place of a handler that is not Python's.
#[pyclass(frozen, module = "oxicorn", name = "SignalHandler")]
struct SignalProxy {
    /// The process's own action.
    own: SigAction,
    /// Whether the signal ends the call that it interrupts.
    ends_call: bool,
}

#[pymethods]
impl SignalProxy {
    /// Called by Python on its main thread, or by the application's own handler.
    #[pyo3(signature = (*_arguments))]
    fn __call__(slf: &Bound<'_, Self>, _arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
        let Self { own, ends_call } = slf.get();
        let bit = 1 << own.signal();
        if MARKED.fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
            let in_force = SigAction::current(own.signal())?;
            own.restore();
            FORWARDED.store(own.signal(), Ordering::Relaxed);
            sigaction::raise(own.signal());
            FORWARDED.store(0, Ordering::Relaxed);
            if !python_handler(slf.py(), own.signal())?.is(slf) {
                in_force.restore();
            }
        }
        if *ends_call && calls::is_in_call() {
            IS_PENDING.store(false, Ordering::Relaxed);
            if let Some(tell) = BEFORE_END.get() {
                tell();
            }
            return Err(PySystemExit::new_err(0));
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("<oxicorn's handler of signal {}>", self.own.signal())
    }
}

pub(crate) struct SignalProxies(Vec<Py<SignalProxy>>);

impl SignalProxies {
    /// Installs a proxy for each signal that this process handles and Python does not. Python itself knows which those
    /// are, except in a forked worker, where it knows the handlers of the parent.
    ///
    /// Installs none on a thread that is not Python's main one, where Python allows no handlers.
    pub(crate) fn install(py: Python<'_>, kind: ProcessKind) -> PyResult<Self> {
        let mut installed = Vec::new();
        for signal in SIGNALS {
            let own = SigAction::current(signal)?;
            let is_unknown =
                kind == ProcessKind::ForkedWorker || python_handler(py, signal)?.is_none();
            if own.is_handler() && is_unknown {
                let ends_call = signal != libc::SIGTERM || kind == ProcessKind::Arbiter;
                let proxy = Py::new(py, SignalProxy { own, ends_call })?;
                match set_python_handler(py, signal, &proxy) {
                    Err(error) if error.is_instance_of::<PyValueError>(py) => break,
                    outcome => outcome?,
                }
                installed.push(proxy);
            }
        }
        let proxies = Self(installed);
        proxies.restore_own_handlers(py)?;
        IS_INSTALLED.store(true, Ordering::Relaxed);
        Ok(proxies)
    }

    /// Puts the process's own handlers in force wherever Python has a proxy: setting a proxy has put Python's handler
    /// there.
    pub(crate) fn restore_own_handlers(&self, py: Python<'_>) -> PyResult<()> {
        for proxy in &self.0 {
            let SignalProxy { own, .. } = proxy.get();
            if python_handler(py, own.signal())?.is(proxy) {
                own.restore();
            }
        }
        Ok(())
    }
}

fn set_python_handler(py: Python<'_>, signal: i32, proxy: &Py<SignalProxy>) -> PyResult<()> {
    let module = py.import("signal")?;
    module.call_method1(intern!(py, "signal"), (signal, proxy))?;
    Ok(())
}

fn python_handler(py: Python<'_>, signal: i32) -> PyResult<Bound<'_, PyAny>> {
    py.import("signal")?
        .call_method1(intern!(py, "getsignal"), (signal,))
}
