//! How long each thread waits for the interpreter's lock, and how long it has it: for a call, and to see that the lock can
//! be had. While the server reads or writes for a call without the lock, the call neither waits nor has it.
//!
//! It is counted where the server has threads that share the lock: a call that is alone pays for no clock.
//!
//! Where Python code gives the lock up by itself, and takes it again, nothing here sees it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pyo3::prelude::*;

use crate::service::TurnTimes;
use crate::time::MonoTime;

/// A lock that is free is had sooner, in nanoseconds.
const WAIT: u64 = 1_000;

/// Whether turns are counted.
static COUNTS: AtomicBool = AtomicBool::new(false);

/// How many threads wait, where turns are counted.
static WAITING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// What was counted on this thread and not yet taken.
    static TIMES: Cell<TurnTimes> = const { Cell::new(TurnTimes { waited: 0, had: 0 }) };
    /// Since when this thread has the lock, where that is counted.
    static SINCE: Cell<Option<MonoTime>> = const { Cell::new(None) };
}

/// From now on turns are counted.
pub(super) fn begin() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// Whether a thread waits for the lock.
pub(super) fn is_awaited() -> bool {
    WAITING.load(Ordering::Relaxed) > 0
}

/// Runs `f` with the interpreter's lock, and counts that.
pub(crate) fn attach<R>(f: impl FnOnce(Python<'_>) -> R) -> R {
    let wait = Wait::begin();
    Python::attach(|py| {
        wait.end();
        let outcome = f(py);
        end();
        outcome
    })
}

/// Counts that this thread is about to release the lock.
pub(super) fn end() {
    if let Some(since) = SINCE.take() {
        let mut times = TIMES.get();
        times.had += nanos(MonoTime::now().since(since));
        TIMES.set(times);
    }
}

/// A wait for the lock, and since when it goes on, if that is counted.
pub(super) struct Wait(Option<MonoTime>);

impl Wait {
    pub(super) fn begin() -> Self {
        Self(COUNTS.load(Ordering::Relaxed).then(|| {
            WAITING.fetch_add(1, Ordering::Relaxed);
            MonoTime::now()
        }))
    }

    /// This thread has the lock.
    pub(super) fn end(self) {
        let Some(since) = self.0 else { return };
        WAITING.fetch_sub(1, Ordering::Relaxed);
        let now = MonoTime::now();
        let waited = nanos(now.since(since));
        if waited >= WAIT {
            let mut times = TIMES.get();
            times.waited += waited;
            TIMES.set(times);
        }
        SINCE.set(Some(now));
    }
}

/// What was counted on this thread since it last called this.
pub(super) fn take() -> TurnTimes {
    TIMES.take()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::super::testing::with_python;
    use super::*;

    #[test]
    fn a_thread_counts_how_long_it_waits_for_the_lock_and_has_it() {
        begin();
        let (had, is_had) = mpsc::channel();
        let mut waiter = None;
        with_python(|_| {
            waiter = Some(thread::spawn(move || {
                take();
                let begun = MonoTime::now();
                let before = attach(|_| MonoTime::now().since(begun));
                had.send(()).unwrap();
                (take(), before)
            }));
            while !is_awaited() {
                thread::yield_now();
            }
            assert!(is_had.try_recv().is_err());
        });
        let (times, before) = waiter.unwrap().join().unwrap();
        assert!(
            (WAIT..=nanos(before)).contains(&times.waited),
            "{times:?}, {before:?}"
        );
        assert!(times.had > 0, "{times:?}");
    }
}
