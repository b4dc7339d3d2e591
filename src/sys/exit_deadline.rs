//! The bound of a process's last step: its process ends with a status that is fixed, when that step takes too long.
//!
//! ```text
//!   set ──▶ the last step ──▶ the end, by itself
//!    └─ the time is over: a message to the arbiter, and _exit(2)
//! ```
//!
//! *Invariants*: what is asked of the process meanwhile changes nothing of its status; the handler calls only what
//! signal-safety(7) lists.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::time::Duration;

use super::signal;
use super::timer::Timer;
use crate::error::{Error, Result};

static STATUS: AtomicI32 = AtomicI32::new(0);
/// Where to tell that the deadline has come, and the byte that tells it.
static LINK: AtomicI32 = AtomicI32::new(-1);
static LATE: AtomicU8 = AtomicU8::new(0);

/// From now on this process ends with `status` after `within` at the latest, and sends the byte `late`
/// to the socket `link` where that had to be enforced. `number` is the real-time signal that enforces it; `stacks`, which
/// asks for the stacks, does nothing from now on: its answer would be about what is being taken apart.
///
/// From now on no signal but those of a crash reaches the calling thread. To be called once.
///
/// # Errors
///
/// Where the system gives no timer: nothing is bounded then.
pub(crate) fn set(
    status: i32,
    within: Duration,
    (link, late): (BorrowedFd<'_>, u8),
    number: i32,
    stacks: i32,
) -> Result<()> {
    let failed = |errno| Error::io("cannot bound the last step of this process", errno);
    STATUS.store(status, Ordering::Relaxed);
    LINK.store(link.as_raw_fd(), Ordering::Relaxed);
    LATE.store(late, Ordering::Relaxed);
    signal::set_realtime(number, false, on_deadline)?;
    let timer = Timer::new(number).map_err(failed)?;
    timer.start(within).map_err(failed)?;
    signal::block_all_but(&[
        number,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGSYS,
    ]);
    signal::drop_realtime(stacks)
}

extern "C" fn on_deadline(_: libc::c_int) {
    let (link, word) = (LINK.load(Ordering::Relaxed), [LATE.load(Ordering::Relaxed)]);
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
