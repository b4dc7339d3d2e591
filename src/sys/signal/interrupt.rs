//! How a signal breaks off what the process is doing: the handlers call an [`Interrupter`].

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use nix::errno::Errno;

use super::owner;
use crate::sys::repeat;

/// What INT and QUIT call besides: an [`Interrupter`], or null.
static INTERRUPTER: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// Whether TERM breaks off what runs, too.
static TERM_INTERRUPTS: AtomicBool = AtomicBool::new(false);
/// Whether this process was asked to leave since the present handlers were installed.
static ASKED_TO_LEAVE: AtomicBool = AtomicBool::new(false);
/// Whether what runs was broken off since the present handlers were installed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// What [`on_expire`] calls: a `fn() -> bool`, or null.
static ON_EXPIRE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Breaks off what the process is doing; gets the signal's number.
pub(crate) type Interrupter = fn(i32);

/// Has `interrupter` called within the handlers of INT and QUIT, after they have queued. It must be
/// async-signal-safe (`signal-safety(7)`). System calls of the calling thread are ended then and for a while after
/// it, by the real-time signal `repeat`, until [`clear_interrupter`].
pub(crate) fn set_interrupter(interrupter: Interrupter, repeat: i32) {
    let first = INTERRUPTER.load(Ordering::Acquire).is_null();
    if first && owner::is_owner() {
        repeat::arm(repeat);
    }
    INTERRUPTER.store(interrupter as *mut (), Ordering::Release);
}

/// Nothing that runs is to be broken off any more.
pub(crate) fn clear_interrupter() {
    INTERRUPTER.store(ptr::null_mut(), Ordering::Release);
    repeat::disarm();
}

/// Does work that is worth nothing to a process that is asked to leave: TERM, INT and QUIT call `interrupter` meanwhile.
/// `repeat` is as for [`set_interrupter`].
pub(crate) fn interruptible<T>(
    interrupter: Option<Interrupter>,
    repeat: i32,
    work: impl FnOnce() -> T,
) -> T {
    if let Some(interrupter) = interrupter {
        set_interrupter(interrupter, repeat);
    }
    TERM_INTERRUPTS.store(true, Ordering::Release);
    let done = work();
    TERM_INTERRUPTS.store(false, Ordering::Release);
    clear_interrupter();
    done
}

/// Whether what ran was broken off, by INT, QUIT or ABRT, or while it was [`interruptible`]: asks no system call, and
/// takes nothing from the queue.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Whether TERM, INT or QUIT has come: asks no system call, and takes nothing from the queue.
pub(crate) fn was_asked_to_leave() -> bool {
    ASKED_TO_LEAVE.load(Ordering::Relaxed)
}

/// TERM, INT or QUIT has come. Async-signal-safe.
pub(super) fn note_asked_to_leave() {
    ASKED_TO_LEAVE.store(true, Ordering::Relaxed);
}

/// New handlers are installed: nothing was broken off by them yet.
pub(super) fn reset() {
    ASKED_TO_LEAVE.store(false, Ordering::Relaxed);
    INTERRUPTED.store(false, Ordering::Relaxed);
}

/// The signals that ask a process to leave.
pub(super) fn ends(signal: libc::c_int) -> bool {
    interrupts(signal) || signal == libc::SIGTERM
}

/// The signals that break off what they find: also a system call, which is not begun again.
pub(super) fn interrupts(signal: libc::c_int) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGQUIT)
}

/// Whether this signal breaks off what runs at present.
pub(super) fn interrupts_now(signal: libc::c_int) -> bool {
    interrupts(signal) || ends(signal) && TERM_INTERRUPTS.load(Ordering::Acquire)
}

/// Breaks off what runs, for good. Async-signal-safe.
pub(super) fn interrupt(signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
    break_off(signal);
}

/// Breaks off the call that runs. Async-signal-safe.
fn break_off(signal: libc::c_int) {
    let interrupter = INTERRUPTER.load(Ordering::Acquire);
    if !interrupter.is_null() {
        // SAFETY: what is stored there was an `Interrupter`, and functions stay where they are.
        let interrupter: Interrupter = unsafe { std::mem::transmute(interrupter) };
        interrupter(signal);
        repeat::start();
    }
}

/// Has `handler` called, in the signal handler, when this worker is asked to give up its request. It must be
/// async-signal-safe (`signal-safety(7)`). Where it gives a call up it says so, and the call is broken off.
pub(crate) fn set_on_expire(handler: Option<fn() -> bool>) {
    let pointer = handler.map_or(ptr::null_mut(), |handler| handler as *mut ());
    ON_EXPIRE.store(pointer, Ordering::Release);
}

pub(super) extern "C" fn on_expire(_: libc::c_int) {
    let errno = Errno::last_raw();
    let handler = ON_EXPIRE.load(Ordering::Acquire);
    if !handler.is_null() && owner::is_owner() {
        // SAFETY: what is stored there was a `fn() -> bool`, and functions stay where they are.
        let handler: fn() -> bool = unsafe { std::mem::transmute(handler) };
        if handler() {
            break_off(libc::SIGINT);
        }
    }
    Errno::set_raw(errno);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_to_a_process_that_is_not_their_owner_does_nothing() {
        static CALLED: AtomicBool = AtomicBool::new(false);
        let expired = || {
            CALLED.store(true, Ordering::Relaxed);
            false
        };
        let called = |pid: i32| {
            owner::set(pid);
            on_expire(0);
            CALLED.swap(false, Ordering::Relaxed)
        };
        let _turn = owner::TURN
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        set_on_expire(Some(expired));
        let (own, parents) = (called(owner::own_pid()), called(1));
        set_on_expire(None);
        assert_eq!((own, parents), (true, false));
    }
}
