//! [`Door`]: through which a worker is asked to leave from within its own process.
//!
//! It asks, and wakes who is to hear it; it waits for nothing, and knows no signals.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Shutdown;
use crate::error::{Error, Result};

/// Asks a worker to leave, from any thread of its process: what a signal does from outside. Made by
/// [`WorkerContext::door`](super::WorkerContext::door).
#[derive(Clone, Debug)]
pub struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asked: AtomicU8,
    bell: EventFd,
}

impl Door {
    pub(super) fn new() -> Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| Error::io("cannot make an event descriptor", errno))?;
        Ok(Self(Arc::new(Inner {
            asked: AtomicU8::new(Shutdown::Running as u8),
            bell,
        })))
    }

    /// Asks for it. What has been asked is not taken back: less than that changes nothing.
    pub fn ask(&self, shutdown: Shutdown) {
        self.0.asked.fetch_max(shutdown as u8, Ordering::Release);
        // It fails where the counter is full: then the worker is going to look anyway.
        let _ = self.0.bell.write(1);
    }

    /// Whether that was asked, or more; the bell goes on to ring.
    pub(super) fn was_asked(&self, shutdown: Shutdown) -> bool {
        self.0.asked.load(Ordering::Acquire) >= shutdown as u8
    }

    /// What was asked; the bell is quiet until there is more.
    pub(super) fn answer(&self) -> Shutdown {
        // First the bell, then the question: one that comes between them rings again.
        let _ = self.0.bell.read();
        Shutdown::from_number(self.0.asked.load(Ordering::Acquire))
    }
}

impl AsFd for Door {
    /// Readable while somebody has rung.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}
