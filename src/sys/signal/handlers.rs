//! The handlers, and how they are installed: what a signal leads to.
//!
//! *Invariants*: no handler is interrupted by another one, since a few frames of them are more than their stack holds
//! (sigaltstack(2)), and a fork lets all at once through that came during it; a signal that is sent to a child which the
//! application has forked never reaches its parent.

use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal};

use super::{interrupt, name, owner, queue};
use crate::error::{Error, Result};

/// What is to be done with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Put it in the queue.
    Queue,
    /// Let it come and go. Not `SIG_IGN`, which the programs that a worker starts would inherit.
    Drop,
    /// `SIG_IGN`.
    Ignore,
    /// `SIG_DFL`.
    Default,
}

/// The real-time signal by which this process, or the one that has forked it, is asked for its stacks; 0 where it is a
/// worker's in no way.
static STACKS: AtomicI32 = AtomicI32::new(0);

extern "C" fn on_signal(signal: libc::c_int) {
    let errno = Errno::last_raw();
    if !owner::is_owner() {
        // A child that the application has forked: a signal that is only for its parent does nothing, and the queue is
        // its parent's, which would take the signal for its own.
        if interrupt::ends(signal) {
            owner::end_by(signal);
        }
    } else if interrupt::ends(signal) && owner::is_booting() {
        owner::leave_boot();
    } else {
        queue::put(signal);
        if interrupt::ends(signal) {
            interrupt::note_asked_to_leave();
        }
        if interrupt::interrupts_now(signal) {
            interrupt::interrupt(signal);
        }
    }
    Errno::set_raw(errno);
}

extern "C" fn on_dropped_signal(_: libc::c_int) {}

/// Installs the handler of a signal; gives the action that was in force. `cuts` are the signals after which a system
/// call is not begun again.
pub(super) fn set(
    signal: Signal,
    disposition: Disposition,
    cuts: fn(libc::c_int) -> bool,
) -> Result<SigAction> {
    let handler = match disposition {
        Disposition::Queue => SigHandler::Handler(on_signal),
        Disposition::Drop => SigHandler::Handler(on_dropped_signal),
        Disposition::Ignore => SigHandler::SigIgn,
        Disposition::Default => SigHandler::SigDfl,
    };
    let mut flags = SaFlags::SA_ONSTACK;
    if !cuts(signal as libc::c_int) {
        flags |= SaFlags::SA_RESTART;
    }
    if signal == Signal::SIGCHLD {
        flags |= SaFlags::SA_NOCLDSTOP;
    }
    let action = SigAction::new(handler, flags, SigSet::all());
    // SAFETY: both handlers call nothing that is not async-signal-safe, and leave errno as it was.
    unsafe { signal::sigaction(signal, &action) }
        .map_err(|errno| Error::io(format_args!("cannot handle {signal}"), errno))
}

/// Installs what was in force before.
pub(super) fn set_back(signal: Signal, action: &SigAction) {
    // SAFETY: the action was in force before; the code that installed it vouches for it.
    let _ = unsafe { signal::sigaction(signal, action) };
}

/// For signals that `nix` has no name for. Their default would end the process. `cuts` is whether a system call is not
/// begun again after it.
pub(in crate::sys) fn set_realtime(
    number: i32,
    cuts: bool,
    handler: extern "C" fn(libc::c_int),
) -> Result<()> {
    // SAFETY: all bytes zero are a valid `sigaction`: no flags, and a mask which the next call fills.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    let restart = if cuts { 0 } else { libc::SA_RESTART };
    action.sa_flags = restart | libc::SA_ONSTACK;
    // SAFETY: the mask is ours to write, the action is whole, and the handlers call nothing that is not
    // async-signal-safe and leave errno as it was.
    let outcome = unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigaction(number, &raw const action, ptr::null_mut())
    };
    Errno::result(outcome)
        .map(drop)
        .map_err(|errno| Error::io(format_args!("cannot handle {}", name(number)), errno))
}

/// From now on a real-time signal does nothing in this process, whatever had a handler for it.
pub(in crate::sys) fn drop_realtime(number: i32) -> Result<()> {
    set_realtime(number, false, on_dropped_signal)
}

/// From now on this process is asked for its stacks by that signal, which does nothing until the service takes it.
pub(super) fn take_stacks(number: i32) -> Result<()> {
    STACKS.store(number, Ordering::Relaxed);
    drop_realtime(number)
}

/// A signal that asks for the stacks means nothing to this process any more: to a child that the application has forked,
/// since the stacks would go to where the worker's belong. Async-signal-safe.
pub(in crate::sys) fn drop_stacks() {
    let number = STACKS.load(Ordering::Relaxed);
    if number != 0 {
        // It fails for no signal that there is.
        let _ = drop_realtime(number);
    }
}

/// Has all signals that lead to handlers of this module lead to their defaults, in a child that has no part in what
/// they are for. Async-signal-safe.
pub(in crate::sys) fn set_defaults() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: all bytes zero are a valid `sigaction`: the default, without flags.
        let (default, mut action): (libc::sigaction, libc::sigaction) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: both are whole, and sigaction(2) is async-signal-safe. A number that is none is an error of its own.
        unsafe {
            let asked = libc::sigaction(number, ptr::null(), &raw mut action);
            let ours = [
                on_signal as *const () as libc::sighandler_t,
                on_dropped_signal as *const () as libc::sighandler_t,
            ];
            if asked == 0 && ours.contains(&action.sa_sigaction) {
                libc::sigaction(number, &raw const default, ptr::null_mut());
            }
        }
    }
}
