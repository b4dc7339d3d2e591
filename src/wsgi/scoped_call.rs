//! [`ScopedCall`]: a place from which Python objects, which know no lifetimes, reach the call that runs, until its
//! scope ends.
//!
//! ```text
//!   enter(call) ──▶ [ owner: this greenlet, value: &call ] ──▶ the scope ends, also by a panic ──▶ [ empty ]
//!                          ▲
//!                          └── with: same thread, same greenlet? ──▶ &call, for a closure
//! ```
//!
//! The call is on the stack of its caller, and cannot be moved from there. So the same thread is not enough: greenlets
//! share one, and each sees its own stack.
//!
//! *Invariants*: the place of the value is read only in the greenlet that has entered the call; a [`ScopedCall`] names a
//! greenlet only while that is inside [`ScopedCall::enter`].
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::PyErr;
use pyo3::exceptions::{PyRuntimeError, PyValueError};

use crate::error::Result;
use crate::python::greenlet::GreenletId;
use crate::service::Upgraded;

/// The acts of a running call that Python objects may ask for.
pub(super) trait RunningCall {
    /// Sends a block of the response's body.
    fn write(&self, block: &[u8]) -> Result<()>;

    /// Sends early hints. Does nothing where the response has begun.
    fn send_informational<'h>(
        &self,
        fields: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()>;

    /// Reads from a request body that is still arriving; 0 is its end.
    fn read(&self, buffer: &mut [u8]) -> Result<usize>;

    /// Takes the connection over, after a 101 if the application has set one. No other response follows.
    fn take_over(&self) -> Result<Upgraded>;
}

/// The place through which a call is reached.
#[derive(Debug, Default)]
pub(super) struct ScopedCall {
    /// The thread that has entered a call, or 0.
    thread: AtomicUsize,
    /// Its greenlet. Only that thread writes and reads it.
    greenlet: AtomicUsize,
    /// The place of the reference on its stack: a `*const &dyn RunningCall`. Only that thread writes and reads it.
    value: AtomicPtr<()>,
}

/// Why the call that runs cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// The call is over.
    CallOver,
    /// The call belongs to another thread.
    OtherThread,
    /// The call belongs to another greenlet of this thread.
    OtherGreenlet,
}

impl From<Unreachable> for PyErr {
    fn from(reason: Unreachable) -> Self {
        match reason {
            Unreachable::CallOver => PyValueError::new_err("the request is over"),
            Unreachable::OtherThread => {
                PyRuntimeError::new_err("only the thread that serves the request may do this")
            }
            Unreachable::OtherGreenlet => PyRuntimeError::new_err(
                "only the greenlet that serves the request may do this: greenlets of one thread share its stack, and \
                 the call is not on it while another one runs",
            ),
        }
    }
}

impl ScopedCall {
    /// Makes `call` reachable in this greenlet until `scope` has run. `None`, without running it, where a call was
    /// entered already.
    pub(super) fn enter<R>(
        &self,
        here: GreenletId,
        call: &dyn RunningCall,
        scope: impl FnOnce() -> R,
    ) -> Option<R> {
        struct Leave<'s>(&'s ScopedCall);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.thread.store(0, Ordering::Release);
            }
        }

        self.thread
            .compare_exchange(0, here.thread, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        // Declared before the guard, so that it outlives the guard.
        let call: &dyn RunningCall = call;
        let _guard = Leave(self);
        let place = ptr::from_ref(&call).cast_mut().cast();
        self.value.store(place, Ordering::Relaxed);
        self.greenlet.store(here.greenlet, Ordering::Relaxed);
        Some(scope())
    }

    /// Calls `f` with the call that runs in this greenlet.
    ///
    /// # Errors
    ///
    /// Fails if no call was entered in this greenlet.
    pub(super) fn with<R>(
        &self,
        here: GreenletId,
        f: impl FnOnce(&dyn RunningCall) -> R,
    ) -> Result<R, Unreachable> {
        match self.thread.load(Ordering::Relaxed) {
            0 => Err(Unreachable::CallOver),
            thread if thread != here.thread => Err(Unreachable::OtherThread),
            _ if self.greenlet.load(Ordering::Relaxed) != here.greenlet => {
                Err(Unreachable::OtherGreenlet)
            }
            _ => {
                let place = self.value.load(Ordering::Relaxed).cast_const();
                // SAFETY: `thread` names this thread, and only this thread can have stored that, so that the other two
                // fields have what it stored. `greenlet` names this greenlet. So `enter` was called in this greenlet
                // and its scope has not ended, and this call runs in that greenlet: its stack has the frame of `enter`,
                // with the place, and below it the frames of the callers of `enter`, in which the call lies. The
                // reference in the place lives until the scope has ended, and `f` cannot keep what it gets.
                // `GreenletId::current` holds at the place where it is called, and all callers call it right before.
                let call: &dyn RunningCall = unsafe { *place.cast::<&dyn RunningCall>() };
                Ok(f(call))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::error::Error;

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

    impl RunningCall for Notes {
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

        fn take_over(&self) -> Result<Upgraded> {
            Err(Error::new("no socket"))
        }
    }

    #[test]
    fn the_call_is_reached_until_its_scope_ends() {
        let (scoped, notes) = (ScopedCall::default(), Notes::default());
        assert_eq!(scoped.with(HERE, |_| ()), Err(Unreachable::CallOver));
        scoped
            .enter(HERE, &notes, || {
                scoped.with(HERE, |call| call.write(b"x").is_ok())
            })
            .unwrap()
            .unwrap();
        assert_eq!(*notes.0.borrow(), b"x");
        assert_eq!(scoped.with(HERE, |_| ()), Err(Unreachable::CallOver));
    }

    #[test]
    fn a_panic_ends_the_scope_too() {
        let (scoped, notes) = (ScopedCall::default(), Notes::default());
        let scope = || scoped.enter(HERE, &notes, || panic!("as intended"));
        assert!(catch_unwind(AssertUnwindSafe(scope)).is_err());
        assert_eq!(scoped.with(HERE, |_| ()), Err(Unreachable::CallOver));
    }

    #[test]
    fn another_thread_or_greenlet_reaches_nothing() {
        let (scoped, notes) = (ScopedCall::default(), Notes::default());
        for (owner, others) in [
            (HERE, [OTHER_GREENLET, OTHER_THREAD]),
            (OTHER_GREENLET, [HERE, OTHER_THREAD]),
        ] {
            scoped
                .enter(owner, &notes, || {
                    assert_eq!(
                        others.map(|other| scoped.with(other, |_| ())),
                        [
                            Err(Unreachable::OtherGreenlet),
                            Err(Unreachable::OtherThread)
                        ]
                    );
                    for other in others {
                        assert_eq!(scoped.enter(other, &Notes::default(), || ()), None);
                    }
                    assert_eq!(scoped.with(owner, |_| ()), Ok(()));
                })
                .unwrap();
        }
    }

    #[test]
    fn a_second_call_inside_the_first_is_refused() {
        let (scoped, notes) = (ScopedCall::default(), Notes::default());
        scoped.enter(HERE, &notes, || {
            assert_eq!(scoped.enter(HERE, &Notes::default(), || ()), None);
        });
    }
}
