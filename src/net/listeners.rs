//! [`Listeners`]: all the listening sockets of a server.
//!
//! All are opened or none, and only files of this process are removed.

use std::sync::Arc;

use super::addr::BindAddress;
use super::error::BindError;
use super::listener::Listener;
use super::socket_file::{SocketAccess, SocketFile};

/// The listeners of a server, in the order of their addresses. A clone shares the same sockets.
///
/// Dropping them closes the sockets and leaves the socket files alone, since a fork has the same value:
/// the one process that answers for the files calls [`unlink`](Self::unlink).
///
/// # Keeping a clone
///
/// A program may keep a clone, to look up addresses say. It costs a descriptor in the program and in each worker. Once its
/// server has stopped gracefully, no clone listens any more and clients are refused: the last worker has ended the
/// listening in all processes (`shutdown(2)`). In each other case the socket listens for as long as a clone is there, and
/// a client is connected and waits for an answer until the clone is dropped: after a quick stop, after the end of a server
/// without workers, for a socket that the process was given open (`LISTEN_FDS`, `fd://`), for one that another arbiter
/// has too, for one that a reload has left out, and for that of an [`InProcessServer`](crate::InProcessServer).
/// So a program that goes on after a server drops its clones.
#[derive(Clone, Debug, Default)]
pub struct Listeners(Arc<[Arc<Listener>]>);

impl Listeners {
    /// Opens all addresses, or none: where one fails, those before it are closed again and their socket
    /// files are gone.
    ///
    /// # Errors
    ///
    /// That of the first [`Listener::bind`] that failed.
    pub fn bind<'a>(
        addresses: impl IntoIterator<Item = &'a BindAddress>,
        backlog: u32,
    ) -> Result<Self, BindError> {
        Self::bind_for(addresses, backlog, SocketAccess::default())
    }

    /// The same, with the owner and the mode of the Unix sockets' files.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_for<'a>(
        addresses: impl IntoIterator<Item = &'a BindAddress>,
        backlog: u32,
        access: SocketAccess,
    ) -> Result<Self, BindError> {
        Self::bind_with(addresses, |address| {
            Listener::bind_for(address, backlog, access)
        })
    }

    /// The same, with a way of one's own to open each.
    pub(crate) fn bind_with<'a>(
        addresses: impl IntoIterator<Item = &'a BindAddress>,
        open: impl Fn(&BindAddress) -> Result<Listener, BindError>,
    ) -> Result<Self, BindError> {
        let mut bound = Vec::new();
        for address in addresses {
            match open(address) {
                Ok(listener) => bound.push(listener),
                Err(error) => {
                    Self::from(bound).unlink();
                    return Err(error);
                }
            }
        }
        Ok(bound.into())
    }

    /// The listeners.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Listener>> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The listener of that index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Listener> {
        self.0.get(index).map(Arc::as_ref)
    }

    /// Removes the Unix socket files that these listeners made, unless another file has taken their place.
    /// Inherited ones stay, and those that another arbiter has as well. A failure is a log line.
    pub fn unlink(&self) {
        let alone = self.iter().filter(|listener| !listener.is_shared());
        for file in alone.filter_map(|listener| listener.file()) {
            file.remove();
        }
    }

    /// The socket files that another arbiter answers for as well.
    pub(crate) fn shared_files(&self) -> impl Iterator<Item = Arc<SocketFile>> {
        let shared = self.iter().filter(|listener| listener.is_shared());
        shared.filter_map(|listener| listener.file().cloned())
    }

    /// What the worker of that post is to have: its own queues in place of reserved addresses.
    pub(crate) fn for_queue(&self, post: usize) -> Result<Self, BindError> {
        self.iter()
            .map(|listener| match listener.for_queue(post) {
                Some(own) => own,
                None => Ok(Arc::clone(listener)),
            })
            .collect()
    }

    /// The listeners that can be handed to another arbiter: those that listen. The other arbiter reserves addresses
    /// itself.
    pub(crate) fn listening(&self) -> Self {
        let listening = self.iter().filter(|listener| listener.is_listening());
        Self(listening.cloned().collect())
    }

    /// These, and those of `others` that are not among them.
    pub(crate) fn with(&self, others: &Self) -> Self {
        let others = others.without(self);
        self.iter().chain(&others).cloned().collect()
    }

    /// Those that `others` does not have.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let has = |one: &Arc<Listener>| others.iter().any(|other| Arc::ptr_eq(one, other));
        Self(self.iter().filter(|one| !has(one)).cloned().collect())
    }
}

impl From<Listener> for Listeners {
    fn from(listener: Listener) -> Self {
        vec![listener].into()
    }
}

impl FromIterator<Arc<Listener>> for Listeners {
    fn from_iter<I: IntoIterator<Item = Arc<Listener>>>(listeners: I) -> Self {
        Self(listeners.into_iter().collect())
    }
}

impl From<Vec<Listener>> for Listeners {
    fn from(listeners: Vec<Listener>) -> Self {
        Self(listeners.into_iter().map(Arc::new).collect())
    }
}

impl<'a> IntoIterator for &'a Listeners {
    type Item = &'a Arc<Listener>;
    type IntoIter = std::slice::Iter<'a, Arc<Listener>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_sockets_and_unlink_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let addresses = [
            BindAddress::parse("127.0.0.1:0").unwrap(),
            BindAddress::Unix(path.clone()),
        ];
        let listeners = Listeners::bind(&addresses, 16).unwrap();
        assert_eq!(listeners.len(), 2);
        let clone = listeners.clone();
        assert_eq!(
            clone.get(0).unwrap().socket_addr(),
            listeners.iter().next().unwrap().socket_addr()
        );
        drop(clone);
        assert!(path.exists());
        listeners.unlink();
        assert!(!path.exists());
        listeners.unlink();
    }

    #[test]
    fn one_failing_address_removes_the_socket_files_of_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let addresses = [
            BindAddress::Unix(path.clone()),
            BindAddress::Unix(dir.path().join("missing/s")),
        ];
        let error = Listeners::bind(&addresses, 16).unwrap_err();
        assert!(error.to_string().contains("missing/s"), "{error}");
        assert!(!path.exists());
    }
}
