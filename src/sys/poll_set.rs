//! One descriptor that is readable when any of several is.
//!
//! It is made in the process that waits on it, never before a fork: a child would share its list.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::error::{Error, Result};

/// The descriptor. An epoll set within, which may itself be watched (epoll(7)).
#[derive(Debug)]
pub(crate) struct PollSet(Epoll);

impl PollSet {
    /// An empty set: never readable.
    pub(crate) fn new() -> Result<Self> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map(Self)
            .map_err(|errno| Error::io("cannot make an epoll set", errno))
    }

    /// Adds a descriptor, which stays its owner's.
    pub(crate) fn watch(&self, fd: impl AsFd) -> Result<()> {
        self.0
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))
            .map_err(|errno| Error::io("cannot watch a descriptor", errno))
    }

    /// Takes a descriptor out again.
    pub(crate) fn forget(&self, fd: impl AsFd) {
        // It fails only for one that is not there.
        let _ = self.0.delete(fd);
    }

    /// Waits until one is readable, `timeout` has passed, or a signal handler has run.
    pub(crate) fn wait(&self, timeout: Duration) {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        // EINTR is one of the reasons to return; poll(2) has no other that could occur here.
        let _ = nix::poll::poll(&mut fds, timeout);
    }
}

impl AsFd for PollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let set: &OwnedFd = &self.0.0;
        set.as_fd()
    }
}
