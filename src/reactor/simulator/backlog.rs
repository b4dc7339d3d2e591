//! [`Backlog`]: the one listener of the simulated network.

use std::fmt;
use std::io;

use super::network::{Network, Socket};
use crate::reactor::acceptor::Queue;
use crate::reactor::transport::Transport;
use crate::service::Address;

/// A listener.
#[derive(Clone, Debug)]
pub(super) struct Backlog(pub(super) Network);

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated listener")
    }
}

impl Queue for Backlog {
    fn accept(&self) -> io::Result<(Transport, Address)> {
        let id = {
            let mut state = self.0.state();
            let id = state.backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
            let now = state.now;
            let end = &mut state.sockets[id];
            end.accepted = true;
            end.accepted_at = now;
            id
        };
        let network = self.0.clone();
        Ok((
            Transport::new(Socket::new(network, id)),
            Address::Unix(None),
        ))
    }

    fn waiting(&self) -> Option<usize> {
        Some(self.0.state().backlog.len())
    }
}
