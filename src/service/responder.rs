//! [`Responder`]: how a service answers.
//!
//! A second answer, or half of one that passes for whole, cannot be written down: a [`Responded`] is made here alone.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};

use super::Exchange;
use crate::error::Result;

/// Answers one request, once.
pub struct Responder<'a> {
    exchange: &'a dyn Exchange,
}

/// The receipt for one complete response. Nothing but a finished [`Responder`] makes one.
#[derive(Debug)]
#[must_use = "a service proves with it that it has answered"]
pub struct Responded(());

impl<'a> Responder<'a> {
    /// A responder for an exchange; for servers and for tests.
    #[must_use]
    pub fn new(exchange: &'a dyn Exchange) -> Self {
        Self { exchange }
    }

    /// The exchange that it would answer, for a service that puts one of its own before another service's.
    #[must_use]
    pub fn into_exchange(self) -> &'a dyn Exchange {
        self.exchange
    }

    /// Answers with a text in UTF-8.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn text(self, status: u16, text: impl AsRef<[u8]>) -> Result<Responded> {
        self.send(
            status,
            &[("content-type", "text/plain; charset=utf-8")],
            text.as_ref(),
        )
    }

    /// Answers with a body that is complete.
    ///
    /// # Errors
    ///
    /// A status or a header that cannot be sent, or a client that has gone.
    pub fn send(self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<Responded> {
        self.begin(status, headers, Some(body.len() as u64))?
            .finish_with(body)
    }

    /// Starts an answer whose body is written piece by piece.
    ///
    /// # Errors
    ///
    /// A status or a header that cannot be sent, or a client that has gone.
    pub fn stream(self, status: u16, headers: &[(&str, &str)]) -> Result<BodyWriter<'a>> {
        self.begin(status, headers, None)
    }

    /// Sends an interim response before the answer: `103` with `Link` headers lets a browser fetch while the
    /// answer is made (RFC 8297). HTTP/1.0 and HEAD get none, and a server sends none unless it is told to
    /// ([`early_hints`](crate::reactor::Config::early_hints)).
    ///
    /// # Errors
    ///
    /// A status not within 102 to 199, a header that cannot be sent, or a client that has gone.
    pub fn send_informational<'h>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        self.exchange
            .send_informational(status, &mut headers.into_iter())
    }

    /// Looks whether the client is still there.
    ///
    /// # Errors
    ///
    /// Where it has gone, or has at least ended its output.
    pub fn look(&self) -> Result<()> {
        self.exchange.look()
    }

    /// Starts an answer from bytes: with a reason phrase of its own (empty for the standard one), and the
    /// length where it is known.
    ///
    /// # Errors
    ///
    /// A status or a header that cannot be sent, or a client that has gone.
    pub fn start<'h>(
        self,
        status: u16,
        reason: &[u8],
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<BodyWriter<'a>> {
        self.exchange
            .begin(status, reason, &mut headers.into_iter(), len)?;
        Ok(BodyWriter {
            exchange: self.exchange,
        })
    }

    fn begin(
        self,
        status: u16,
        headers: &[(&str, &str)],
        len: Option<u64>,
    ) -> Result<BodyWriter<'a>> {
        self.start(
            status,
            b"",
            headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            len,
        )
    }
}

impl fmt::Debug for Responder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

/// Writes a response's body: [`Write`] to it, then [`finish`](Self::finish).
///
/// A writer that is dropped unfinished leaves the response cut, and the connection with it.
pub struct BodyWriter<'a> {
    exchange: &'a dyn Exchange,
}

impl BodyWriter<'_> {
    /// Looks whether the client is still there, where there is nothing to write for now.
    ///
    /// # Errors
    ///
    /// Where it has gone, or has at least ended its output.
    pub fn look(&self) -> Result<()> {
        self.exchange.look()
    }

    /// Ends the response.
    ///
    /// # Errors
    ///
    /// Those of [`finish_with`](Self::finish_with).
    pub fn finish(self) -> Result<Responded> {
        self.finish_with(&[])
    }

    /// Ends the response with a last block, which may leave in the same write.
    ///
    /// # Errors
    ///
    /// A client that has gone, or a body that is not as long as the response's head says.
    pub fn finish_with(self, bytes: &[u8]) -> Result<Responded> {
        self.exchange.write_last(bytes)?;
        Ok(Responded(()))
    }

    /// Ends the response with `len` bytes of `file`, from `offset` on.
    ///
    /// # Errors
    ///
    /// Those of [`finish_with`](Self::finish_with), or a file that cannot be read so far.
    pub fn send_file(self, file: File, offset: u64, len: u64) -> Result<Responded> {
        self.exchange.send_file(file, offset, len)?;
        Ok(Responded(()))
    }
}

impl Write for BodyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.exchange.write(bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: every block is on its way when `write` returns (PEP 3333, "Buffering and Streaming").
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for BodyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyWriter")
    }
}
