//! Lends a running call to Python objects, which know no lifetimes, and takes it back at the scope's end.
//! Knows nothing of Python, and gives a loan to no other thread or greenlet and to nobody after the scope.
//!
//! ```text
//!   lend(call) ──▶ [ owner: this strand, value: &call ] ──▶ scope ends, also by a panic ──▶ [ empty ]
//!                        ▲
//!                        └── borrow: same strand? ──▶ &call, for a closure
//! ```
//!
//! What is lent is somebody else's: its caller has it on a stack, and nothing here can put it elsewhere. So it is
//! not enough to be on the same thread: greenlets share one, and each sees its own stack.
//!
//! *Invariants*: the value's place is read only on the [`GreenletId`] that has lent it; a slot names one only while that
//! is inside [`Slot::lend`]'s scope.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::error::Result;
use crate::python::greenlet::GreenletId;

/// What of a running call Python objects may use.
pub(super) trait Lent {
    /// Sends a block of the response's body.
    fn write(&self, block: &[u8]) -> Result<()>;

    /// Sends early hints, unless it is too late for them.
    fn send_informational<'h>(
        &self,
        fields: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()>;

    /// Reads from a request body that is still arriving; 0 is its end.
    fn read(&self, buffer: &mut [u8]) -> Result<usize>;
}

/// The place through which a call is lent.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The thread in whose scope the value is lent, or 0.
    thread: AtomicUsize,
    /// Its greenlet: of that thread's alone to write and to read.
    greenlet: AtomicUsize,
    /// Where on its stack the reference lies: a `*const &dyn Lent`. As the greenlet.
    value: AtomicPtr<()>,
}

/// Why there is nothing to borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotLent {
    /// The call is over.
    Over,
    /// The call belongs to another thread.
    Elsewhere,
    /// It belongs to another greenlet of this thread.
    OtherGreenlet,
}

impl Slot {
    /// Lends `value` on this strand until `scope` has run. `None` where something is lent already.
    pub(super) fn lend<R>(
        &self,
        here: GreenletId,
        value: &dyn Lent,
        scope: impl FnOnce() -> R,
    ) -> Option<R> {
        struct TakeBack<'s>(&'s Slot);
        impl Drop for TakeBack<'_> {
            fn drop(&mut self) {
                self.0.thread.store(0, Ordering::Release);
            }
        }

        self.thread
            .compare_exchange(0, here.thread, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        // Declared before the guard, so that it outlives it.
        let value: &dyn Lent = value;
        let _guard = TakeBack(self);
        let place = ptr::from_ref(&value).cast_mut().cast();
        self.value.store(place, Ordering::Relaxed);
        self.greenlet.store(here.greenlet, Ordering::Relaxed);
        Some(scope())
    }

    /// Calls `f` with what is lent.
    ///
    /// # Errors
    ///
    /// Where nothing is lent on this strand.
    pub(super) fn borrow<R>(
        &self,
        here: GreenletId,
        f: impl FnOnce(&dyn Lent) -> R,
    ) -> Result<R, NotLent> {
        match self.thread.load(Ordering::Relaxed) {
            0 => Err(NotLent::Over),
            thread if thread != here.thread => Err(NotLent::Elsewhere),
            _ if self.greenlet.load(Ordering::Relaxed) != here.greenlet => {
                Err(NotLent::OtherGreenlet)
            }
            _ => {
                let place = self.value.load(Ordering::Relaxed).cast_const();
                // SAFETY: the slot names this thread, which nobody but the thread itself can have written, so
                // that what it has written to the two other fields is read, too; and it names this greenlet. So a
                // scope of `lend` is under way, which began in this greenlet and has not ended, and this call runs
                // in that greenlet: the stack on which it runs is the one that has the frame of `lend`, with the
                // place, and below it the frames of those who called `lend`, in which the value lies. The
                // reference in the place lives until the scope has ended, and `f` cannot keep what it gets.
                // `GreenletId::current` is true of the place where it is asked, and both callers ask at once.
                let value: &dyn Lent = unsafe { *place.cast::<&dyn Lent>() };
                Ok(f(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const HERE: GreenletId = GreenletId {
        thread: 1,
        greenlet: 0,
    };
    const OTHER_GREENLET: GreenletId = GreenletId {
        thread: 1,
        greenlet: 8,
    };
    const OTHER_THREAD: GreenletId = GreenletId {
        thread: 2,
        greenlet: 0,
    };

    #[derive(Default)]
    struct Notes(RefCell<Vec<u8>>);

    impl Lent for Notes {
        fn write(&self, block: &[u8]) -> Result<()> {
            self.0.borrow_mut().extend(block);
            Ok(())
        }

        fn send_informational<'h>(
            &self,
            _: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        ) -> Result<()> {
            Ok(())
        }

        fn read(&self, _: &mut [u8]) -> Result<usize> {
            Ok(0)
        }
    }

    #[test]
    fn a_loan_reaches_its_value_and_ends_with_the_scope() {
        let (slot, notes) = (Slot::default(), Notes::default());
        assert_eq!(slot.borrow(HERE, |_| ()), Err(NotLent::Over));
        slot.lend(HERE, &notes, || {
            slot.borrow(HERE, |call| call.write(b"x").is_ok())
        })
        .unwrap()
        .unwrap();
        assert_eq!(*notes.0.borrow(), b"x");
        assert_eq!(slot.borrow(HERE, |_| ()), Err(NotLent::Over));
    }

    #[test]
    fn a_loan_ends_with_a_panic_too() {
        let (slot, notes) = (Slot::default(), Notes::default());
        let scope = || slot.lend(HERE, &notes, || panic!("as intended"));
        assert!(catch_unwind(AssertUnwindSafe(scope)).is_err());
        assert_eq!(slot.borrow(HERE, |_| ()), Err(NotLent::Over));
    }

    #[test]
    fn another_thread_or_greenlet_gets_nothing() {
        let (slot, notes) = (Slot::default(), Notes::default());
        for (lender, others) in [
            (HERE, [OTHER_GREENLET, OTHER_THREAD]),
            (OTHER_GREENLET, [HERE, OTHER_THREAD]),
        ] {
            slot.lend(lender, &notes, || {
                assert_eq!(
                    others.map(|other| slot.borrow(other, |_| ())),
                    [Err(NotLent::OtherGreenlet), Err(NotLent::Elsewhere)]
                );
                for other in others {
                    assert_eq!(slot.lend(other, &Notes::default(), || ()), None);
                }
                assert_eq!(slot.borrow(lender, |_| ()), Ok(()));
            })
            .unwrap();
        }
    }

    #[test]
    fn a_second_loan_inside_the_first_is_refused() {
        let (slot, notes) = (Slot::default(), Notes::default());
        slot.lend(HERE, &notes, || {
            assert_eq!(slot.lend(HERE, &Notes::default(), || ()), None);
        });
    }
}
