//! The threads that are in a call of the application, and how the calls of other threads are interrupted.
//! Nothing here waits: an interrupted call ends when its thread next runs Python code.
//!
//! *Invariants*: an exception that is to end a call never arrives after that call.

use std::ffi::c_long;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;

use super::ffi;

/// A thread that has called the application.
struct Caller {
    /// Python's number of the thread.
    thread: c_long,
    /// How many calls the thread is in, one inside the other. Only the thread itself writes it.
    depth: AtomicUsize,
    /// Whether its present call was interrupted: by one application's end, or by that of another one beside it.
    is_interrupted: AtomicBool,
}

/// All callers that live. No Python code runs while this lock is held.
static CALLERS: Mutex<Vec<Weak<Caller>>> = Mutex::new(Vec::new());
/// Whether calls were interrupted in this process.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CALLER: Arc<Caller> = {
        let caller = Arc::new(Caller {
            thread: ffi::this_thread(),
            depth: AtomicUsize::new(0),
            is_interrupted: AtomicBool::new(false),
        });
        let mut callers = callers();
        callers.retain(|other| other.strong_count() > 0);
        callers.push(Arc::downgrade(&caller));
        caller
    };
}

fn callers() -> MutexGuard<'static, Vec<Weak<Caller>>> {
    CALLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call of the application: the thread is in it until this is dropped.
pub(crate) struct Call<'py>(Python<'py>);

impl<'py> Call<'py> {
    pub(crate) fn begin(py: Python<'py>) -> Self {
        // Fails only at the thread's end.
        let _ = CALLER.try_with(|caller| {
            let depth = caller.depth.load(Ordering::Relaxed);
            caller.depth.store(depth + 1, Ordering::Relaxed);
        });
        Self(py)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let _ = CALLER.try_with(|caller| {
            let depth = caller.depth.load(Ordering::Relaxed) - 1;
            caller.depth.store(depth, Ordering::SeqCst);
            if depth == 0 && INTERRUPTED.load(Ordering::SeqCst) {
                // After this lock, an interrupting thread is done with this call, or no longer sees it.
                drop(callers());
                caller.is_interrupted.store(false, Ordering::SeqCst);
                ffi::raise_in_thread(self.0, caller.thread, None);
            }
        });
    }
}

pub(crate) fn is_in_call() -> bool {
    CALLER.try_with(|caller| caller.depth.load(Ordering::Relaxed) > 0) == Ok(true)
}

/// Raises `SystemExit` in the calls of all other threads, once in each.
pub(crate) fn interrupt_others(py: Python<'_>) {
    INTERRUPTED.store(true, Ordering::SeqCst);
    let (own, exit) = (ffi::this_thread(), py.get_type::<PySystemExit>());
    for caller in callers().iter().filter_map(Weak::upgrade) {
        let is_other = caller.thread != own && caller.depth.load(Ordering::SeqCst) > 0;
        if is_other && !caller.is_interrupted.swap(true, Ordering::SeqCst) {
            ffi::raise_in_thread(py, caller.thread, Some(&exit));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use pyo3::types::PyDict;

    use super::super::testing::with_python;
    use super::*;

    #[test]
    fn a_call_is_interrupted_once_by_two_applications() {
        let names = with_python(|py| {
            let code = c"
import time
seen, released = [], []
def call():
    try:
        seen.append('begun')
        while not released: time.sleep(0.001)
    except SystemExit:
        seen.append('interrupted')
    while not released: time.sleep(0.001)
    seen.append('ended')
";
            let names = PyDict::new(py);
            py.run(code, Some(&names), None).unwrap();
            names.unbind()
        });
        let eval = |code| {
            with_python(|py| {
                py.eval(code, Some(names.bind(py)), None)
                    .unwrap()
                    .to_string()
            })
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                with_python(|py| {
                    let _call = Call::begin(py);
                    py.run(c"call()", Some(names.bind(py)), None).unwrap();
                });
            });
            while eval(c"len(seen)") != "1" {}
            with_python(interrupt_others);
            while eval(c"len(seen)") != "2" {}
            with_python(interrupt_others);
            // The thread runs Python code meanwhile.
            eval(c"(time.sleep(0.01), released.append(1))");
        });
        assert_eq!(eval(c"seen"), "['begun', 'interrupted', 'ended']");
    }
}
