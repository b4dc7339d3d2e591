//! [`Event`]: what comes next of what a client has sent, and [`CloseReason`], why nothing more does.

use std::fmt;

use bytes::Bytes;

use super::head::Head;

/// The next part of a client's input, as [`Conn::next_event`](super::Conn::next_event) finds it.
///
/// The enum is exhaustive, because each event asks its caller for something: input that is ignored is lost.
#[derive(Debug)]
pub enum Event {
    /// Nothing before more is received, or before the current response has ended.
    NeedMore,
    /// A request's head. Its response is due.
    Request(Head),
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1). Comes once, and not
    /// if some of the body is there already: see [`Conn::send_continue`](super::Conn::send_continue).
    ExpectContinue,
    /// Some of the request's body.
    Data(Bytes),
    /// The request's body is complete. Does not come where its length is [`BodyLength::Empty`](super::BodyLength::Empty).
    EndOfBody,
    /// No further request comes.
    Closed(CloseReason),
}

/// The reason that no further request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client has left between requests.
    EndOfInput,
    /// One side has said `Connection: close`, or HTTP/1.0 says it by itself.
    Requested,
    /// The client has left within a head or a body.
    Incomplete,
    /// A response could not be completed.
    Aborted,
    /// The client's input was refused.
    Refused,
    /// The connection goes on in another protocol.
    Upgraded,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfInput => "the client has left",
            Self::Requested => "no further request was wanted",
            Self::Incomplete => "the client has left within a request",
            Self::Aborted => "a response could not be completed",
            Self::Refused => "a request was refused",
            Self::Upgraded => "the connection goes on in another protocol",
        })
    }
}
