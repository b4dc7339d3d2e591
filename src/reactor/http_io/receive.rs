//! The pump: what is read from the transport and what the protocol makes of it, for the reactor and for a call that
//! reads its request's body while that arrives.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;

use super::HttpIo;
use crate::error::{Error, Result};
use crate::h1::{BodyLength, CloseReason, Event, Head, ParseError, ResponseState};
use crate::reactor::Config;
use crate::reactor::host::{Host, Interest};
use crate::reactor::pool::{BufferPool, LARGE};

#[derive(Debug)]
pub(in crate::reactor) enum Received {
    Head(Head),
    Data(Bytes),
    EndOfBody,
    Closed(CloseReason),
    /// Nothing more before the socket is readable.
    Blocked,
    /// The greatest number of reads was made.
    Exhausted,
}

#[derive(Debug)]
pub(in crate::reactor) enum ReceiveError {
    /// The client's input is refused.
    Malformed(ParseError),
    Lost(io::Error),
}

impl HttpIo {
    /// Reads and parses until something has come, with `reads` reads at the most.
    pub(in crate::reactor) fn receive(
        &mut self,
        pool: &mut BufferPool,
        reads: &mut usize,
        config: &Config,
    ) -> Result<Received, ReceiveError> {
        loop {
            match self.http.next_event() {
                Ok(Event::NeedMore) => {
                    if !self.transport.may_read() {
                        return Ok(Received::Blocked);
                    }
                    if *reads == 0 {
                        return Ok(Received::Exhausted);
                    }
                    *reads -= 1;
                    match self.fill(pool) {
                        Ok(0) => self.http.end_of_input(),
                        Ok(n) => self.read += n as u64,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(ReceiveError::Lost(error)),
                    }
                }
                Ok(Event::ExpectContinue) => {
                    self.send_continue(config).map_err(ReceiveError::Lost)?;
                }
                Ok(Event::Request(head)) => return Ok(Received::Head(head)),
                Ok(Event::Data(bytes)) => return Ok(Received::Data(bytes)),
                Ok(Event::EndOfBody) => return Ok(Received::EndOfBody),
                Ok(Event::Closed(reason)) => return Ok(Received::Closed(reason)),
                Err(error) => return Err(ReceiveError::Malformed(error)),
            }
        }
    }

    /// Reads once, and hands what came to the protocol; 0 is the peer's end.
    fn fill(&mut self, pool: &mut BufferPool) -> io::Result<usize> {
        if let Some(room) = self.http.room() {
            return self.transport.read(room);
        }
        let mut block = pool.scratch();
        let taken = self.transport.read(&mut block);
        let len = block.len();
        let (there, missing) = (self.http.buffered(), self.http.missing());
        // Where enough has come to be worth a block, the protocol has that.
        if there == 0 && len >= LARGE {
            self.http.receive_block(block);
            return taken;
        }
        if missing > len && there + len >= LARGE {
            self.http.move_to(pool.block(there + missing));
        }
        self.http.receive(&block);
        pool.reuse(Some(block));
        taken
    }

    /// Reads from a body that is still arriving; 0 is its end.
    pub(in crate::reactor) fn read_body(
        &mut self,
        buffer: &mut [u8],
        config: &Config,
        host: &dyn Host,
    ) -> Result<usize> {
        if self.body.is_empty() {
            self.await_body(config, host)?;
            host.progress();
        }
        Ok(self.body.take(buffer))
    }

    /// Waits until more of the body has arrived, or all of it had.
    fn await_body(&mut self, config: &Config, host: &dyn Host) -> Result<()> {
        self.body.check()?;
        if self.http.response() == ResponseState::Aborted {
            return Err(self.in_time().err().unwrap_or_else(Error::disconnected));
        }
        let (mut since, mut read) = (host.now(), self.read);
        let (mut pool, mut reads) = (BufferPool::default(), usize::MAX);
        while self.http.unread() != BodyLength::Empty {
            // The reactor has the edges that have come since the call began.
            self.transport.on_readable(false);
            match self.receive(&mut pool, &mut reads, config) {
                Ok(Received::Data(bytes)) => {
                    if self.body.arrive(bytes, config) {
                        return Ok(());
                    }
                    let text = "The request's body is larger than this server allows";
                    return Err(self.fail_body(413, text));
                }
                Ok(Received::EndOfBody | Received::Head(_) | Received::Exhausted) => {}
                Ok(Received::Closed(_)) => return Err(self.body_was_cut()),
                Ok(Received::Blocked) => {
                    let now = host.now();
                    // Framing is progress as well.
                    if std::mem::replace(&mut read, self.read) != self.read {
                        since = now;
                    }
                    let until = self.body.due(since, now, config);
                    if until <= now {
                        let text = "The request's body did not arrive in time";
                        return Err(self.fail_body(408, text));
                    }
                    self.wait(Interest::Data, now, until, host)?;
                    self.body.waited += host.now().since(now);
                }
                Err(ReceiveError::Lost(error)) => {
                    self.body_was_cut();
                    return Err(error.into());
                }
                Err(ReceiveError::Malformed(error)) => {
                    return Err(self.fail_body(error.status(), error.to_string()));
                }
            }
        }
        Ok(())
    }

    fn body_was_cut(&mut self) -> Error {
        let text = "The client left before its request's body was complete";
        self.fail_body(400, text)
    }

    /// Notes why the body cannot be read any further: the connection ends with the response.
    fn fail_body(&mut self, status: u16, text: impl Into<Cow<'static, str>>) -> Error {
        self.http.close_after();
        self.body.fail(status, text)
    }
}
