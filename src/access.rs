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
    /// The moments in between.
    pub times: RequestTimes,
    /// What was kept of the response's head and of the application's variables.
    pub recorded: &'a Recorded,
}

/// The moments of a request that was handed to its service; `None` for one that it did not reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTimes {
    /// When the request was complete enough to be answered, and waited for its call.
    pub complete: Option<MonoTime>,
    /// When its call began.
    pub called: Option<MonoTime>,
    /// When the service began the response.
    pub begun: Option<MonoTime>,
}

/// What an exchange keeps for its record, as far as the record's reader has asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Fields that the service gave its response: names as they were given, and values.
    pub response_fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Variables of the request as the service had them at its end, such as those of a WSGI environ.
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Recorded {
    /// Nothing.
    pub const NONE: &'static Self = &Self {
        response_fields: Vec::new(),
        variables: Vec::new(),
    };

    /// The last field of that name, in any case.
    #[must_use]
    pub fn response_field(&self, name: &str) -> Option<&[u8]> {
        last(&self.response_fields, name)
    }

    /// The variable of that name, in any case.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        last(&self.variables, name)
    }
}

fn last<'v>(values: &'v [(Vec<u8>, Vec<u8>)], name: &str) -> Option<&'v [u8]> {
    let mut values = values.iter().rev();
    let found = values.find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, value)| value.as_slice())
}

impl Access<'_> {
    /// The client: the one that a trusted forwarder named, else the connection's peer.
    #[must_use]
    pub fn client(&self) -> &Address {
        self.request.client(self.connection)
    }

    /// From the complete head to the beginning of the service's response.
    #[must_use]
    pub fn first_byte(&self) -> Option<Duration> {
        Some(self.times.begun?.since(self.started))
    }

    /// From the complete request to the beginning of its call.
    #[must_use]
    pub fn queued(&self) -> Option<Duration> {
        Some(self.times.called?.since(self.times.complete?))
    }

    /// From the complete head to the end of the response.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.finished.since(self.started)
    }
}

/// Takes note of each answered exchange of a worker, requests that the server itself refuses included (400, 408, 413,
/// 431, 503 and the like): an [`AccessLog`](crate::log::AccessLog) for one. A program's own is given to
/// [`ServerBuilder::access_sink`](crate::ServerBuilder::access_sink).
///
/// A worker calls it from one thread at a time, between reading and writing: so it must not block for long.
///
/// ```
/// use oxicorn::access::{Access, AccessSink};
///
/// #[derive(Debug)]
/// struct SlowRequests;
///
/// impl AccessSink for SlowRequests {
///     fn record(&mut self, access: &Access<'_>) {
///         if access.elapsed().as_secs() >= 1 {
///             eprintln!("a request of {} took {:?}", access.client(), access.elapsed());
///         }
///     }
/// }
///
/// let server = oxicorn::Server::builder().access_sink(|| SlowRequests);
/// ```
pub trait AccessSink: fmt::Debug + Send {
    /// Keeps one exchange.
    fn record(&mut self, access: &Access<'_>);

    /// Hands on the exchanges that were kept. Called once in each turn of the worker's loop, and before log files are
    /// opened again.
    fn flush(&mut self) {}
}

/// All of them take note.
impl AccessSink for Vec<Box<dyn AccessSink>> {
    fn record(&mut self, access: &Access<'_>) {
        for sink in self {
            sink.record(access);
        }
    }

    fn flush(&mut self) {
        for sink in self {
            sink.flush();
        }
    }
}
