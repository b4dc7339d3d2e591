//! [`Doors`]: the arbiter's listeners, with their socket files.
//!
//! The arbiter never reads from them. It answers for the files: its workers only close.

use crate::net::Listeners;

/// Listeners that are closed, and whose socket files are removed, when this is dropped.
#[derive(Debug)]
pub(super) struct Doors(Option<Listeners>);

impl Doors {
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

    /// Whether nobody but this arbiter and its workers has them: then those who leave may close them for all.
    pub(super) fn are_ours_alone(&self) -> bool {
        self.0.as_ref().is_none_or(|listeners| {
            let mut listeners = listeners.iter();
            listeners.all(|listener| !listener.is_shared())
        })
    }

    /// Another arbiter has got all of them as well, or nobody has any more.
    pub(super) fn set_shared(&self, shared: bool) {
        for listener in self.0.iter().flatten() {
            listener.set_shared(shared);
        }
    }

    pub(super) fn close(&mut self) {
        if let Some(listeners) = self.0.take() {
            listeners.unlink();
        }
    }

    /// Closes those that `others` does not have as well.
    pub(super) fn close_but(mut self, others: &Self) {
        if let Some(listeners) = self.0.take() {
            listeners.without(&others.listeners()).unlink();
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.close();
    }
}
