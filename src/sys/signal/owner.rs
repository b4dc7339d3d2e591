//! Which process the handlers are for, and whether it has begun its work: a child inherits them, and has no part in
//! what they are about.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::unistd::Pid;

/// The process that the handlers are for: its children inherit them.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Whether this process has nothing to finish yet: then a signal that asks it to leave ends it.
static BOOTING: AtomicBool = AtomicBool::new(false);

/// From now on the handlers are for this process.
pub(super) fn take() {
    set(Pid::this().as_raw());
}

/// This process has begun, and has nothing to finish yet.
pub(super) fn boot_begins() {
    BOOTING.store(true, Ordering::Relaxed);
}

/// From now on the handlers are for the process `pid`.
pub(super) fn set(pid: i32) {
    OWNER.store(pid, Ordering::Relaxed);
}

/// Async-signal-safe.
pub(super) fn own_pid() -> i32 {
    // SAFETY: getpid(2) touches no memory.
    unsafe { libc::getpid() }
}

/// Whether the handlers are for this process, and not for the one that has forked it. Async-signal-safe.
pub(in crate::sys) fn is_owner() -> bool {
    own_pid() == OWNER.load(Ordering::Relaxed)
}

/// Whether this process has not begun its work yet. Async-signal-safe.
pub(in crate::sys) fn is_booting() -> bool {
    BOOTING.load(Ordering::Relaxed)
}

/// From now on this process has something to finish before it leaves.
pub(crate) fn boot_is_over() {
    BOOTING.store(false, Ordering::Relaxed);
}

/// Ends a process that has nothing to finish. Async-signal-safe.
pub(in crate::sys) fn leave_boot() {
    // QUIT would leave a core.
    end_by(libc::SIGTERM);
}

/// Ends this process when the handler returns. Async-signal-safe.
pub(super) fn end_by(signal: libc::c_int) {
    // SAFETY: both are async-signal-safe, and the default runs no code of this process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// The handlers belong to the process: tests that install them take turns.
#[cfg(test)]
pub(super) static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
