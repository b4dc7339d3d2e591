//! Where code runs: on which thread, and in which of its greenlets.
//! It switches none, and loads nothing: where nobody has loaded `greenlet`, there are none.
//!
//! Greenlets (those of the package `greenlet`, and gevent's on top of it) take turns on one thread's stack. One that is switched to
//! has its slice of the stack put back in place, over whatever lies there, which is kept aside until somebody
//! switches back. So what a frame of one has borrowed cannot be found by another one, though it is the same thread.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// A thread, or a greenlet in it: what has a stack of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strand {
    /// From 1 on. No other thread has had it.
    pub(crate) thread: usize,
    /// Where the greenlet is in memory; 0 for the one that the thread begins with. It cannot be another's while
    /// there are frames on its stack, which keep it.
    pub(crate) greenlet: usize,
}

impl Strand {
    /// Where this call runs.
    pub(crate) fn current(py: Python<'_>) -> Self {
        thread_local!(static THREAD: usize = {
            static NEXT: AtomicUsize = AtomicUsize::new(1);
            NEXT.fetch_add(1, Ordering::Relaxed)
        });
        Self {
            thread: THREAD.with(|thread| *thread),
            greenlet: greenlet(py).unwrap_or(0),
        }
    }
}

fn greenlet(py: Python<'_>) -> Option<usize> {
    static GETCURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

    let getcurrent = if let Some(getcurrent) = GETCURRENT.get(py) {
        getcurrent
    } else {
        let module = modules(py)?.get_item(intern!(py, "greenlet")).ok()??;
        // While it is being imported it has none, and nobody has switched.
        let getcurrent = module.getattr(intern!(py, "getcurrent")).ok()?;
        GETCURRENT.get_or_init(py, || getcurrent.unbind())
    };
    let current = getcurrent.bind(py).call0().ok()?;
    let parent = current.getattr(intern!(py, "parent")).ok()?;
    (!parent.is_none()).then(|| current.as_ptr().addr())
}

/// Those that are loaded. It is asked for each call, so it is looked up once.
fn modules(py: Python<'_>) -> Option<&Bound<'_, PyDict>> {
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
    fn each_thread_has_a_strand_that_no_other_had() {
        let strand = || with_python(Strand::current);
        let here = strand();
        assert_eq!(strand(), here);
        let there = [(); 2].map(|()| std::thread::spawn(strand).join().unwrap());
        assert_ne!(there[0], here);
        assert_ne!(there[0], there[1]);
    }
}
