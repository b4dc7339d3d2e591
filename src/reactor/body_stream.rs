//! A request's body that its service reads while it arrives.
//!
//! It keeps to the bounds of one that is collected, and none of its failures can be mistaken for its end: the
//! reader gets an error, and if no response was begun the client gets an error response.
//!
//! *Invariants*: after a failure nothing more is read, and the connection ends with the response.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::Config;
use crate::error::{Error, Kind, Result};
use crate::time::MonoTime;

#[derive(Debug, Default)]
pub(super) struct BodyStream {
    /// A piece that its reader has not taken yet.
    arrived: Bytes,
    len: u64,
    /// For how long its client was waited for: a service may take its time.
    pub(super) waited: Duration,
    pub(super) fault: Option<Fault>,
}

/// Why it cannot be read to its end, as the error response shows it.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) status: u16,
    pub(super) text: Cow<'static, str>,
}

impl BodyStream {
    /// Hands out of what has arrived what fits into `buffer`, and says how much that was.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let n = buffer.len().min(self.arrived.len());
        buffer[..n].copy_from_slice(&self.arrived.split_to(n));
        n
    }

    /// Tells whether more has to arrive before anything can be [taken](Self::take).
    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    /// Notes what has arrived. `false` where the body is too large with it.
    pub(super) fn arrive(&mut self, bytes: Bytes, config: &Config) -> bool {
        self.len += bytes.len() as u64;
        self.arrived = bytes;
        self.len <= config.limit_request_body()
    }

    /// When more has to have arrived, for which a call has waited since `since`.
    pub(super) fn due(&self, since: MonoTime, now: MonoTime, config: &Config) -> MonoTime {
        let soon = since + config.settings.body_timeout;
        config
            .body_min_rate()
            .bound(soon, now - self.waited, self.len)
    }

    /// Fails where it has failed before.
    pub(super) fn check(&self) -> Result<()> {
        match &self.fault {
            Some(fault) => Err(Error::of(Kind::Body, fault.text.clone())),
            None => Ok(()),
        }
    }

    /// Notes why it cannot be read any further.
    pub(super) fn fail(&mut self, status: u16, text: impl Into<Cow<'static, str>>) -> Error {
        let text = text.into();
        self.arrived = Bytes::new();
        self.fault = Some(Fault {
            status,
            text: text.clone(),
        });
        Error::of(Kind::Body, text)
    }
}
