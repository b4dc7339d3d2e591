//! The handlers, and how they are installed: what a signal leads to.
//!
//! *Invariants*: no handler is interrupted by another one, since a few frames of them are more than their stack holds
//! (sigaltstack(2)), and a fork lets all at once through that came during it; a signal that is sent to a child which the
//! application has forked never reaches its parent.

use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::{interrupt, name, owner, queue};
use crate::error::{Error, Result};
use crate::sys::sigaction::SigAction;

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

/// The real-time signal by which this process, or the one that has forked it, is asked for its stacks; 0 outside of
/// workers.
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
        Disposition::Queue => on_signal as *const () as libc::sighandler_t,
        Disposition::Drop => on_dropped_signal as *const () as libc::sighandler_t,
        Disposition::Ignore => libc::SIG_IGN,
        Disposition::Default => libc::SIG_DFL,
    };
    let number = signal as i32;
    let no_stops = match signal {
        Signal::SIGCHLD => libc::SA_NOCLDSTOP,
        _ => 0,
    };
    install(number, handler, cuts(number), no_stops)
}

/// Handles a real-time signal: `nix` has no name for it, and its default would end the process. `cuts` is whether a
/// system call is not begun again after it.
pub(in crate::sys) fn set_realtime(
    number: i32,
    cuts: bool,
    handler: extern "C" fn(libc::c_int),
) -> Result<()> {
    install(number, handler as libc::sighandler_t, cuts, 0).map(drop)
}

fn install(
    number: i32,
    handler: libc::sighandler_t,
    cuts: bool,
    flags: libc::c_int,
) -> Result<SigAction> {
    let restart = if cuts { 0 } else { libc::SA_RESTART };
    let flags = flags | restart | libc::SA_ONSTACK;
    // SAFETY: the handlers take a number, call only async-signal-safe functions, and leave errno as it was.
    unsafe { SigAction::install(number, handler, flags) }
        .map_err(|error| Error::io(format_args!("cannot handle {}", name(number)), error))
}

/// Replaces the handler of a real-time signal by one that does nothing.
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
    let ours = [
        on_signal as *const () as libc::sighandler_t,
        on_dropped_signal as *const () as libc::sighandler_t,
    ];
    for number in 1..=libc::SIGRTMAX() {
        let handler = SigAction::current(number)
            .ok()
            .and_then(|action| action.plain_handler());
        if handler.is_some_and(|handler| ours.contains(&handler)) {
            // SAFETY: the default runs no code. The signal has a handler, so it can have another action.
            let _ = unsafe { SigAction::install(number, libc::SIG_DFL, 0) };
        }
    }
}
