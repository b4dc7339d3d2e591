//! [`ListenerTable`]: which sockets a server listens on, in memory that its arbiter shares with the processes beside it.
//!
//! A process that has none of the sockets can ask the system about them, by their inodes.
//!
//! *Invariants*: the arbiter alone writes the table; a reader sees it as it was at one moment.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::Result;
use crate::sys::mapping::{Mapping, Region, shared};
use crate::sys::seqlock::{SeqLock, load_bytes, store_bytes};

/// How many sockets are shown: with `reuse_port` each worker has its own.
const ROWS: usize = 1024;
/// How much of an address is shown, in words of eight bytes: the longest path of a Unix socket fits.
const WORDS: usize = 15;

shared! {
    struct Header {
        lock: SeqLock,
        used: AtomicU32,
    }

    struct Row {
        inode: AtomicU64,
        /// Zeros follow the address.
        address: [AtomicU64; WORDS],
    }
}

/// A socket that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListeningSocket {
    pub(crate) inode: u64,
    pub(crate) address: String,
}

#[derive(Debug)]
pub(crate) struct ListenerTable {
    header: Region<Header>,
    rows: Region<Row>,
}

impl ListenerTable {
    /// A table without a socket. Of its memory those pages are in use that were written to.
    pub(crate) fn new() -> Result<Self> {
        let length = size_of::<Header>() + ROWS * size_of::<Row>();
        let memory = Mapping::anonymous(NonZeroUsize::new(length).unwrap_or(NonZeroUsize::MIN))?;
        Ok(Self {
            header: memory.region(0, 1),
            rows: memory.region(size_of::<Header>(), ROWS),
        })
    }

    /// From now on these are the sockets: as many as there is room for.
    pub(crate) fn show(&self, sockets: impl ExactSizeIterator<Item = ListeningSocket>) {
        let header = &self.header[0];
        header.lock.write(|| {
            let used = sockets.len().min(ROWS) as u32;
            header.used.store(used, Ordering::Relaxed);
            for (row, socket) in self.rows.iter().zip(sockets) {
                row.inode.store(socket.inode, Ordering::Relaxed);
                let mut address = [0; WORDS * 8];
                let length = socket.address.len().min(address.len());
                address[..length].copy_from_slice(&socket.address.as_bytes()[..length]);
                store_bytes(&row.address, &address);
            }
        });
    }

    /// The sockets; none where the arbiter writes them just now.
    pub(crate) fn read(&self) -> Vec<ListeningSocket> {
        let header = &self.header[0];
        let read = header.lock.read(|| {
            let used = header.used.load(Ordering::Relaxed) as usize;
            self.rows.iter().take(used).map(Row::read).collect()
        });
        read.unwrap_or_default()
    }

    /// From now on this process only reads it.
    pub(crate) fn read_only(&self) -> Result<()> {
        self.rows.read_only()
    }
}

impl Row {
    fn read(&self) -> ListeningSocket {
        let bytes = load_bytes(&self.address);
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        ListeningSocket {
            inode: self.inode.load(Ordering::Relaxed),
            address: String::from_utf8_lossy(text).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(inode: u64, address: &str) -> ListeningSocket {
        let address = address.to_owned();
        ListeningSocket { inode, address }
    }

    #[test]
    fn the_last_sockets_shown_are_read() {
        let table = ListenerTable::new().unwrap();
        assert_eq!(table.read(), []);
        let path = format!("unix:{}", "p".repeat(108));
        let both = [socket(7, "127.0.0.1:8000"), socket(8, &path)];
        table.show(both.clone().into_iter());
        assert_eq!(table.read(), both);
        table.show([socket(9, "[::1]:80")].into_iter());
        assert_eq!(table.read(), [socket(9, "[::1]:80")]);
        table.show((0..5000_u32).map(|inode| socket(inode.into(), "x")));
        assert_eq!(table.read().len(), ROWS);
        table.show([].into_iter());
        assert_eq!(table.read(), []);
    }
}
