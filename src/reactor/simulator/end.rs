//! [`End`]: a connection's two ways, and what is underway on them.

use std::collections::VecDeque;

#[cfg(feature = "_tls")]
use super::encrypted::Encrypted;
use crate::time::MonoTime;

/// A connection, as the network has it.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct End {
    /// From the client, and not read yet.
    pub(super) arrived: VecDeque<u8>,
    /// From the server, and not taken yet by the client.
    pub(super) sent: VecDeque<u8>,
    /// How much of that there may be.
    pub(super) room: usize,
    /// The client sends no more.
    pub(super) client_ended: bool,
    /// The client has gone, and says so.
    pub(super) reset: bool,
    /// The server sends no more.
    pub(super) server_ended: bool,
    /// The server has closed its socket.
    pub(super) closed: bool,
    /// There were bytes that the server had not read when it closed: the client may lose what it has not taken.
    pub(super) closed_unread: bool,
    /// Whether the server has accepted it, and when.
    pub(super) accepted: bool,
    pub(super) accepted_at: MonoTime,
    /// The reactor's key, once it is polled.
    pub(super) key: Option<usize>,
    /// An edge was not told of yet, and for how many polls it is late.
    pub(super) edge: Option<u8>,
    /// A write found no room: the next room is an edge.
    pub(super) starved: bool,
    /// As over TLS: bytes are kept between the socket and its user.
    pub(super) sealed: bool,
    pub(super) opened: VecDeque<u8>,
    pub(super) record: VecDeque<u8>,
    pub(super) for_write: bool,
    /// The client speaks TLS.
    #[cfg(feature = "_tls")]
    pub(super) tls: Option<Box<Encrypted>>,
    /// Written, and held back since then.
    pub(super) corked: VecDeque<u8>,
    pub(super) corked_at: MonoTime,
}

impl End {
    pub(super) fn has_input(&self) -> bool {
        !self.arrived.is_empty() || self.client_ended || self.reset
    }

    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < self.room || self.reset
    }

    /// Moves bytes on their way as far as there is room.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room.saturating_sub(self.sent.len()));
        self.sent.extend(&bytes[..n]);
        if n < bytes.len() {
            self.starved = true;
        }
        n
    }

    /// The client takes `n` bytes that have come for it.
    pub(super) fn read(&mut self, n: usize, into: &mut Vec<u8>) {
        let came = self.sent.drain(..n);
        #[cfg(feature = "_tls")]
        if let Some(tls) = &mut self.tls {
            let came: Vec<u8> = came.collect();
            return tls.receive(&came, into);
        }
        into.extend(came);
    }

    pub(super) fn client_sends(&mut self, bytes: &[u8]) {
        #[cfg(feature = "_tls")]
        if let Some(tls) = &mut self.tls {
            return tls.send(bytes);
        }
        self.arrived.extend(bytes);
    }

    pub(super) fn client_ends(&mut self) {
        #[cfg(feature = "_tls")]
        if let Some(tls) = &mut self.tls {
            return tls.end();
        }
        self.client_ended = true;
    }

    /// Lets go what is held back.
    pub(super) fn uncork(&mut self) {
        self.sent.append(&mut self.corked);
    }

    pub(super) fn flush_record(&mut self) -> bool {
        let record: Vec<u8> = self.record.drain(..).collect();
        let n = self.take(&record);
        self.record.extend(&record[n..]);
        self.record.is_empty()
    }
}
