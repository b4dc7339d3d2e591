//! Threads for a service that does not mind which ones call it: those of the standard library.
//!
//! *Invariants*: either all of them run, or none has begun.

use std::sync::{PoisonError, RwLock};
use std::thread;

use crate::error::{Error, Result};

/// Runs `work` on `count` threads, and returns when all have ended. `begun` runs on this one, before any of them.
pub(crate) fn run(count: usize, work: &(dyn Fn() + Sync), begun: &mut dyn FnMut()) -> Result<()> {
    // Held while a thread may be missing. A panic of `begun` leaves it poisoned, and no thread begins.
    let gate = RwLock::new(false);
    thread::scope(|scope| {
        let mut open = gate.write().unwrap_or_else(PoisonError::into_inner);
        for number in 1..=count {
            let member = || {
                if gate.read().is_ok_and(|open| *open) {
                    work();
                }
            };
            thread::Builder::new()
                .name(format!("oxicorn-{number}"))
                .spawn_scoped(scope, member)
                .map_err(|error| Error::io("cannot start a worker's thread", error))?;
        }
        begun();
        *open = true;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_run_after_this_thread_was_told() {
        let (order, lives) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            assert_eq!(order.load(Ordering::SeqCst), 1);
            lives.fetch_add(1, Ordering::SeqCst);
        };
        run(3, &work, &mut || order.store(1, Ordering::SeqCst)).unwrap();
        assert_eq!(lives.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn none_begins_where_this_thread_panics() {
        let lives = AtomicUsize::new(0);
        let work = || {
            lives.fetch_add(1, Ordering::SeqCst);
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run(3, &work, &mut || panic!("as intended"))
        }));
        assert!(outcome.is_err());
        assert_eq!(lives.load(Ordering::SeqCst), 0);
    }
}
