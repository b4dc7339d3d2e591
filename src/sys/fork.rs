//! Making a child process, ending in one, and learning what became of it.
//!
//! No child of ours ever returns into its parent's frames, runs its parent's exit handlers, or is waited
//! for by anything but its own process id.
//!
//! *Invariants*: between the fork and the child's own handlers no signal is delivered in the child, and none
//! stays blocked there, whatever its parent has blocked; what was buffered before the fork is written once.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, ForkResult, Pid};

use super::{foreign_fork, signal};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;

/// Forks. `in_child` runs in the child with all signals blocked: it is there to install the child's own
/// handlers, so that a signal which comes at once is not taken for its parent's.
pub(crate) fn fork(in_child: impl FnOnce()) -> ForkOutcome {
    flush();
    let mask = match SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK) {
        Ok(mask) => mask,
        Err(errno) => return ForkOutcome::Failed(errno as i32),
    };
    // SAFETY: with other threads, a child may call only what is async-signal-safe (fork(2)): a lock that
    // another thread held stays held. The arbiter refuses a host that has threads, unless that host
    // vouches for them.
    #[expect(clippy::disallowed_methods, reason = "this is the place that forks")]
    let forked = foreign_fork::as_kin(|| unsafe { unistd::fork() });
    let (forked, mask) = match forked {
        Ok(ForkResult::Parent { child }) => (ForkOutcome::Parent(child.as_raw()), mask),
        Ok(ForkResult::Child) => {
            foreign_fork::admit();
            in_child();
            // A parent that waits for its signals (sigwaitinfo(2), signalfd(2)) has them blocked.
            (ForkOutcome::Child, SigSet::empty())
        }
        Err(errno) => (ForkOutcome::Failed(errno as i32), mask),
    };
    // It cannot fail: the mask is a valid one (pthread_sigmask(3)).
    let _ = mask.thread_set_mask();
    forked
}

/// Whether this process is a child of the one that called [`notice_children`] last.
static IS_CHILD: AtomicBool = AtomicBool::new(false);
/// Whether this process has forked since it called that.
static IS_PARENT: AtomicBool = AtomicBool::new(false);

extern "C" fn note_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
    signal::drop_stacks();
}

extern "C" fn note_parent() {
    IS_PARENT.store(true, Ordering::Relaxed);
}

/// From now on children of this process know that they are not it ([`is_child`]), and it knows of them
/// ([`is_parent`]), whichever code forks them. Those that run another program at once (`vfork(2)`, `posix_spawn(3)`) know
/// nothing, and are asked nothing.
///
/// # Errors
///
/// Where the system gives no memory.
pub(crate) fn notice_children() -> Result<()> {
    static NOTICING: AtomicI32 = AtomicI32::new(0);
    let own = Pid::this().as_raw();
    let before = NOTICING.swap(own, Ordering::Relaxed);
    if before == own {
        return Ok(());
    }
    IS_CHILD.store(false, Ordering::Relaxed);
    IS_PARENT.store(false, Ordering::Relaxed);
    // A child inherits the handlers with all else.
    if before != 0 {
        return Ok(());
    }
    // SAFETY: the handlers take nothing, store to an atomic, call what is async-signal-safe, and stay where they are.
    match unsafe { libc::pthread_atfork(None, Some(note_parent), Some(note_child)) } {
        0 => Ok(()),
        errno => Err(Error::io("cannot notice forks", Errno::from_raw(errno))),
    }
}

/// Whether this process has forked a child that may have its descriptors still. Two loads.
pub(crate) fn is_parent() -> bool {
    IS_PARENT.load(Ordering::Relaxed) && !is_child()
}

/// Whether this process was forked from the one that wanted to [notice](notice_children) it. One load: cheap enough for each
/// request.
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// Ends this process at once: no destructors, no exit handlers, no unwinding.
pub(crate) fn exit_now(code: i32) -> ! {
    flush();
    vanish(code)
}

/// The same for a child that other code has forked. What is buffered in it is its parent's to write, and the lock
/// of that buffer may be held by a thread that is not in this process.
pub(crate) fn vanish(code: i32) -> ! {
    // SAFETY: _exit(2) may be called anywhere.
    unsafe { libc::_exit(code) }
}

/// Writes what Rust has buffered: else a child would write it a second time, or `_exit` drop it.
fn flush() {
    // A closed standard output is not worth a word. The standard error has no buffer.
    let _ = io::stdout().flush();
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(Signal),
    /// Other code has waited for it.
    Unknown,
}

/// The signals by which a program ends itself; other ones are sent by people, and say nothing about it.
const CRASHES: [Signal; 7] = [
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
];

impl Exit {
    /// Whether the program has ended itself by a signal.
    pub(crate) fn is_crash(self) -> bool {
        matches!(self, Self::Signal(signal) if CRASHES.contains(&signal))
    }
}

impl fmt::Display for Exit {
    /// To follow a subject: `exited with code 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was sent {signal}"),
            Self::Unknown => f.write_str("has gone"),
        }
    }
}

/// How the child `pid` ended; `None` while it lives. Never waits.
pub(crate) fn reap(pid: i32) -> Option<Exit> {
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(status) => ended(status).map(|(_, exit)| exit),
        Err(Errno::EINTR) => None,
        // ECHILD: the host took it. EINVAL: it was killed by a real-time signal, which nix cannot name.
        Err(_) => Some(Exit::Unknown),
    }
}

/// Waits until the child `pid` has ended: for one that was killed.
pub(crate) fn wait(pid: i32) {
    while waitpid(Pid::from_raw(pid), None) == Err(Errno::EINTR) {}
}

/// Waits for whatever child has ended, the host's own and adopted ones included: only for a process that
/// answers for all of them, as process 1 does.
pub(crate) fn reap_any() -> Option<(i32, Exit)> {
    let status = waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)).ok()?;
    ended(status)
}

fn ended(status: WaitStatus) -> Option<(i32, Exit)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid.as_raw(), Exit::Code(code))),
        WaitStatus::Signaled(pid, signal, _) => Some((pid.as_raw(), Exit::Signal(signal))),
        _ => None,
    }
}

/// How many threads this process has; 1 where `/proc` cannot tell.
pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_not_our_child_counts_as_gone() {
        assert_eq!(reap(1), Some(Exit::Unknown));
    }

    #[test]
    fn a_process_knows_of_its_children_and_they_of_it() {
        notice_children().unwrap();
        let forked = fork(|| {
            let known = is_child() && !is_parent() && notice_children().is_ok() && !is_child();
            vanish(i32::from(!known));
        });
        let ForkOutcome::Parent(child) = forked else {
            panic!("{forked:?}")
        };
        let ended = waitpid(Pid::from_raw(child), None).unwrap();
        assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
        notice_children().unwrap();
        assert!(is_parent() && !is_child());
    }

    #[test]
    fn threads_are_counted() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || receiver.recv());
        assert!(threads() >= 2);
        drop(sender);
        assert!(thread.join().is_ok());
    }

    #[test]
    fn an_exit_reads_as_the_end_of_a_sentence() {
        assert_eq!(Exit::Code(3).to_string(), "exited with code 3");
        assert_eq!(
            Exit::Signal(Signal::SIGKILL).to_string(),
            "was sent SIGKILL"
        );
    }
}
