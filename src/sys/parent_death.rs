//! What a process does when its parent dies while it is in a call that may last.
//!
//! A process that polls learns of the death by the end of a socket pair. One in a call looks at nothing: so the kernel is
//! asked for a signal (`PR_SET_PDEATHSIG`, prctl(2)), whose handler gives the listeners up at once and sets a bound to
//! what is left of the process's life. Nothing is decided here.
//!
//! A sandbox may refuse either of them: then that one is left out, and the rest is done.
//!
//! *Invariants*: the handler calls only what signal-safety(7) lists, and touches only what was set up before
//! it was installed and lives as long as the process.

use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType};
use nix::unistd::{Pid, getppid};

use super::signal;
use super::timer::Timer;
use crate::error::{Error, Result};

/// Set once in a process, before its handler can run.
static PARENT_DEATH: AtomicPtr<ParentDeath> = AtomicPtr::new(ptr::null_mut());

/// What the handler needs.
struct ParentDeath {
    is_in_call: Box<dyn Fn() -> bool + Send + Sync>,
    listeners: Vec<i32>,
    /// A socket that does not listen: accept(2) says EINVAL, as for a listener that was shut down.
    dead_socket: i32,
    /// Where the system gives one.
    timer: Option<Timer>,
    grace: Duration,
}

/// Prepares this process for the death of its parent, process `parent`, which is told by the real-time signal `number`:
/// in a call it gives up `listeners` at once, and in any case it is killed `grace` later.
///
/// `is_in_call` is called in the signal handler: it must be async-signal-safe (`signal-safety(7)`). To be called after
/// the last change of the user (which undoes it), once in a process.
///
/// # Errors
///
/// A step that the system refuses. Without a timer the other steps are made all the same.
pub(crate) fn prepare(
    parent: i32,
    number: i32,
    listeners: impl Iterator<Item = impl AsRawFd>,
    grace: Duration,
    is_in_call: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<()> {
    let dead_socket = socket::socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(|errno| Error::io("socket", errno))?;
    let timer = Timer::new(libc::SIGKILL);
    let plan = ParentDeath {
        is_in_call: Box::new(is_in_call),
        listeners: listeners.map(|listener| listener.as_raw_fd()).collect(),
        dead_socket: dead_socket.into_raw_fd(),
        timer: timer.ok(),
        grace,
    };
    PARENT_DEATH.store(Box::into_raw(Box::new(plan)), Ordering::Release);
    signal::set_realtime(number, false, on_parent_death)?;
    // SAFETY: prctl(2) with this option takes a signal's number, and touches no memory.
    let outcome = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number) };
    Errno::result(outcome).map_err(|errno| Error::io("prctl", errno))?;
    if getppid() != Pid::from_raw(parent) {
        // It died before this was asked for.
        signal::kill(Pid::this().as_raw(), number).map_err(|errno| Error::io("kill", errno))?;
    }
    timer
        .map(drop)
        .map_err(|errno| Error::io("timer_create", errno))
}

extern "C" fn on_parent_death(_: libc::c_int) {
    // A child that the application has forked has another parent, and its worker's queue and listeners.
    if !signal::is_owner() {
        return;
    }
    let errno = Errno::last_raw();
    if signal::is_booting() {
        signal::leave_boot();
    }
    signal::put(libc::SIGTERM);
    // SAFETY: null or a leaked box, which is never changed.
    if let Some(plan) = unsafe { PARENT_DEATH.load(Ordering::Acquire).as_ref() } {
        // A process that is not in a call empties the queues first.
        if (plan.is_in_call)() {
            for listener in &plan.listeners {
                // A number that was closed since may be another file's by now.
                if listens(*listener) {
                    // SAFETY: dup2(2) touches no memory; the number stays its owner's, with another socket
                    // behind it.
                    unsafe { libc::dup2(plan.dead_socket, *listener) };
                }
            }
        }
        if let Some(timer) = plan.timer {
            let _ = timer.start(plan.grace);
        }
    }
    Errno::set_raw(errno);
}

/// Whether a descriptor is a socket that listens. Async-signal-safe.
fn listens(fd: i32) -> bool {
    let mut answer: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both point to what they say.
    let outcome = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut answer).cast(),
            &raw mut length,
        )
    };
    outcome == 0 && answer == 1
}
