//! [`GreenletId`]: the thread that runs this code, and the greenlet that runs it on that thread.
//!
//! Greenlets (of the package `greenlet`, and gevent's on top of it) take turns on one thread's stack. Switching to one
//! puts its slice of the stack back in place, over whatever lies there, which is kept aside until a later switch. So a
//! greenlet cannot reach what a frame of another one has borrowed, although both are on the same thread.
//!
//! Nothing here switches greenlets, or imports `greenlet`: where the application has not imported it, there are none.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::ffi;

/// A thread and a greenlet on it, which has a stack of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GreenletId {
    /// Numbered from 1 on. No two threads of a process ever have the same number.
    pub(crate) thread: usize,
    /// The address of the greenlet; 0 for the one that the thread begins with. No other greenlet can have the address
    /// while there are frames on its stack, since those keep it alive.
    pub(crate) greenlet: usize,
}

impl GreenletId {
    /// The greenlet that makes this call.
    pub(crate) fn current(py: Python<'_>) -> Self {
        thread_local!(static THREAD: usize = {
            static NEXT: AtomicUsize = AtomicUsize::new(1);
            NEXT.fetch_add(1, Ordering::Relaxed)
        });
        Self {
            thread: THREAD.with(|thread| *thread),
            greenlet: current_greenlet(py).unwrap_or(0),
        }
    }
}

fn current_greenlet(py: Python<'_>) -> Option<usize> {
    static GETCURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

    /// A version of `sys.modules` that has no `greenlet`, or 0.
    static WITHOUT: AtomicU64 = AtomicU64::new(0);

    let getcurrent = if let Some(getcurrent) = GETCURRENT.get(py) {
        getcurrent
    } else {
        let modules = loaded_modules(py)?;
        let version = ffi::dict_version(modules);
        if version != 0 && version == WITHOUT.load(Ordering::Relaxed) {
            return None;
        }
        let Some(module) = modules.get_item(intern!(py, "greenlet")).ok()? else {
            WITHOUT.store(version, Ordering::Relaxed);
            return None;
        };
        // A module that is being imported lacks it, and nothing has switched yet.
        let getcurrent = module.getattr(intern!(py, "getcurrent")).ok()?;
        GETCURRENT.get_or_init(py, || getcurrent.unbind())
    };
    let current = getcurrent.bind(py).call0().ok()?;
    let parent = current.getattr(intern!(py, "parent")).ok()?;
    (!parent.is_none()).then(|| current.as_ptr().addr())
}

/// `sys.modules`, looked up once, since each call of the application asks for it.
fn loaded_modules(py: Python<'_>) -> Option<&Bound<'_, PyDict>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || {
        let modules = py.import("sys")?.getattr("modules")?;
        PyResult::Ok(modules.cast_into::<PyDict>()?.unbind())
    });
    Some(modules.ok()?.bind(py))
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_python;
    use super::*;

    #[test]
    fn a_module_that_is_imported_late_is_noticed() {
        with_python(|py| {
            assert_eq!(current_greenlet(py), None);
            let modules = loaded_modules(py).unwrap();
            let before = ffi::dict_version(modules);
            modules.set_item("oxicorn_test", 1).unwrap();
            let between = ffi::dict_version(modules);
            modules.set_item("oxicorn_test", 2).unwrap();
            let after = ffi::dict_version(modules);
            modules.del_item("oxicorn_test").unwrap();
            assert!(before == 0 || before != between && between != after);
            assert_eq!(current_greenlet(py), None);
        });
    }

    #[test]
    fn each_thread_has_an_id_that_no_other_had() {
        let id = || with_python(GreenletId::current);
        let here = id();
        assert_eq!(id(), here);
        let there = [(); 2].map(|()| std::thread::spawn(id).join().unwrap());
        assert_ne!(there[0], here);
        assert_ne!(there[0], there[1]);
    }
}
