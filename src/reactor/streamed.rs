//! A request's body that its service reads while it arrives.
//!
//! It keeps to the bounds of one that is collected, and none of its failures can be mistaken for its end: the
//! reader gets an error, and if no response was begun the client is told what was wrong with its request.
//!
//! *Invariants*: after a failure nothing more is read, and the connection ends with the response.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::Config;
use super::deadlines::min_rate_deadline;
use super::exchange::{HttpIo, ReadOutcome};
use super::host::{Host, Interest};
use super::pool::BufferPool;
use crate::error::{Error, Kind, Result};
use crate::h1::{BodyLength, Event};

/// What has come of it.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    /// A piece that its reader has not taken yet.
    arrived: Bytes,
    len: u64,
    /// For how long its client was waited for: a service may take its time.
    waited: Duration,
    fault: Option<Fault>,
}

/// Why it cannot be read to its end, as the client is told.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) status: u16,
    pub(super) text: Cow<'static, str>,
}

impl Streamed {
    /// Why it failed, if it did.
    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }
}

impl HttpIo {
    /// Reads from the body; 0 is its end.
    pub(super) fn read_body(
        &mut self,
        buffer: &mut [u8],
        config: &Config,
        host: &dyn Host,
    ) -> Result<usize> {
        if self.streamed.arrived.is_empty() {
            self.streamed.arrived = self.next_piece(config, host)?;
            host.progress();
        }
        let arrived = &mut self.streamed.arrived;
        let n = buffer.len().min(arrived.len());
        buffer[..n].copy_from_slice(&arrived.split_to(n));
        Ok(n)
    }

    /// The next bytes; empty at the end.
    fn next_piece(&mut self, config: &Config, host: &dyn Host) -> Result<Bytes> {
        if let Some(fault) = &self.streamed.fault {
            return Err(Error::of(Kind::Body, fault.text.clone()));
        }
        let soon = host.now() + config.body_timeout;
        let mut pool = BufferPool::default();
        while self.http.unread() != BodyLength::Empty {
            match self.http.next_event() {
                Ok(Event::Data(bytes)) => {
                    self.streamed.len += bytes.len() as u64;
                    let limit = config.limit_request_body;
                    if limit.is_some_and(|limit| self.streamed.len > limit) {
                        let text = "The request's body is larger than this server allows";
                        return Err(self.fail(413, text));
                    }
                    return Ok(bytes);
                }
                Ok(Event::EndOfBody | Event::Request(_)) => {}
                Ok(Event::ExpectContinue) => self.send_continue(config)?,
                Ok(Event::Closed(_)) => return Err(self.cut()),
                Ok(Event::NeedMore) => match self.fill(&mut pool) {
                    Ok(ReadOutcome::Some | ReadOutcome::End) => {}
                    Ok(ReadOutcome::Blocked) => {
                        let now = host.now();
                        let paid = min_rate_deadline(
                            now - self.streamed.waited,
                            self.streamed.len,
                            config.body_rate,
                            config.body_grace,
                        );
                        let until = paid.map_or(soon, |paid| soon.min(paid));
                        if until <= now {
                            let text = "The request's body did not arrive in time";
                            return Err(self.fail(408, text));
                        }
                        self.wait(Interest::Data, now, until, host)?;
                        self.streamed.waited += host.now().since(now);
                    }
                    Err(error) => {
                        self.cut();
                        return Err(error.into());
                    }
                },
                Err(error) => return Err(self.fail(error.status(), error.to_string())),
            }
        }
        Ok(Bytes::new())
    }

    fn cut(&mut self) -> Error {
        self.fail(
            400,
            "The client left before its request's body was complete",
        )
    }

    /// Notes why the body cannot be read any further.
    fn fail(&mut self, status: u16, text: impl Into<Cow<'static, str>>) -> Error {
        let text = text.into();
        self.http.close_after();
        self.streamed.fault = Some(Fault {
            status,
            text: text.clone(),
        });
        Error::of(Kind::Body, text)
    }
}
