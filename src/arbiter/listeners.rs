//! [`ArbiterListeners`]: the arbiter's listeners, with their socket files.
//!
//! The arbiter never reads from them. It answers for the files: its workers only close.
//!
//! ```text
//!   a Unix socket is closed: at a stop, or where new settings lack it
//!     no other process has it ───────▶ its file is removed
//!     a service manager opened it ───▶ its file stays
//!     another arbiter got it as well ▶ DeferredUnlinks ── that one goes first ──▶ its file is removed
//!                                        └──── this one goes first ──▶ its file is the other's
//! ```
//!
//! The other arbiter either has the socket still, or has it in its own [`DeferredUnlinks`]: so the one that goes last
//! removes the file.

use std::sync::Arc;

use crate::net::{Listeners, SocketFile};

/// The files of Unix sockets that were closed here while another arbiter had them, or knew of them, too.
#[derive(Debug, Default)]
pub(super) struct DeferredUnlinks(pub(super) Vec<Arc<SocketFile>>);

impl DeferredUnlinks {
    /// The other arbiter has gone: only this one answers for these. A name that is in use again stays.
    pub(super) fn remove(&mut self, in_use: &Listeners) {
        let names: Vec<_> = in_use.iter().filter_map(|one| one.file()).collect();
        for file in self.0.drain(..) {
            if !names.iter().any(|name| name.has_the_name_of(&file)) {
                file.remove();
            }
        }
    }

    fn close(&mut self, listeners: &Listeners) {
        self.0.extend(listeners.shared_files());
        listeners.unlink();
    }
}

/// Listeners that are closed, and whose socket files are removed, when this is dropped.
#[derive(Debug)]
pub(super) struct ArbiterListeners(Option<Listeners>);

impl ArbiterListeners {
    pub(super) fn new(listeners: Listeners) -> Self {
        Self(Some(listeners))
    }

    /// What a child takes with it: it closes sockets one day, but the files are not its to remove.
    pub(super) fn hand_over(&mut self) -> Listeners {
        self.0.take().unwrap_or_else(|| Vec::new().into())
    }

    pub(super) fn listeners(&self) -> Listeners {
        self.0.clone().unwrap_or_else(|| Vec::new().into())
    }

    /// Whether only this arbiter and its workers have them: then workers that leave may close them for all.
    pub(super) fn are_ours_alone(&self) -> bool {
        self.0.as_ref().is_none_or(|listeners| {
            let mut listeners = listeners.iter();
            listeners.all(|listener| !listener.is_shared())
        })
    }

    /// Another arbiter has got all of them as well, or none has them any more.
    pub(super) fn set_shared(&self, shared: bool) {
        for listener in self.0.iter().flatten() {
            listener.set_shared(shared);
        }
    }

    /// Keeps the queues of a worker that has gone without being asked to, for the one that is forked in its place.
    pub(super) fn take_back(&self, queues: &Listeners) {
        for listener in self.0.iter().flatten() {
            queues.iter().for_each(|queue| listener.take_back(queue));
        }
    }

    /// Closes the queues that no worker has.
    pub(super) fn close_free_queues(&self) {
        for listener in self.0.iter().flatten() {
            listener.close_free_queues();
        }
    }

    pub(super) fn close(&mut self, unlinks: &mut DeferredUnlinks) {
        if let Some(listeners) = self.0.take() {
            unlinks.close(&listeners);
        }
    }

    /// Closes those that `others` does not have as well.
    pub(super) fn close_but(&mut self, others: &Listeners, unlinks: &mut DeferredUnlinks) {
        if let Some(listeners) = self.0.take() {
            unlinks.close(&listeners.without(others));
        }
    }
}

impl Drop for ArbiterListeners {
    fn drop(&mut self) {
        self.close(&mut DeferredUnlinks::default());
    }
}
