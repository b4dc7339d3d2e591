//! [`Shutdown`]: how a worker is asked to leave; [`ShutdownHandle`], which asks from within its own process.
//!
//! It asks, and wakes the worker; it waits for nothing, and knows no signals.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::atomic_enum::{AtomicEnum, numbered};
use crate::error::Result;
use crate::sys::eventfd::Notifier;

/// What a worker is asked to do. Exhaustive: a worker has to know what it does about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// To go on.
    Running,
    /// To take nothing new, finish what it has, and leave (SIGTERM, or the arbiter has gone).
    Graceful,
    /// To leave at once (SIGINT, SIGQUIT).
    Quick,
}

numbered!(Shutdown: Running, Graceful, Quick);

/// Asks a worker to leave, from any thread of its process: what a signal does from outside. Made by
/// [`WorkerContext::shutdown_handle`](super::WorkerContext::shutdown_handle).
#[derive(Clone, Debug)]
pub struct ShutdownHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asked: AtomicEnum<Shutdown>,
    notifier: Notifier,
}

impl ShutdownHandle {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            asked: AtomicEnum::new(Shutdown::Running),
            notifier: Notifier::new()?,
        })))
    }

    /// Asks for it. A request is not taken back: a lesser one changes nothing.
    pub fn ask(&self, shutdown: Shutdown) {
        self.0.asked.raise(shutdown, Ordering::Release);
        self.0.notifier.notify();
    }

    /// Whether that was asked, or more; the descriptor stays readable.
    pub(super) fn was_asked(&self, shutdown: Shutdown) -> bool {
        self.0.asked.load(Ordering::Acquire) >= shutdown
    }

    /// What was asked; the descriptor is not readable until there is more.
    pub(super) fn take(&self) -> Shutdown {
        self.0.notifier.clear();
        self.0.asked.load(Ordering::Acquire)
    }
}

impl AsFd for ShutdownHandle {
    /// Readable where something was asked.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.notifier.as_fd()
    }
}
