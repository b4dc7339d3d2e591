//! The repetition of an interrupt, for a system call that begins right after it.
//!
//! A signal that breaks a call off leaves a mark, at which the call looks between its steps, and ends a system call
//! that waits. A signal between the last look and the system call does neither in time: the call would wait to its own
//! end. So its thread is sent a signal that does nothing but end system calls, at growing intervals, until the call is
//! over.
//!
//! ```text
//!   arm ──▶ start, in a signal's handler ──▶ after 5 ms, 10 ms, 20 ms ... 10 s ──▶ disarm
//! ```
//!
//! A sandbox may refuse the timer: then an interrupt comes once.
//!
//! *Invariants*: no signal is sent before an interrupt; after [`disarm`] none comes; the handler calls only what
//! signal-safety(7) lists.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::sigaction::SigAction;
use super::timer::Timer;

/// After how long an interrupt is repeated first, in milliseconds; then after twice as long each time.
const FIRST: u64 = 5;
/// The last interval. With those before it, it is about twenty seconds.
const LAST: u64 = FIRST << 11;

static IS_ARMED: AtomicBool = AtomicBool::new(false);
static TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
static NEXT: AtomicU64 = AtomicU64::new(0);
/// What the signal led to before. No handler takes it.
static BEFORE: Mutex<Option<SigAction>> = Mutex::new(None);

/// From now on an interrupt of this thread can be repeated, by this signal. To be called once before each [`disarm`].
pub(super) fn arm(signal: libc::c_int) {
    let Ok(timer) = Timer::for_this_thread(signal) else {
        return;
    };
    let handler = on_repeat as *const () as libc::sighandler_t;
    // Without SA_RESTART: a call that is to be given up is not begun again.
    // SAFETY: the handler takes the number, calls only async-signal-safe functions, and leaves errno as it was.
    let Ok(before) = (unsafe { SigAction::install(signal, handler, libc::SA_ONSTACK) }) else {
        return;
    };
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    TIMER.store(timer.into_raw(), Ordering::Relaxed);
    IS_ARMED.store(true, Ordering::Release);
}

/// The thread was interrupted. Async-signal-safe; changes errno.
pub(super) fn start() {
    NEXT.store(FIRST, Ordering::Relaxed);
    repeat();
}

/// What was to be interrupted is over.
pub(super) fn disarm() {
    if !IS_ARMED.swap(false, Ordering::AcqRel) {
        return;
    }
    Timer::from_raw(TIMER.load(Ordering::Relaxed)).delete();
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // SAFETY: no function is called for a signal that is ignored. One that waits to be delivered is thrown away.
        unsafe { libc::signal(before.signal(), libc::SIG_IGN) };
        before.restore();
    }
}

fn repeat() {
    let next = NEXT.load(Ordering::Relaxed);
    if next <= LAST && IS_ARMED.load(Ordering::Acquire) {
        NEXT.store(next * 2, Ordering::Relaxed);
        // It fails only where the timer is another process's.
        let _ = Timer::from_raw(TIMER.load(Ordering::Relaxed)).start(Duration::from_millis(next));
    }
}

extern "C" fn on_repeat(_: libc::c_int) {
    let errno = Errno::last_raw();
    repeat();
    Errno::set_raw(errno);
}
