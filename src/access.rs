//! One answered exchange: [`Access`], and [`AccessSink`], which takes note of it.
//!
//! A reactor makes the record, the worker that runs the reactor adds which process it is, and a sink keeps it: the
//! access log is one.

mod refusal_cause;

use std::fmt;
use std::time::Duration;

use crate::h1::Head;
use crate::service::{Address, ConnectionInfo, RequestInfo};
use crate::time::MonoTime;

pub use refusal_cause::RefusalCause;

/// The facts of one answered exchange, refused requests included.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Access<'a> {
    /// The process that answered; 0 where no worker has added it.
    pub pid: i32,
    /// The number of the worker that answered, from 1 on; 0 where no worker has added it.
    pub worker: u64,
    /// The connection's two ends.
    pub connection: &'a ConnectionInfo,
    /// What a trusted forwarder told of the request.
    pub request: &'a RequestInfo,
    /// The request's head; `None` where none could be parsed.
    pub head: Option<&'a Head>,
    /// The status that was sent, or 0 where the client left before there was one.
    pub status: u16,
    /// Why the server answered in its service's place; `None` where the service answered, or the client left.
    pub refusal: Option<RefusalCause>,
    /// Bytes of the request's body that were received, without framing.
    pub received: u64,
    /// Bytes of the response's body that were handed to the socket or are on their way to it, without
    /// framing.
    pub sent: u64,
    /// When the head was complete.
    pub started: MonoTime,
    /// When the response was complete.
    pub finished: MonoTime,
}

impl Access<'_> {
    /// The client: the one that a trusted forwarder named, else the connection's peer.
    #[must_use]
    pub fn client(&self) -> &Address {
        self.request.client(self.connection)
    }

    /// From the complete head to the end of the response.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.finished.since(self.started)
    }
}

/// Takes note of each answered exchange of a worker: an [`AccessLog`](crate::log::AccessLog) for one.
///
/// A worker calls it from one thread at a time, between reading and writing: so it must not block for long.
pub trait AccessSink: fmt::Debug + Send {
    /// Keeps one exchange.
    fn record(&mut self, access: &Access<'_>);

    /// Hands on the exchanges that were kept. Called once in each turn of the worker's loop, and before log files are
    /// opened again.
    fn flush(&mut self) {}
}
