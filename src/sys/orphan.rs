//! What a worker does when its arbiter dies while the worker is in a call that may last.
//!
//! A worker that polls learns of the death by the end of its [`link`](super::link). One in a call looks at
//! nothing: so the kernel is asked for a signal (`PR_SET_PDEATHSIG`, prctl(2)), whose handler gives the
//! listeners up at once and sets a bound to what is left of the worker's life. Nothing is decided here.
//!
//! A sandbox may refuse either of it: then that is left out, and the rest is done.
//!
//! *Invariants*: the handler calls only what signal-safety(7) lists, and touches only what was set up before
//! it was installed and lives as long as the process.

use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType};
use nix::unistd::{Pid, getppid};

use super::scoreboard::{Scoreboard, WorkerState};
use super::signal::{self, Order};
use super::timer::Timer;
use crate::error::{Error, Result};

/// Set once in a process, before its handler can run.
static WILL: AtomicPtr<Will> = AtomicPtr::new(ptr::null_mut());

/// What the handler needs.
struct Will {
    scoreboard: Arc<Scoreboard>,
    slot: usize,
    listeners: Vec<i32>,
    /// A socket that does not listen: accept(2) says EINVAL, as for a listener that was shut down.
    decoy: i32,
    /// Where the system gives one.
    timer: Option<Timer>,
    grace: Duration,
}

/// Prepares this worker for the death of its arbiter, process `arbiter`: in a call it gives up `listeners` at
/// once, and in any case it is killed `grace` later.
///
/// To be called after the last change of the user (which undoes it), once in a process.
///
/// # Errors
///
/// What the system refuses: whatever else can be done is done.
pub(crate) fn prepare(
    arbiter: i32,
    listeners: impl Iterator<Item = impl AsRawFd>,
    grace: Duration,
    scoreboard: &Arc<Scoreboard>,
    slot: usize,
) -> Result<()> {
    let decoy = socket::socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(|errno| Error::io("socket", errno))?;
    let timer = Timer::new(libc::SIGKILL);
    let will = Will {
        scoreboard: Arc::clone(scoreboard),
        slot,
        listeners: listeners.map(|listener| listener.as_raw_fd()).collect(),
        decoy: decoy.into_raw_fd(),
        timer: timer.ok(),
        grace,
    };
    WILL.store(Box::into_raw(Box::new(will)), Ordering::Release);
    signal::set_realtime(Order::Orphaned, on_orphaned)?;
    // SAFETY: prctl(2) with this option takes a signal's number, and touches no memory.
    let outcome = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, Order::Orphaned.number()) };
    Errno::result(outcome).map_err(|errno| Error::io("prctl", errno))?;
    if getppid() != Pid::from_raw(arbiter) {
        // It died before this was asked for.
        signal::send(Pid::this().as_raw(), Order::Orphaned)?;
    }
    timer
        .map(drop)
        .map_err(|errno| Error::io("timer_create", errno))
}

extern "C" fn on_orphaned(_: libc::c_int) {
    // A child that the application has forked has another parent, and its worker's queue and listeners.
    if !signal::is_owner() {
        return;
    }
    let errno = Errno::last_raw();
    if signal::is_booting() {
        signal::leave_boot();
    }
    signal::queue(libc::SIGTERM);
    // SAFETY: null or a leaked box, which nobody changes.
    if let Some(will) = unsafe { WILL.load(Ordering::Acquire).as_ref() } {
        // A worker that is not in a call empties the queues first.
        if will.scoreboard.slot(will.slot).state() == WorkerState::Busy {
            for listener in &will.listeners {
                // A number that was closed since may be another file's by now.
                if listens(*listener) {
                    // SAFETY: dup2(2) touches no memory; the number stays its owner's, with another socket
                    // behind it.
                    unsafe { libc::dup2(will.decoy, *listener) };
                }
            }
        }
        if let Some(timer) = will.timer {
            let _ = timer.start(will.grace);
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
