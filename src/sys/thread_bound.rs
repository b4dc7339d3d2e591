//! [`ThreadBound`]: a value that stays on its thread, where code asks for one that may leave it.

use std::mem::ManuallyDrop;
use std::thread::{self, ThreadId};

#[derive(Debug)]
pub(crate) struct ThreadBound<T> {
    value: ManuallyDrop<T>,
    thread: ThreadId,
}

// SAFETY: no other thread gets to the value: `take` and the destructor compare, and nothing else touches it.
unsafe impl<T> Send for ThreadBound<T> {}

impl<T> ThreadBound<T> {
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

impl<T> Drop for ThreadBound<T> {
    fn drop(&mut self) {
        // On another thread it is left where it is.
        if self.thread == thread::current().id() {
            // SAFETY: it was not taken, and is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static DROPS: AtomicUsize = AtomicUsize::new(0);

    /// It has no memory of its own: some of it is left where it is.
    struct Counted;

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_stays_here_is_taken_and_dropped_here_alone() {
        let drops = || DROPS.load(Ordering::Relaxed);
        let taken = ThreadBound::new(Counted).take();
        assert_eq!(drops(), 0);
        drop(taken);
        assert_eq!(drops(), 1);
        drop(ThreadBound::new(Counted));
        assert_eq!(drops(), 2);
        let elsewhere = ThreadBound::new(Counted);
        thread::spawn(move || drop(elsewhere)).join().unwrap();
        let elsewhere = ThreadBound::new(Counted);
        assert!(
            thread::spawn(move || drop(elsewhere.take()))
                .join()
                .is_err()
        );
        assert_eq!(drops(), 2);
    }
}
