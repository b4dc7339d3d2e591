//! [`MemoryExchange`]: an exchange whose response goes through the protocol, into memory.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::BytesMut;

use crate::error::{Error, Result};
use crate::h1::Conn;
use crate::service::Exchange;

/// The exchange of a request that is complete.
pub(super) struct MemoryExchange(RefCell<(Conn, Received)>);

/// What a client has got.
#[derive(Default)]
pub(super) struct Received {
    /// The encoded head.
    pub(super) head: BytesMut,
    /// The content, without its framing.
    pub(super) body: Vec<u8>,
}

impl MemoryExchange {
    /// The exchange of the request that is due.
    pub(super) fn new(conn: Conn) -> Self {
        Self(RefCell::new((conn, Received::default())))
    }

    pub(super) fn into_parts(self) -> (Conn, Received) {
        self.0.into_inner()
    }
}

impl Exchange for MemoryExchange {
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()> {
        let (conn, sent) = &mut *self.0.borrow_mut();
        let mut head = conn.begin(&mut sent.head, status, reason)?;
        for (name, value) in headers {
            head.field(name, value)?;
        }
        Ok(head.finish(len)?)
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let (conn, sent) = &mut *self.0.borrow_mut();
        let frame = conn.frame(bytes.len())?;
        sent.body.extend_from_slice(&bytes[..frame.take]);
        Ok(())
    }

    fn write_last(&self, bytes: &[u8]) -> Result<()> {
        self.write(bytes)?;
        self.0.borrow_mut().0.finish()?;
        Ok(())
    }

    fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, offset)
            .map_err(|error| Error::io("cannot read a file", error))?;
        self.write_last(&bytes)
    }

    /// The body was complete before the call.
    fn read(&self, _: &mut [u8]) -> Result<usize> {
        Ok(0)
    }
}
