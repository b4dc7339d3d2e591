//! [`shielded`]: what a system call answers with an error is not told by a signal as well.
//!
//! Writing to a pipe or a socket without a reader sends SIGPIPE, and writing past `RLIMIT_FSIZE` SIGXFSZ, both to the
//! thread that writes. The default of both ends the process. The server ignores them, but an application may want
//! their defaults, for the programs that it starts say: it has them, and no write of the server's own ends the worker.
//!
//! *Invariant*: nothing here takes a lock, so that a child forked from several threads may write.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Calls `call` with both signals blocked on this thread, and takes away the one that its failure has sent. Two system
/// calls more.
pub(crate) fn shielded<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let signals: SigSet = [Signal::SIGPIPE, Signal::SIGXFSZ].into_iter().collect();
    let Ok(mask) = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK) else {
        // It cannot fail: the set is a valid one.
        return call();
    };
    let outcome = call();
    if let Err(error) = &outcome {
        if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::EFBIG)) {
            take_away(&signals);
        }
    }
    let _ = mask.thread_set_mask();
    outcome
}

/// Has this thread forget what of `signals` waits for it.
fn take_away(signals: &SigSet) {
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: sigtimedwait(2) reads the set and the time, which live; a null pointer asks for no details.
    while unsafe { libc::sigtimedwait(signals.as_ref(), ptr::null_mut(), &raw const at_once) } < 0
        && Errno::last() == Errno::EINTR
    {}
}

/// Writes all of it, in one write(2) where the file takes it at once.
pub(crate) fn write_all(fd: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    shielded(|| write_rest(fd.as_fd(), bytes))
}

fn write_rest(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{self, SigHandler};

    /// Runs `work` in a process in which a signal has its default.
    fn with_default(signal: Signal, work: impl FnOnce() -> bool) -> Option<i32> {
        #[expect(clippy::disallowed_methods, reason = "the child runs no code but this")]
        // SAFETY: the child makes system calls only, and ends by one.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                // SAFETY: the default runs no code.
                let set = unsafe { signal::signal(signal, SigHandler::SigDfl) };
                let done = set.is_ok() && work();
                // SAFETY: _exit(2) may be called anywhere.
                unsafe { libc::_exit(i32::from(!done)) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                match nix::sys::wait::waitpid(child, None).unwrap() {
                    nix::sys::wait::WaitStatus::Exited(_, status) => Some(status),
                    _ => None,
                }
            }
        }
    }

    #[test]
    fn a_pipe_without_a_reader_is_an_error_whatever_its_signal_does() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let write = || {
            let error = write_all(&writer, b"x").unwrap_err();
            error.kind() == io::ErrorKind::BrokenPipe
        };
        assert_eq!(with_default(Signal::SIGPIPE, write), Some(0));
        let unshielded = || write_rest(writer.as_fd(), b"x").is_err();
        assert_eq!(with_default(Signal::SIGPIPE, unshielded), None);
    }

    #[test]
    fn a_file_past_its_size_limit_is_an_error_whatever_sigxfsz_does() {
        let file = tempfile::tempfile().unwrap();
        let write = || {
            let limit = libc::rlimit {
                rlim_cur: 1,
                rlim_max: 1,
            };
            // SAFETY: setrlimit(2) reads the structure, which lives.
            unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
            let error = write_all(&file, b"xx").unwrap_err();
            error.raw_os_error() == Some(libc::EFBIG)
        };
        assert_eq!(with_default(Signal::SIGXFSZ, write), Some(0));
    }
}
