//! Everything that can change the protocol's state: the two sides of a connection, and when it may be used again.
//!
//! No byte is read or written here, and no other file sets a side's state.
//!
//! ```text
//!   client   Head ──request──▶ Body ──its end──▶ Done ─┐
//!             ▲ └──request without a body────────▶─────┤  both done: the next cycle,
//!             └────────────────────────────────────────┤  or Closed(Requested)
//!   server   Idle ──request──▶ Due ──head──▶ Body ──its end──▶ Done ──request──▶ Due
//!                               ▲ └─1xx─┐
//!                               └───────┘
//! ```
//!
//! | what happens | client | server |
//! |---|---|---|
//! | `request` | Head → Body, or Done without a body | Idle → Due |
//! | `body_ended` | Body → Done | |
//! | `responded` | | Due → Body |
//! | `finished` | | Body → Done |
//! | both Done, reusable | → Head | stays, until the next request |
//! | both Done otherwise | → Closed(Requested) | stays |
//! | `close` within a head | → Closed(reason) | → Idle: the head may be answered |
//! | `close` later (bad bytes, end of input) | → Closed(reason) | stays |
//! | `retract` | | Body → Due |
//! | `refuse` | → Closed(Refused) | Idle or Due → Done |
//! | `abort` | → Closed(Aborted) | → Aborted |
//! | `upgraded` | Done → Closed(Upgraded) | Due → Upgraded |
//!
//! *Invariants*: Closed is final; a request is announced only with the server Idle or Done; each request has one
//! response at the most; `reusable` never becomes true again.

use super::error::EncodeError;
use super::event::CloseReason;
use super::frame::Frame;
use super::head::Head;
use super::types::{BodyLength, Version};

/// The progress of the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Head,
    Body,
    Done,
    Closed(CloseReason),
}

/// The progress of the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Idle,
    Due,
    Body(Framing),
    Done,
    Aborted,
    Upgraded,
}

/// The progress of the response to the current request; between two requests, of the response to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseState {
    /// No request has come yet, or what has come was no request.
    Idle,
    /// The response has not begun. Interim responses may have been sent.
    Due,
    /// Its head was encoded.
    Started,
    /// All of it was encoded.
    Complete,
    /// It cannot be completed: the connection has to close.
    Aborted,
    /// There is none: the connection goes on in another protocol.
    Upgraded,
}

/// The way in which the end of a response's body is shown (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, whatever the service writes.
    None,
    /// So many bytes are missing.
    Sized(u64),
    Chunked,
    UntilClose,
}

/// The state of the client's wait for `100 Continue` (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Continue {
    /// It does not, or no more.
    Unneeded,
    Wanted,
    /// It does, and the caller was told.
    Announced,
}

/// The properties of a request that shape its response.
#[derive(Clone, Copy, Debug)]
struct RequestKind {
    is_head: bool,
    is_connect: bool,
    is_http10: bool,
}

/// A response's head as it must be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) framing: Framing,
    /// The value of the `Content-Length` line, if there is to be one.
    pub(super) length: Option<u64>,
    /// True if the connection closes after it.
    pub(super) close: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    client: Client,
    server: Server,
    reusable: bool,
    expect: Continue,
    request: RequestKind,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            client: Client::Head,
            server: Server::Idle,
            reusable: true,
            expect: Continue::Unneeded,
            request: RequestKind {
                is_head: false,
                is_connect: false,
                is_http10: false,
            },
        }
    }

    pub(super) fn client(&self) -> Client {
        self.client
    }

    pub(super) fn will_close(&self) -> bool {
        !self.reusable || matches!(self.client, Client::Closed(_))
    }

    pub(super) fn is_http10(&self) -> bool {
        self.request.is_http10
    }

    /// Tells whether the client gets interim responses.
    pub(super) fn takes_interim(&self) -> bool {
        !self.request.is_http10 && !self.request.is_head
    }

    pub(super) fn request(&mut self, head: &Head) {
        self.client = match head.length() {
            BodyLength::Empty => Client::Done,
            BodyLength::Known(_) | BodyLength::Chunked => Client::Body,
        };
        self.server = Server::Due;
        self.reusable &= head.keep_alive();
        self.expect = if head.expects_continue() {
            Continue::Wanted
        } else {
            Continue::Unneeded
        };
        self.request = RequestKind {
            is_head: head.method_bytes() == b"HEAD",
            is_connect: head.method_bytes() == b"CONNECT",
            is_http10: head.version() < Version::HTTP_11,
        };
    }

    pub(super) fn body_arrived(&mut self) {
        self.expect = Continue::Unneeded;
    }

    /// Tells whether the caller is to be told, once, that the client waits.
    pub(super) fn announce_continue(&mut self) -> bool {
        let told = self.expect == Continue::Wanted;
        if told {
            self.expect = Continue::Announced;
        }
        told
    }

    /// Tells whether the client still waits for `100 Continue`; from now on it does not.
    pub(super) fn continued(&mut self) -> bool {
        std::mem::replace(&mut self.expect, Continue::Unneeded) != Continue::Unneeded
    }

    pub(super) fn body_ended(&mut self) {
        self.client = Client::Done;
        self.settle();
    }

    /// No further request after the current one, or after the next if there is none.
    pub(super) fn close_after(&mut self) {
        self.reusable = false;
    }

    /// The client's side is over. Of several reasons the first stays.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.client == Client::Head {
            self.server = Server::Idle;
        }
        if !matches!(self.client, Client::Closed(_)) {
            self.client = Client::Closed(reason);
        }
        self.reusable = false;
        self.expect = Continue::Unneeded;
    }

    /// The response cannot be completed.
    pub(super) fn abort(&mut self) {
        self.close(CloseReason::Aborted);
        self.server = Server::Aborted;
    }

    /// The connection goes on in another protocol, if the request has come to its end and has no response.
    pub(super) fn upgraded(&mut self) -> bool {
        let may = self.client == Client::Done && self.server == Server::Due;
        if may {
            self.close(CloseReason::Upgraded);
            self.server = Server::Upgraded;
        }
        may
    }

    /// The head of the response has not left, and will not: the response is due as before. Tells whether it was
    /// begun.
    pub(super) fn retract(&mut self) -> bool {
        let begun = matches!(self.server, Server::Body(_));
        if begun {
            self.server = Server::Due;
        }
        begun
    }

    /// Tells whether the server may answer by itself what has come: nothing has answered it.
    pub(super) fn may_refuse(&self) -> bool {
        match self.server {
            Server::Idle | Server::Due => true,
            Server::Done => self.client == Client::Head,
            Server::Body(_) | Server::Aborted | Server::Upgraded => false,
        }
    }

    /// A whole response of the server's own has gone: no further request.
    pub(super) fn refused(&mut self) {
        self.close(CloseReason::Refused);
        self.server = Server::Done;
    }

    pub(super) fn response(&self) -> ResponseState {
        match self.server {
            Server::Idle => ResponseState::Idle,
            Server::Due => ResponseState::Due,
            Server::Body(_) => ResponseState::Started,
            Server::Done => ResponseState::Complete,
            Server::Aborted => ResponseState::Aborted,
            Server::Upgraded => ResponseState::Upgraded,
        }
    }

    pub(super) fn is_head(&self) -> bool {
        self.request.is_head
    }

    /// Tells whether a request waits for the head of its response.
    pub(super) fn is_due(&self) -> bool {
        self.server == Server::Due
    }

    /// How a response must be framed. `own` is the service's `Content-Length`, `known` the length that the
    /// caller knows without the service having said so.
    pub(super) fn plan(
        &self,
        status: u16,
        own: Option<u64>,
        known: Option<u64>,
        close: bool,
    ) -> Plan {
        let RequestKind {
            is_head,
            is_connect,
            is_http10,
        } = self.request;
        let tunnel = is_connect && status / 100 == 2;
        // RFC 9110 §8.6: none with 204, nor with success for CONNECT. With HEAD and 304 the length is what
        // GET would have got: of those an empty body here says nothing, but the service's own word does.
        // 205 has an empty body, whatever the service says (RFC 9110 §15.3.6).
        let length = match status {
            204 => None,
            205 => Some(0),
            _ if tunnel => None,
            304 => own,
            _ if is_head => own.or(known.filter(|&length| length > 0)),
            _ => own.or(known),
        };
        let framing = match length {
            _ if is_head || matches!(status, 204 | 205 | 304) => Framing::None,
            Some(length) => Framing::Sized(length),
            None if tunnel || is_http10 => Framing::UntilClose,
            None => Framing::Chunked,
        };
        // A body that is known to exceed what the service announced is cut, and what it meant to say is not what
        // the client gets.
        //
        // A client that waits for `100 Continue` in vain may send the body or not (RFC 9110 §10.1.1): what
        // follows cannot be told from a request.
        let exceeds = matches!((own, known), (Some(own), Some(known)) if known > own);
        let close = close
            || (exceeds && matches!(framing, Framing::Sized(_)))
            || self.will_close()
            || self.expect != Continue::Unneeded
            || framing == Framing::UntilClose;
        Plan {
            framing,
            length,
            close,
        }
    }

    /// The head of the response has gone.
    pub(super) fn responded(&mut self, plan: Plan) {
        self.server = Server::Body(plan.framing);
        self.reusable &= !plan.close;
        self.expect = Continue::Unneeded;
    }

    /// The frame for `len` bytes of the response's body.
    pub(super) fn frame(&mut self, len: usize) -> Result<Frame, EncodeError> {
        let Server::Body(framing) = &mut self.server else {
            return Err(EncodeError::NotBegun);
        };
        Ok(match framing {
            Framing::None => Frame::bare(0),
            Framing::UntilClose => Frame::bare(len),
            Framing::Chunked => Frame::chunk(len),
            Framing::Sized(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(len);
                *left -= take as u64;
                Frame::bare(take)
            }
        })
    }

    /// Tells whether the response's body has a length that it must not exceed.
    pub(super) fn is_sized(&self) -> bool {
        matches!(self.server, Server::Body(Framing::Sized(_)))
    }

    /// Tells whether the response's body has all the bytes of its length.
    pub(super) fn has_whole_body(&self) -> bool {
        self.server == Server::Body(Framing::Sized(0))
    }

    /// The response's body has ended. Its framing tells what is missing for that.
    pub(super) fn finished(&mut self) -> Result<Framing, EncodeError> {
        let Server::Body(framing) = self.server else {
            return Err(EncodeError::NotBegun);
        };
        if let Framing::Sized(missing @ 1..) = framing {
            self.abort();
            return Err(EncodeError::Incomplete { missing });
        }
        self.server = Server::Done;
        self.settle();
        Ok(framing)
    }

    /// The next cycle, where both sides are done with this one.
    fn settle(&mut self) {
        if self.client == Client::Done && self.server == Server::Done {
            self.client = if self.reusable {
                Client::Head
            } else {
                Client::Closed(CloseReason::Requested)
            };
        }
    }
}
