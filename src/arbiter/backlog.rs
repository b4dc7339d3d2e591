//! [`Backlog`]: how many clients wait at an address.
//!
//! The arbiter shows which sockets it listens on; a handle asks the system about them, also while the arbiter is
//! busy, and in a process that has none of them.

use super::Handle;
use crate::ipc::listening::{ListenerTable, ListeningSocket};
use crate::net::Listener;
use crate::sys::sock_diag;

/// Connections that wait at an address until a worker accepts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// `127.0.0.1:8000`, `[::1]:8000`, `unix:/run/x.sock` or `unix:@shop`.
    pub(crate) address: String,
    pub(crate) waiting: u64,
}

impl Handle {
    /// The backlogs of all addresses, in the order in which they were bound; without those of which the system does not
    /// tell.
    pub(crate) fn backlogs(&self) -> Vec<Backlog> {
        let sockets = self.scoreboard().map(|it| it.listening().read());
        let sockets = sockets.unwrap_or_default();
        let inodes: Vec<u64> = sockets.iter().map(|it| it.inode).collect();
        let lengths = sock_diag::waiting(&inodes);
        let mut backlogs: Vec<Backlog> = Vec::new();
        for ListeningSocket { inode, address } in sockets {
            let Some(&waiting) = lengths.get(&inode) else {
                continue;
            };
            let waiting = u64::from(waiting);
            // With `reuse_port` each worker has a socket of the address.
            match backlogs.iter_mut().find(|it| it.address == address) {
                Some(backlog) => backlog.waiting += waiting,
                None => backlogs.push(Backlog { address, waiting }),
            }
        }
        backlogs
    }
}

/// Shows the sockets of these listeners.
pub(super) fn show<'a>(
    table: &ListenerTable,
    listeners: impl ExactSizeIterator<Item = &'a Listener>,
) {
    table.show(listeners.map(|listener| ListeningSocket {
        inode: listener.inode(),
        address: match listener.socket_addr() {
            Some(address) => address.to_string(),
            None => listener.to_string(),
        },
    }));
}
