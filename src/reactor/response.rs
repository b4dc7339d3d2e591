//! [`Response`]: what is recorded of a response, and the errors that a call gets for one.

use crate::error::{Error, Kind};
use crate::h1::{self, Head};
use crate::time::MonoTime;
use crate::trace;

/// The access log's facts of the current response. Its progress is known to `h1` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(super) status: u16,
    /// Bytes of the body, without framing.
    pub(super) sent: u64,
    /// Bytes that the service gave for the body beyond what it may have.
    dropped: u64,
    /// When the service gave its head.
    pub(super) begun: Option<MonoTime>,
}

impl Response {
    /// A response of which the head is encoded.
    pub(super) fn started(status: u16, now: MonoTime) -> Self {
        Self {
            status,
            begun: Some(now),
            ..Self::default()
        }
    }

    pub(super) fn whole(status: u16, sent: u64) -> Self {
        Self {
            status,
            sent,
            ..Self::default()
        }
    }

    /// Counts a block of which so much was taken.
    pub(super) fn count(&mut self, given: usize, taken: usize) {
        self.sent += taken as u64;
        self.dropped += (given - taken) as u64;
    }

    /// Logs bytes that the client did not get. After HEAD there is nothing wrong with them.
    pub(super) fn complain(&self, head: &Head) {
        let Self {
            status, dropped, ..
        } = self;
        if *dropped == 0 || head.method() == "HEAD" {
            return;
        }
        let why = match status {
            204 | 205 | 304 => "its status allows none",
            _ => "its Content-Length is smaller",
        };
        trace::warning!(
            "{} {}: {dropped} bytes of the {status} response's body were dropped, since {why}",
            head.method(),
            head.target()
        );
    }
}

/// The error of a call that took too long.
pub(super) fn given_up() -> Error {
    Error::of(
        Kind::Timeout,
        "the request was given up: it took longer than request_timeout",
    )
}

impl From<h1::EncodeError> for Error {
    fn from(error: h1::EncodeError) -> Self {
        Error::of(Kind::Response, error.to_string()).because(error)
    }
}
