//! Children that others than this crate fork from an arbiter's process: helpers of an application that is loaded
//! there, for one. Nothing of the arbiter's is theirs, as if they had executed another program.
//!
//! ```text
//!   fork(2) ──▶ the child: was it forked by this crate? ── no ──▶ the arbiter's descriptors are closed, its signals
//!                                                                 lead to what they lead to by default
//! ```
//!
//! Those that execute a program (`vfork(2)`, `posix_spawn(3)` too) have nothing of it anyway: close-on-exec.
//!
//! *Invariants*: the handler calls only what signal-safety(7) lists; what it reads is written by the
//! arbiter's own thread alone, and as a whole.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::signal;

/// The descriptors that no stranger is to have, in a box of its own; null where nothing is told from strangers.
static PRIVATE: AtomicPtr<Vec<RawFd>> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    /// Whether this thread is forking on this crate's behalf.
    static FORKING: Cell<bool> = const { Cell::new(false) };
}

/// From now on these are closed in strangers, in the place of those that were named before, and signals that lead to
/// handlers of this crate lead to their defaults there. Only the arbiter's thread says so.
pub(crate) fn keep_out(private: Vec<RawFd>) {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: the handler takes nothing, and stays where it is. Where the system has no memory for it, strangers
        // have what they had before.
        unsafe { libc::pthread_atfork(None, None, Some(on_child)) };
    });
    put(Box::into_raw(Box::new(private)));
}

/// From now on this process, or this child of ours, makes no difference between its children.
pub(crate) fn admit() {
    put(ptr::null_mut());
}

fn put(list: *mut Vec<RawFd>) {
    let before = PRIVATE.swap(list, Ordering::AcqRel);
    if !before.is_null() {
        // SAFETY: it was a box's. A handler that reads it runs in another process, on a copy of its own.
        drop(unsafe { Box::from_raw(before) });
    }
}

/// Forks, and the child is no stranger.
pub(super) fn as_kin<T>(fork: impl FnOnce() -> T) -> T {
    FORKING.set(true);
    let forked = fork();
    FORKING.set(false);
    forked
}

extern "C" fn on_child() {
    // Without a destructor to register, and made before the fork or not: a plain load.
    if FORKING.get() {
        return;
    }
    // SAFETY: null, or a box that lives in this child as it did at the fork.
    let Some(private) = (unsafe { PRIVATE.load(Ordering::Acquire).as_ref() }) else {
        return;
    };
    for &fd in private {
        // SAFETY: close(2) is async-signal-safe. The value that owns the number is on a stack, or of a thread, that is not
        // in this child any more.
        unsafe { libc::close(fd) };
    }
    signal::set_defaults();
}
