//! Services without a server: [`Client`] sends a request to one through the protocol, and [`Recorder`] is the exchange of
//! one call.
//!
//! A recorder has no framing, adds no fields and never waits: what a service gave is what it holds.

mod client;
mod memory;
mod response;

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::error::{Error, Kind, Result};
use crate::service::Exchange;
pub use client::{Client, ClientRequest};
pub use response::ClientResponse;

/// An [`Exchange`] that keeps the response, for tests and for programs that call a service by themselves.
///
/// It holds the service to the contract: a response is started once, before its body, and nothing comes
/// after its end.
///
/// ```
/// use oxicorn::{Responder};
/// use oxicorn::testing::Recorder;
///
/// let recorder = Recorder::new();
/// Responder::new(&recorder).text(200, "hello\n")?;
///
/// assert_eq!(recorder.status(), Some(200));
/// assert_eq!(recorder.header("content-type").unwrap(), b"text/plain; charset=utf-8");
/// assert_eq!(recorder.body(), b"hello\n");
/// assert!(recorder.is_complete());
/// # Ok::<(), oxicorn::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Recorder {
    record: RefCell<Record>,
}

/// An interim response that a [`Recorder`] kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Informational {
    /// Its status, 103 for early hints.
    pub status: u16,
    /// Its fields, names and values.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Record {
    status: Option<u16>,
    reason: Vec<u8>,
    /// Names and values, one after the other, and where each of them ends.
    fields: Vec<u8>,
    ends: Vec<(usize, usize)>,
    length: Option<u64>,
    body: Vec<u8>,
    /// Where each block of the body ends.
    blocks: Vec<usize>,
    complete: bool,
    input: Vec<u8>,
    read: usize,
    interim: Vec<Informational>,
    /// How many bytes of a body the client takes before it goes.
    patience: Option<usize>,
}

impl Recorder {
    /// A recorder with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A recorder whose exchange has a request body still to be read, through
    /// [`Body::stream`](crate::Body::stream).
    #[must_use]
    pub fn with_input(input: impl Into<Vec<u8>>) -> Self {
        let recorder = Self::new();
        recorder.record.borrow_mut().input = input.into();
        recorder
    }

    /// Lets the client go once it has got `bytes` of the body: the write that would go beyond, and a look for it
    /// then, fail as [disconnected](Error::is_disconnected).
    pub fn disconnect_after(&self, bytes: usize) {
        self.record.borrow_mut().patience = Some(bytes);
    }

    /// Forgets the response, so that the next one can be recorded without new memory.
    pub fn clear(&self) {
        let record = &mut *self.record.borrow_mut();
        record.status = None;
        record.reason.clear();
        record.fields.clear();
        record.ends.clear();
        record.length = None;
        record.body.clear();
        record.blocks.clear();
        record.complete = false;
        record.interim.clear();
    }

    /// The status, once the response was started.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.record.borrow().status
    }

    /// The reason phrase; empty for the status's standard one.
    #[must_use]
    pub fn reason(&self) -> Vec<u8> {
        self.record.borrow().reason.clone()
    }

    /// The fields, in the order in which they were given.
    #[must_use]
    pub fn headers(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let record = self.record.borrow();
        let mut start = 0;
        let split = |&(name, value): &(usize, usize)| {
            let field = (
                record.fields[start..name].to_vec(),
                record.fields[name..value].to_vec(),
            );
            start = value;
            field
        };
        record.ends.iter().map(split).collect()
    }

    /// The value of the first field of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.headers()
            .into_iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The interim responses before the response.
    #[must_use]
    pub fn interim(&self) -> Vec<Informational> {
        self.record.borrow().interim.clone()
    }

    /// The body's length as the service announced it beside its fields.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.record.borrow().length
    }

    /// The body so far.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.record.borrow().body.clone()
    }

    /// The blocks in which the body came; empty ones do not count.
    #[must_use]
    pub fn blocks(&self) -> Vec<Vec<u8>> {
        let record = self.record.borrow();
        let mut start = 0;
        let split = |&end: &usize| record.body[std::mem::replace(&mut start, end)..end].to_vec();
        record.blocks.iter().map(split).collect()
    }

    /// Whether the response was finished.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.record.borrow().complete
    }
}

impl Record {
    /// Makes room for `len` bytes, unless the client goes before it has them.
    fn take(&mut self, len: usize) -> Result<()> {
        if self.status.is_none() {
            return Err(misuse("a body was written before the response was started"));
        }
        if self.complete {
            return Err(misuse("a body was written after the response's end"));
        }
        match self.patience {
            Some(patience) if self.body.len() + len > patience => Err(Error::disconnected()),
            _ => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.take(bytes.len())?;
        self.body.extend_from_slice(bytes);
        if !bytes.is_empty() {
            self.blocks.push(self.body.len());
        }
        Ok(())
    }
}

fn misuse(message: &'static str) -> Error {
    Error::of(Kind::Response, message)
}

impl Exchange for Recorder {
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()> {
        let record = &mut *self.record.borrow_mut();
        if record.status.is_some() {
            return Err(misuse("a response was started twice"));
        }
        record.status = Some(status);
        record.reason.extend_from_slice(reason);
        record.length = len;
        for (name, value) in headers {
            record.fields.extend_from_slice(name);
            let end = record.fields.len();
            record.fields.extend_from_slice(value);
            record.ends.push((end, record.fields.len()));
        }
        Ok(())
    }

    fn send_informational<'h>(
        &self,
        status: u16,
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        let record = &mut *self.record.borrow_mut();
        if record.status.is_none() {
            let headers = headers.map(|(name, value)| (name.to_vec(), value.to_vec()));
            record.interim.push(Informational {
                status,
                headers: headers.collect(),
            });
        }
        Ok(())
    }

    fn look(&self) -> Result<()> {
        let record = self.record.borrow();
        match record.patience {
            Some(patience) if record.body.len() >= patience => Err(Error::disconnected()),
            _ => Ok(()),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        self.record.borrow_mut().write(bytes)
    }

    fn write_last(&self, bytes: &[u8]) -> Result<()> {
        let record = &mut *self.record.borrow_mut();
        record.write(bytes)?;
        record.complete = true;
        Ok(())
    }

    fn send_file(&self, mut file: File, offset: u64, len: u64) -> Result<()> {
        let record = &mut *self.record.borrow_mut();
        record.take(len as usize)?;
        file.seek(SeekFrom::Start(offset))?;
        if file.take(len).read_to_end(&mut record.body)? as u64 != len {
            return Err(misuse("a file ended before the part that was to be sent"));
        }
        record.blocks.push(record.body.len());
        record.complete = true;
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let record = &mut *self.record.borrow_mut();
        let rest = &record.input[record.read..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        record.read += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::service::{Body, Responder};

    #[test]
    fn blocks_and_fields_are_told_apart() {
        let recorder = Recorder::new();
        let mut body = Responder::new(&recorder)
            .stream(201, &[("a", "1"), ("b", "")])
            .unwrap();
        body.write_all(b"one").unwrap();
        let _ = body.finish_with(b"two").unwrap();
        assert_eq!(recorder.blocks(), [b"one", b"two"]);
        assert_eq!(recorder.header("B").unwrap(), b"");
        assert_eq!(recorder.headers().len(), 2);
    }

    #[test]
    fn a_client_that_goes_is_a_disconnect() {
        let recorder = Recorder::new();
        recorder.disconnect_after(3);
        let error = Responder::new(&recorder).text(200, "four").unwrap_err();
        assert!(error.is_disconnected());
        assert!(!recorder.is_complete());
    }

    #[test]
    fn a_second_response_is_refused() {
        let recorder = Recorder::new();
        let _ = Responder::new(&recorder).text(200, "").unwrap();
        assert!(
            Responder::new(&recorder)
                .text(200, "")
                .unwrap_err()
                .is_response()
        );
        recorder.clear();
        assert!(Responder::new(&recorder).text(200, "").is_ok());
    }

    #[test]
    fn input_is_read_through_a_streamed_body() {
        let recorder = Recorder::with_input("hello");
        let mut text = String::new();
        Body::stream(&recorder).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }
}
