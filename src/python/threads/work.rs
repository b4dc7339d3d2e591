//! Lends a function to threads, which know no lifetimes, and has it back when the lender's scope ends.
//!
//! ```text
//!   Awaited ── give ──▶ Given: threads call it ── the scope ends ──▶ Over: nobody begins, and who is inside is
//!      └─────────────────── dismiss ─────────────────────────────▶         waited for
//! ```
//!
//! *Invariants*: the function is called by nobody once [`Work::give`] has returned; no lock is held meanwhile.

#![allow(unsafe_code)]

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The place through which threads get it.
#[derive(Default)]
pub(super) struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stage: Stage,
    /// How many threads have come for it.
    arrived: usize,
    /// How many of them call it.
    inside: usize,
    /// How many of them have gone again.
    gone: usize,
    /// What the first call that panicked did so with.
    panic: Option<Box<dyn Any + Send>>,
}

#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Awaited,
    Given(&'static (dyn Fn() + Sync)),
    Over,
}

impl Work {
    /// Lends `life` until `scope` has run and all who call it have returned.
    ///
    /// # Panics
    ///
    /// As one of those calls did.
    pub(super) fn give<R>(&self, life: &(dyn Fn() + Sync), scope: impl FnOnce() -> R) -> R {
        struct TakeBack<'w>(&'w Work);
        impl Drop for TakeBack<'_> {
            fn drop(&mut self) {
                let mut state = self.0.dismiss();
                while state.inside > 0 {
                    state = self.0.wait(state);
                }
            }
        }

        // SAFETY: only the lifetime is made longer. The reference is read in `take_part` alone, while the stage is
        // `Given`, by a thread that counts itself as inside under the same lock. The guard, which was made before
        // anybody could read it, ends the stage and waits until nobody is inside, before this function ends, also
        // by a panic: so all calls are over while `life` is still borrowed.
        let lent =
            unsafe { mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(life) };
        let guard = TakeBack(self);
        self.lock().stage = Stage::Given(lent);
        self.changed.notify_all();
        let result = scope();
        drop(guard);
        if let Some(panic) = self.lock().panic.take() {
            resume_unwind(panic);
        }
        result
    }

    /// Waits for the function, and calls it; or returns where there will be none.
    pub(super) fn take_part(&self) {
        let mut state = self.lock();
        state.arrived += 1;
        self.changed.notify_all();
        let life = loop {
            match state.stage {
                Stage::Awaited => state = self.wait(state),
                Stage::Given(life) => break Some(life),
                Stage::Over => break None,
            }
        };
        if let Some(life) = life {
            state.inside += 1;
            drop(state);
            let end = catch_unwind(AssertUnwindSafe(life));
            state = self.lock();
            state.inside -= 1;
            if let Err(panic) = end {
                state.panic.get_or_insert(panic);
            }
        }
        state.gone += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Sends those away who wait for the function.
    pub(super) fn end(&self) {
        drop(self.dismiss());
    }

    /// Waits until so many threads have come, for a moment at the most; tells whether they have.
    pub(super) fn await_arrivals(&self, count: usize, moment: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, moment, |state| state.arrived < count)
            .unwrap_or_else(PoisonError::into_inner);
        state.arrived >= count
    }

    /// How many threads have been here and have gone again.
    pub(super) fn gone(&self) -> usize {
        self.lock().gone
    }

    fn dismiss(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.stage = Stage::Over;
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
    fn all_who_have_come_call_it_and_are_waited_for() {
        let (work, calls) = (Work::default(), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| work.take_part());
            }
            assert!(work.await_arrivals(3, PATIENCE));
            assert_eq!(calls.load(Ordering::SeqCst), 0);
            let begun = AtomicUsize::new(0);
            let life = || {
                begun.fetch_add(1, Ordering::SeqCst);
                thread::yield_now();
                calls.fetch_add(1, Ordering::SeqCst);
            };
            work.give(&life, || {
                while begun.load(Ordering::SeqCst) < 3 {
                    thread::yield_now();
                }
            });
            assert_eq!(calls.load(Ordering::SeqCst), 3);
        });
        assert_eq!(work.gone(), 3);
    }

    #[test]
    fn who_comes_late_finds_nothing() {
        let (work, calls) = (Work::default(), AtomicUsize::new(0));
        let life = || {
            calls.fetch_add(1, Ordering::SeqCst);
        };
        work.give(&life, || ());
        work.take_part();
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_panic_of_a_call_is_the_lenders_when_all_are_back() {
        let work = Work::default();
        thread::scope(|scope| {
            scope.spawn(|| work.take_part());
            assert!(work.await_arrivals(1, PATIENCE));
            let life = || panic!("as intended");
            let lend = || {
                work.give(&life, || {
                    while work.gone() == 0 {
                        thread::yield_now();
                    }
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(lend)).is_err());
        });
    }

    #[test]
    fn who_waits_is_sent_away_where_there_will_be_none() {
        let work = Work::default();
        thread::scope(|scope| {
            scope.spawn(|| work.take_part());
            assert!(work.await_arrivals(1, PATIENCE));
            work.end();
        });
        assert_eq!(work.gone(), 1);
    }
}
