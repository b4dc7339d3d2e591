//! The queue of signals: bytes in a pipe that the process writes to itself.
//!
//! *Invariant*: of every kind of signal that was put there at least one is taken.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd;

use crate::error::{Error, Result};

/// Where the handlers write: the pipe's descriptor, or -1.
static WRITER: AtomicI32 = AtomicI32::new(-1);
/// Signals that found the pipe full: a bit for each kind.
static OVERFLOW: AtomicU64 = AtomicU64::new(0);

/// Puts a signal in the queue. Async-signal-safe; changes errno.
pub(in crate::sys) fn put(signal: libc::c_int) {
    let byte = [u8::try_from(signal).unwrap_or(0)];
    // SAFETY: write(2) is async-signal-safe, and the buffer is one byte long. A descriptor that has just
    // been closed gives EBADF: it is cleared in WRITER before that.
    let written = unsafe { libc::write(WRITER.load(Ordering::Relaxed), byte.as_ptr().cast(), 1) };
    if written != 1 {
        OVERFLOW.fetch_or(1 << signal, Ordering::Relaxed);
    }
}

/// The pipe of a process's signals, made beforehand where a failure can still be reported.
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    /// Makes one, non-blocking and closed on exec.
    pub(crate) fn new() -> Result<Self> {
        let (reader, writer) = unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .map_err(|errno| Error::io("cannot make a pipe for signals", errno))?;
        Ok(Self { reader, writer })
    }

    /// Has the handlers write to this one, if they write to no other; tells whether they do.
    pub(super) fn open(&self) -> bool {
        let own = self.writer.as_raw_fd();
        let opened = WRITER
            .compare_exchange(-1, own, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if opened {
            OVERFLOW.store(0, Ordering::Relaxed);
        }
        opened
    }

    /// Has the handlers write to this one, in a child: it leaves its parent's.
    pub(super) fn open_in_child(&self) {
        WRITER.store(self.writer.as_raw_fd(), Ordering::Relaxed);
        OVERFLOW.store(0, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        let own = self.writer.as_raw_fd();
        let _ = WRITER.compare_exchange(own, -1, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn drain(&self) -> Vec<Signal> {
        let mut drained = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(n @ 1..) = unistd::read(&self.reader, &mut buffer) {
            let came = buffer[..n].iter().map(|&number| i32::from(number));
            drained.extend(came.filter_map(|number| Signal::try_from(number).ok()));
        }
        let overflow = OVERFLOW.swap(0, Ordering::Relaxed);
        if overflow != 0 {
            drained.extend(Signal::iterator().filter(|&s| overflow & (1 << s as i32) != 0));
        }
        drained
    }

    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.reader.as_fd(), self.writer.as_fd()]
    }
}

impl AsFd for Pipe {
    /// Readable while [`drain`](Self::drain) has something to give.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
