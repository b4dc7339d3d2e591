//! [`Here`]: a value that stays on its thread, where somebody asks for one that need not.

use std::mem::ManuallyDrop;
use std::thread::{self, ThreadId};

/// A value that only the thread which has wrapped it can have.
#[derive(Debug)]
pub(crate) struct Here<T> {
    value: ManuallyDrop<T>,
    thread: ThreadId,
}

// SAFETY: no other thread gets to the value: `take` and the destructor compare, and nothing else touches it.
unsafe impl<T> Send for Here<T> {}

impl<T> Here<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: ManuallyDrop::new(value),
            thread: thread::current().id(),
        }
    }

    /// Gives the value out again.
    ///
    /// # Panics
    ///
    /// On another thread.
    pub(crate) fn take(self) -> T {
        assert_eq!(
            self.thread,
            thread::current().id(),
            "it stays on its thread"
        );
        let mut this = ManuallyDrop::new(self);
        // SAFETY: it is taken once, since `self` is gone and its destructor does not run.
        unsafe { ManuallyDrop::take(&mut this.value) }
    }
}

impl<T> Drop for Here<T> {
    fn drop(&mut self) {
        // On another thread it is left where it is.
        if self.thread == thread::current().id() {
            // SAFETY: nobody has taken it, and nobody uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn what_stays_here_is_taken_and_dropped_here_alone() {
        let value = Rc::new(Cell::new(1));
        let here = Here::new(Rc::clone(&value));
        here.take().set(2);
        assert_eq!((value.get(), Rc::strong_count(&value)), (2, 1));
        drop(Here::new(Rc::clone(&value)));
        assert_eq!(Rc::strong_count(&value), 1);
        let elsewhere = Here::new(Rc::clone(&value));
        thread::spawn(move || drop(elsewhere)).join().unwrap();
        assert_eq!(Rc::strong_count(&value), 2);
        let elsewhere = Here::new(Rc::clone(&value));
        let taken = thread::spawn(move || elsewhere.take().get()).join();
        assert!(taken.is_err());
    }
}
