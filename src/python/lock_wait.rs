//! How long the threads of this process have waited for the interpreter's lock: to begin a call, to go on with one after the
//! server has worked for it without the lock, and to see that the lock can be had.
//!
//! It is counted where the server has threads that share the lock: a call that is alone pays for no clock.
//!
//! Where Python code gives the lock up by itself, and takes it again, nothing here sees it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pyo3::prelude::*;

use crate::time::MonoTime;

/// A lock that is free is had sooner.
const WAIT: Duration = Duration::from_micros(1);

/// Nanoseconds that were not yet taken.
static WAITED: AtomicU64 = AtomicU64::new(0);

/// Whether waits are counted.
static COUNTS: AtomicBool = AtomicBool::new(false);

/// From now on waits are counted.
pub(super) fn begin() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// When a wait begins, if waits are counted.
pub(super) fn asked() -> Option<MonoTime> {
    COUNTS.load(Ordering::Relaxed).then(MonoTime::now)
}

/// Runs `f` with the interpreter's lock, and counts how long the thread waits for it.
pub(crate) fn attach<R>(f: impl FnOnce(Python<'_>) -> R) -> R {
    let asked = asked();
    Python::attach(|py| {
        count(asked);
        f(py)
    })
}

/// Counts a wait that has begun then and is over.
pub(super) fn count(asked: Option<MonoTime>) {
    let Some(asked) = asked else { return };
    let waited = MonoTime::now().since(asked);
    if waited >= WAIT {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        WAITED.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// What was counted since this was last called, in nanoseconds.
pub(super) fn take() -> u64 {
    match WAITED.load(Ordering::Relaxed) {
        0 => 0,
        _ => WAITED.swap(0, Ordering::Relaxed),
    }
}
