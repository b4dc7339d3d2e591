//! [`Notifier`]: a descriptor that is readable from the moment of a notice until the notice is taken (eventfd(2)).

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Error, Result};

/// Wakes a poll from any thread. Non-blocking, and closed on exec.
#[derive(Debug)]
pub(crate) struct Notifier(EventFd);

impl Notifier {
    pub(crate) fn new() -> Result<Self> {
        EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map(Self)
            .map_err(|errno| Error::io("cannot make an event descriptor", errno))
    }

    pub(crate) fn notify(&self) {
        // It fails where the counter is full: then it is readable anyway.
        let _ = self.0.write(1);
    }

    /// Makes it unreadable until the next notice. To be called before what the notice was about is looked at: a notice
    /// that comes between the two is not lost.
    pub(crate) fn clear(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
