//! HTTP/1.1 for servers without I/O: bytes in, [`Event`]s out; responses in, bytes out (RFC 9112).
//!
//! Two rules: everything that can change the protocol's state lives in `state.rs`; and nothing here knows
//! a socket, a clock or a thread.
//!
//! ```text
//!               receive, end_of_input                  begin ▶ field ▶ finish
//!   the client ───────────────────────▶ ┌──────────┐ ◀─────────────────────── the service
//!                                       │   Conn   │   frame, finish
//!   the caller ◀─────────────────────── └──────────┘ ───────────────────────▶ out
//!                     next_event
//!
//!   Request ─▶ ( ExpectContinue? ─▶ Data* ─▶ EndOfBody )? ─▶ the next Request, once the response
//!                                                            has ended, or Closed
//! ```
//!
//! A connection serves one request at a time. The events of the next one come when the current one's body
//! and its response have ended; until then what is [received](Conn::receive) waits, and the caller bounds
//! it.
//!
//! ```
//! use oxicorn::h1::{Config, Conn, Event};
//!
//! let mut conn = Conn::server(Config::default());
//! conn.receive(b"GET /hi?x=1 HTTP/1.1\r\nhost: a\r\n\r\n");
//! let Event::Request(head) = conn.next_event()? else { panic!("a head was there") };
//! assert_eq!(head.path(), "/hi");
//!
//! let mut out = bytes::BytesMut::new();
//! let mut response = conn.begin(&mut out, 200, b"")?;
//! response.field(b"content-type", b"text/plain")?;
//! response.finish(Some(3))?;
//! let frame = conn.frame(3)?;
//! out.extend_from_slice(&b"hi\n"[..frame.take]);
//! out.extend_from_slice(conn.finish()?);
//! assert_eq!(out, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 3\r\n\r\nhi\n");
//! assert!(conn.is_idle());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Invariants*: what is handed out does not depend on how the bytes were cut; a body that is malformed or
//! cut has no [`Event::EndOfBody`]; after an error there is no further request; memory is bounded by
//! [`Limits`] and by what one [`receive`](Conn::receive) brings.

use std::fmt;

use bytes::Bytes;

mod body;
mod config;
mod conn;
mod encode;
mod error;
mod facts;
mod frame;
mod framing;
mod head;
mod parse;
mod request_line;
mod state;
mod status;
mod syntax;
mod tidy;

pub use config::{Config, Leniency, Limits, Names, Underscores};
pub use conn::Conn;
pub use encode::{HeadEncoder, refuse};
pub use error::{EncodeError, ParseError};
pub use frame::{Frame, Prefix};
pub use head::{BodyLength, Head, Version};
pub use status::{Page, error_page, reason_phrase};

/// What comes next of what a client sends: the answer of [`Conn::next_event`].
#[derive(Debug)]
pub enum Event {
    /// Nothing before more is received, or before the current response has ended.
    NeedMore,
    /// A request's head. Its response is due.
    Request(Head),
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1). Comes once, and not
    /// if some of the body is there already: see [`Conn::send_continue`].
    ExpectContinue,
    /// Some of the request's body.
    Data(Bytes),
    /// The request's body is complete. Does not come where its length is [`BodyLength::Empty`].
    EndOfBody,
    /// No further request comes.
    Closed(CloseReason),
}

/// Why no further request comes.
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
    /// What the client has sent was refused.
    Refused,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfInput => "the client has left",
            Self::Requested => "no further request was wanted",
            Self::Incomplete => "the client has left within a request",
            Self::Aborted => "a response could not be completed",
            Self::Refused => "a request was refused",
        })
    }
}
