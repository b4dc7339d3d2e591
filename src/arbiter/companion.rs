//! [`Companion`]: a process that an arbiter forks for itself, beside its workers.
//!
//! It answers where the arbiter cannot: that one runs configuration files, hooks and imports. It reads the memory that
//! arbiter and workers share, and has nothing else of theirs.
//!
//! *Invariants*: it is no worker, and counts as none; it ends with its arbiter, whatever ends that one; where it dies, it is
//! forked again.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use super::Handle;
use crate::error::Result;
use crate::ipc::link::LinkEnd;
use crate::net::Listeners;

/// What a companion is forked of.
pub(crate) struct Companion {
    /// What it is, for the log and for lists of processes: `status`.
    pub(crate) role: &'static str,
    /// The sockets that it alone accepts from. The arbiter answers for their files, and hands them to the next arbiter.
    pub(crate) listeners: Listeners,
    /// Its life, in its own process.
    pub(crate) run: Life,
}

type Life = Box<dyn FnMut(&CompanionContext) -> Result<()>>;

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion")
            .field("role", &self.role)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

/// What a companion has of its arbiter.
#[derive(Debug)]
pub(crate) struct CompanionContext {
    listeners: Listeners,
    handle: Handle,
    link: LinkEnd,
}

impl CompanionContext {
    /// From now on this process can only read the memory that it shares with the arbiter and the workers.
    pub(super) fn new(listeners: Listeners, handle: Handle, link: LinkEnd) -> Result<Self> {
        handle.read_only()?;
        Ok(Self {
            listeners,
            handle,
            link,
        })
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Tells what arbiter and workers do. Its commands fail.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Readable once the arbiter [has gone](Self::is_over).
    pub(crate) fn arbiter(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// Whether the arbiter has gone.
    pub(crate) fn is_over(&self) -> bool {
        self.link.is_closed()
    }
}
