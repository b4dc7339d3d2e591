//! [`ScopedTask`]: a function that borrows from its caller, for threads that are not scoped by Rust.
//!
//! ```text
//!   Pending ── run_while ──▶ Shared: threads call it ── the scope ends ──▶ Closed: no call begins, and those that
//!      └──────────────────────── cancel ────────────────────────────────▶          run are waited for
//! ```
//!
//! *Invariants*: no thread calls the function once [`ScopedTask::run_while`] has returned; no lock is held during a call.
#![allow(unsafe_code)]

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The place from which threads take the function.
#[derive(Default)]
pub(super) struct ScopedTask {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    function: Function,
    /// The number of threads that have arrived for the function.
    arrived: usize,
    /// The number of threads that are calling it.
    running: usize,
    /// The number of threads that are done with it.
    finished: usize,
    /// The payload of the first call that panicked.
    panic: Option<Box<dyn Any + Send>>,
}

#[derive(Clone, Copy, Default)]
enum Function {
    #[default]
    Pending,
    Shared(&'static (dyn Fn() + Sync)),
    Closed,
}

impl ScopedTask {
    /// Shares `function` with the threads until `scope` has run and all their calls have returned.
    ///
    /// # Panics
    ///
    /// With the panic of the first of those calls that panicked.
    pub(super) fn run_while<R>(
        &self,
        function: &(dyn Fn() + Sync),
        scope: impl FnOnce() -> R,
    ) -> R {
        struct CloseAndWait<'t>(&'t ScopedTask);
        impl Drop for CloseAndWait<'_> {
            fn drop(&mut self) {
                let mut state = self.0.close();
                while state.running > 0 {
                    state = self.0.wait(state);
                }
            }
        }

        // SAFETY: only the lifetime is extended. The reference is read in `take_part` alone, while it is `Shared`, by a
        // thread that counts itself as running under the same lock. The guard, which exists before any thread can read
        // the reference, closes the task and waits until no thread runs it before this function ends, also by a panic.
        // So all calls have returned while `function` is still borrowed.
        let shared =
            unsafe { mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(function) };
        let guard = CloseAndWait(self);
        self.lock().function = Function::Shared(shared);
        self.changed.notify_all();
        let result = scope();
        drop(guard);
        if let Some(panic) = self.lock().panic.take() {
            resume_unwind(panic);
        }
        result
    }

    /// Waits for the function and calls it. Returns without a call where the task is closed.
    pub(super) fn take_part(&self) {
        let mut state = self.lock();
        state.arrived += 1;
        self.changed.notify_all();
        let function = loop {
            match state.function {
                Function::Pending => state = self.wait(state),
                Function::Shared(function) => break Some(function),
                Function::Closed => break None,
            }
        };
        if let Some(function) = function {
            state.running += 1;
            drop(state);
            let end = catch_unwind(AssertUnwindSafe(function));
            state = self.lock();
            state.running -= 1;
            if let Err(panic) = end {
                state.panic.get_or_insert(panic);
            }
        }
        state.finished += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Closes the task: threads that wait for the function return without it.
    pub(super) fn cancel(&self) {
        drop(self.close());
    }

    /// Waits until `count` threads have arrived, and `limit` at the most. Returns whether they have.
    pub(super) fn await_arrivals(&self, count: usize, limit: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, limit, |state| state.arrived < count)
            .unwrap_or_else(PoisonError::into_inner);
        state.arrived >= count
    }

    /// The number of threads that are done with the function.
    pub(super) fn finished(&self) -> usize {
        self.lock().finished
    }

    fn close(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.function = Function::Closed;
        self.changed.notify_all();
        state
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Held for a few instructions at a time.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn all_threads_that_arrived_call_it_and_are_waited_for() {
        let (task, calls) = (ScopedTask::default(), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| task.take_part());
            }
            assert!(task.await_arrivals(3, PATIENCE));
            assert_eq!(calls.load(Ordering::SeqCst), 0);
            let begun = AtomicUsize::new(0);
            let function = || {
                begun.fetch_add(1, Ordering::SeqCst);
                thread::yield_now();
                calls.fetch_add(1, Ordering::SeqCst);
            };
            task.run_while(&function, || {
                while begun.load(Ordering::SeqCst) < 3 {
                    thread::yield_now();
                }
            });
            assert_eq!(calls.load(Ordering::SeqCst), 3);
        });
        assert_eq!(task.finished(), 3);
    }

    #[test]
    fn a_thread_that_comes_late_calls_nothing() {
        let (task, calls) = (ScopedTask::default(), AtomicUsize::new(0));
        let function = || {
            calls.fetch_add(1, Ordering::SeqCst);
        };
        task.run_while(&function, || ());
        task.take_part();
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_panic_of_a_call_is_raised_when_all_calls_are_over() {
        let task = ScopedTask::default();
        thread::scope(|scope| {
            scope.spawn(|| task.take_part());
            assert!(task.await_arrivals(1, PATIENCE));
            let function = || panic!("as intended");
            let share = || {
                task.run_while(&function, || {
                    while task.finished() == 0 {
                        thread::yield_now();
                    }
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(share)).is_err());
        });
    }

    #[test]
    fn threads_that_wait_return_when_it_is_cancelled() {
        let task = ScopedTask::default();
        thread::scope(|scope| {
            scope.spawn(|| task.take_part());
            assert!(task.await_arrivals(1, PATIENCE));
            task.cancel();
        });
        assert_eq!(task.finished(), 1);
    }
}
