//! Lends a running call to Python objects, which know no lifetimes, and takes it back at the scope's end.
//! Knows nothing of Python, and gives a loan to no other thread and to nobody after the scope.
//!
//! ```text
//!   lend(call) ──▶ [ owner: this thread, value: &call ] ──▶ scope ends, also by a panic ──▶ [ empty ]
//!                        ▲
//!                        └── borrow: same thread? ──▶ &call, for a closure
//! ```
//!
//! *Invariants*: the value's place is read only by the thread that `owner` names; `owner` names a thread
//! only while that thread is inside [`Slot::lend`]'s scope.
#![allow(unsafe_code)]

mod work;

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::error::Result;
pub(super) use work::Work;

/// What of a running call Python objects may use.
pub(super) trait Lent {
    /// Sends a block of the response's body.
    fn write(&self, block: &[u8]) -> Result<()>;

    /// Sends early hints, unless it is too late for them.
    fn inform<'h>(&self, fields: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>) -> Result<()>;

    /// Reads from a request body that is still arriving; 0 is its end.
    fn read(&self, buffer: &mut [u8]) -> Result<usize>;
}

/// The place through which a call is lent.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The thread in whose scope the value is lent, or 0.
    owner: AtomicUsize,
    /// Where on that thread's stack the reference lies: a `*const &dyn Lent`.
    value: AtomicPtr<()>,
}

/// Why there is nothing to borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotLent {
    /// The call is over.
    Over,
    /// The call belongs to another thread.
    Elsewhere,
}

impl Slot {
    /// Lends `value` until `scope` has run. `None` where something is lent already.
    pub(super) fn lend<R>(&self, value: &dyn Lent, scope: impl FnOnce() -> R) -> Option<R> {
        struct TakeBack<'s>(&'s Slot);
        impl Drop for TakeBack<'_> {
            fn drop(&mut self) {
                self.0.owner.store(0, Ordering::Release);
            }
        }

        self.owner
            .compare_exchange(0, this_thread(), Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        // Declared before the guard, so that it outlives it.
        let value: &dyn Lent = value;
        let _guard = TakeBack(self);
        let place = ptr::from_ref(&value).cast_mut().cast();
        self.value.store(place, Ordering::Relaxed);
        Some(scope())
    }

    /// Calls `f` with what is lent.
    ///
    /// # Errors
    ///
    /// Where nothing is lent to this thread.
    pub(super) fn borrow<R>(&self, f: impl FnOnce(&dyn Lent) -> R) -> Result<R, NotLent> {
        match self.owner.load(Ordering::Relaxed) {
            0 => Err(NotLent::Over),
            owner if owner != this_thread() => Err(NotLent::Elsewhere),
            _ => {
                let place = self.value.load(Ordering::Relaxed).cast_const();
                // SAFETY: `owner` names this thread, so this call runs inside the scope of `lend`, further
                // up this very stack: it stored the place before the scope began, and the reference in it
                // lives until the scope has ended. `f` cannot keep what it gets.
                let value: &dyn Lent = unsafe { *place.cast::<&dyn Lent>() };
                Ok(f(value))
            }
        }
    }
}

/// A number that no other living thread has, and that is not 0: the address of a thread-local.
fn this_thread() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| ptr::from_ref(place).addr())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[derive(Default)]
    struct Notes(RefCell<Vec<u8>>);

    impl Lent for Notes {
        fn write(&self, block: &[u8]) -> Result<()> {
            self.0.borrow_mut().extend(block);
            Ok(())
        }

        fn inform<'h>(&self, _: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>) -> Result<()> {
            Ok(())
        }

        fn read(&self, _: &mut [u8]) -> Result<usize> {
            Ok(0)
        }
    }

    #[test]
    fn a_loan_reaches_its_value_and_ends_with_the_scope() {
        let (slot, notes) = (Slot::default(), Notes::default());
        assert_eq!(slot.borrow(|_| ()), Err(NotLent::Over));
        slot.lend(&notes, || slot.borrow(|call| call.write(b"x").is_ok()))
            .unwrap()
            .unwrap();
        assert_eq!(*notes.0.borrow(), b"x");
        assert_eq!(slot.borrow(|_| ()), Err(NotLent::Over));
    }

    #[test]
    fn a_loan_ends_with_a_panic_too() {
        let (slot, notes) = (Slot::default(), Notes::default());
        let scope = || slot.lend(&notes, || panic!("as intended"));
        assert!(catch_unwind(AssertUnwindSafe(scope)).is_err());
        assert_eq!(slot.borrow(|_| ()), Err(NotLent::Over));
    }

    #[test]
    fn another_thread_gets_nothing() {
        let (slot, notes) = (Slot::default(), Notes::default());
        slot.lend(&notes, || {
            std::thread::scope(|threads| {
                let there = threads.spawn(|| slot.borrow(|_| ()));
                assert_eq!(there.join().unwrap(), Err(NotLent::Elsewhere));
                let there = threads.spawn(|| slot.lend(&Notes::default(), || ()));
                assert_eq!(there.join().unwrap(), None);
            });
            assert_eq!(slot.borrow(|_| ()), Ok(()));
        });
    }

    #[test]
    fn a_second_loan_inside_the_first_is_refused() {
        let (slot, notes) = (Slot::default(), Notes::default());
        slot.lend(&notes, || {
            assert_eq!(slot.lend(&Notes::default(), || ()), None);
        });
    }
}
