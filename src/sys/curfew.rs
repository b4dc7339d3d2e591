//! The bound of a worker's last step: its process ends with a status that is fixed, when that step takes too long.
//!
//! ```text
//!   set ──▶ the last step ──▶ the end, by itself
//!    └─ the time is over: a word to the arbiter, and _exit(2), whatever runs
//! ```
//!
//! *Invariants*: what is asked of the process meanwhile changes nothing of its status; the handler calls only what
//! signal-safety(7) lists.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::link::{LATE, WorkerEnd};
use super::signal::{self, Order};
use super::timer::Timer;
use crate::error::{Error, Result};

/// What the process exits with.
static STATUS: AtomicI32 = AtomicI32::new(0);
/// Whom to tell.
static LINK: AtomicI32 = AtomicI32::new(-1);

/// Whatever this process does from now on, it ends with `status` after `within` at the latest, and `link` tells its
/// arbiter where that had to be enforced.
///
/// From now on no signal but those of a crash reaches the calling thread. To be called once.
///
/// # Errors
///
/// Where the system gives no timer: nothing is bounded then.
pub(crate) fn set(status: i32, within: Duration, link: &WorkerEnd) -> Result<()> {
    let failed = |errno| Error::io("cannot bound the last step of this process", errno);
    STATUS.store(status, Ordering::Relaxed);
    LINK.store(link.as_fd().as_raw_fd(), Ordering::Relaxed);
    signal::set_realtime(Order::Curfew, on_curfew)?;
    let timer = Timer::new(Order::Curfew.number()).map_err(failed)?;
    timer.start(within).map_err(failed)?;
    signal::block_all_but(&[
        Order::Curfew.number(),
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGSYS,
    ]);
    // Its answer would be about what is being taken apart.
    signal::drop_order(Order::Stacks)
}

extern "C" fn on_curfew(_: libc::c_int) {
    let (link, word) = (LINK.load(Ordering::Relaxed), [LATE]);
    // SAFETY: both calls are async-signal-safe, and the word is one byte long. A number that is not open is an error
    // of send(2).
    unsafe {
        libc::send(
            link,
            word.as_ptr().cast(),
            word.len(),
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        );
        libc::_exit(STATUS.load(Ordering::Relaxed));
    }
}
