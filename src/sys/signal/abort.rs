//! SIGABRT, by which an arbiter ends a worker that makes no progress, and by which a process ends itself (abort(3)).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::errno::Errno;

use super::{interrupt, owner, queue};
use crate::error::{Error, Result};
use crate::sys::sigaction::SigAction;

/// What SIGABRT led to before [`take_abort`]: a handler's address, or one of the constants of sigaction(2).
static BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// Whether another process has sent SIGABRT.
static ABORTED: AtomicBool = AtomicBool::new(false);

/// Whether another process has aborted this one: asks no system call.
#[cfg(feature = "wsgi")]
pub(crate) fn is_aborted() -> bool {
    ABORTED.load(Ordering::Relaxed)
}

/// From now on SIGABRT of another process is queued, and breaks off what runs. A process that aborts itself
/// (abort(3)) ends as it would have before.
pub(crate) fn take_abort() -> Result<()> {
    let handler = on_abort as *const () as libc::sighandler_t;
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: with SA_SIGINFO the handler gets all three arguments. It calls only async-signal-safe functions and the
    // handler that was installed before it.
    let before = unsafe { SigAction::install(libc::SIGABRT, handler, flags) }
        .map_err(|error| Error::io("cannot handle SIGABRT", error))?;
    // A handler that takes more than the number cannot be called from here.
    if let Some(handler) = before.plain_handler() {
        BEFORE.store(handler, Ordering::Release);
    }
    Ok(())
}

extern "C" fn on_abort(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let errno = Errno::last_raw();
    // SAFETY: with SA_SIGINFO the system passes a whole structure, which has the sender for signals of kill(2)
    // and tgkill(2).
    let own = unsafe { (*info).si_pid() == owner::own_pid() };
    if own {
        let before = BEFORE.load(Ordering::Acquire);
        if before != libc::SIG_DFL && before != libc::SIG_IGN {
            // SAFETY: what is stored there was the handler of this signal, and takes its number.
            let before: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(before) };
            before(signal);
        }
        // abort(3) goes on to end the process.
    } else if owner::is_owner() {
        ABORTED.store(true, Ordering::Relaxed);
        queue::put(signal);
        interrupt::interrupt(libc::SIGINT);
    } else {
        owner::end_by(signal);
    }
    Errno::set_raw(errno);
}
