//! [`Manager`]: what becomes of the server, as its service manager is told it.
//!
//! It only follows the arbiter's phases, and counts.

use std::collections::BTreeSet;

use crate::arbiter::Phase;
use crate::sys::notify::Notifier;

/// A service manager that is kept informed.
#[derive(Debug)]
pub(super) struct Manager {
    notifier: Notifier,
    /// The workers that are ready.
    workers: BTreeSet<u64>,
    wanted: usize,
    /// Whether the server has been ready.
    ready: bool,
    stopping: bool,
}

impl Manager {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self {
            notifier,
            workers: BTreeSet::new(),
            wanted: 0,
            ready: false,
            stopping: false,
        }
    }

    pub(super) fn follow(&mut self, phase: &Phase) {
        match phase {
            Phase::Resized { to, .. } => self.wanted = *to,
            Phase::WorkerReady { id, .. } => {
                self.workers.insert(*id);
            }
            Phase::WorkerExited { id, .. } => {
                self.workers.remove(id);
            }
            Phase::Ready { .. } => {
                self.ready = true;
                return self.notifier.ready(&self.count());
            }
            Phase::Reloading => return self.notifier.reloading(),
            // The old workers serve on, if they did.
            Phase::ReloadFailed { reason } if self.ready => {
                let reason = reason.lines().next().unwrap_or_default();
                let status = format!("{}; the last reload failed: {reason}", self.count());
                return self.notifier.ready(&status);
            }
            Phase::Stopping => {
                self.stopping = true;
                return self.notifier.stopping();
            }
            _ => return,
        }
        if self.ready && !self.stopping {
            self.notifier.status(&self.count());
        }
    }

    fn count(&self) -> String {
        format!("{} of {} workers ready", self.workers.len(), self.wanted)
    }
}
