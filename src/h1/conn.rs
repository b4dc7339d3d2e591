//! [`Conn`]: one connection's protocol, from bytes to events and from responses to bytes.
//!
//! It reads and writes nothing, and what state it is in only `state` decides.
//!
//! *Invariants*: what was not parsed yet is in `bytes` and nowhere else; when that is empty it owns no
//! memory, so an idle connection owns none once it was asked to [`release`](Conn::release) what it keeps
//! for its next request.

use bytes::{Buf, BytesMut};

use super::body::{Part, Reader};
use super::encode::{CONTINUE, HeadEncoder, LAST_CHUNK};
use super::error::{EncodeError, ParseError};
use super::head::{BodyLength, Head, Span};
use super::limits::Limits;
use super::parse::Scan;
use super::state::{Client, Framing, State};
use super::{CloseReason, Event, Frame};

/// The first memory for what a client sends, in bytes: most heads fit.
const FIRST: usize = 1024;
/// Memory larger than this is freed rather than kept for the next request.
const LARGE: usize = 16 * 1024;

/// The server's side of one HTTP/1.1 connection, without the connection: see the [module](super).
#[derive(Debug)]
pub struct Conn {
    limits: Limits,
    state: State,
    /// Received and not parsed.
    bytes: BytesMut,
    /// How far the next head has been looked through.
    scan: Scan,
    /// An empty line before the next head was dropped: a second is an error.
    skipped: bool,
    body: Reader,
    /// No more will be received.
    ended: bool,
    spare: Spare,
}

/// Memory for the next request.
#[derive(Debug, Default)]
struct Spare {
    block: BytesMut,
    fields: Vec<(Span, Span)>,
}

impl Conn {
    /// A connection on which nothing has been received.
    #[must_use]
    pub fn server(limits: Limits) -> Self {
        Self {
            limits,
            state: State::new(),
            bytes: BytesMut::new(),
            scan: Scan::default(),
            skipped: false,
            body: Reader::new(BodyLength::Empty),
            ended: false,
            spare: Spare::default(),
        }
    }

    /// Takes in what the client has sent: all of it, however much that is. Ask for
    /// [events](Self::next_event) before there is more.
    pub fn receive(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || matches!(self.state.client(), Client::Closed(_)) {
            return;
        }
        if self.bytes.is_empty() {
            self.bytes = std::mem::take(&mut self.spare.block);
            self.bytes.reserve(bytes.len().max(FIRST));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The client will send no more. What it has sent is still parsed.
    pub fn end_of_input(&mut self) {
        self.ended = true;
    }

    /// What comes next of what the client has sent.
    ///
    /// # Errors
    ///
    /// Where it is not HTTP/1.1, or would be unsafe to take for it. Answer with [`refuse`](super::refuse),
    /// unless a response is under way, and close: the events that follow are [`Event::Closed`].
    pub fn next_event(&mut self) -> Result<Event, ParseError> {
        let event = match self.state.client() {
            Client::Head => self.next_head(),
            Client::Body => self.next_part(),
            Client::Done => Ok(Event::NeedMore),
            Client::Closed(reason) => Ok(Event::Closed(reason)),
        };
        if event.is_err() {
            self.close(CloseReason::Refused);
        } else if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
        event
    }

    fn next_head(&mut self) -> Result<Event, ParseError> {
        // One empty line before a request is forgiven (RFC 9112 §2.2).
        if !self.skipped && self.bytes.starts_with(b"\r\n") {
            self.bytes.advance(2);
            self.skipped = true;
            self.scan = Scan::default();
        }
        if self.bytes.is_empty() {
            return Ok(self.need_more(CloseReason::EndOfInput));
        }
        let memory = &mut self.spare.fields;
        let Some(head) = self.scan.head(&mut self.bytes, memory, &self.limits)? else {
            return Ok(self.need_more(CloseReason::Incomplete));
        };
        self.scan = Scan::default();
        self.skipped = false;
        self.body = Reader::new(head.length());
        self.state.request(&head);
        Ok(Event::Request(head))
    }

    fn next_part(&mut self) -> Result<Event, ParseError> {
        if !self.bytes.is_empty() {
            self.state.body_arrived();
        }
        match self.body.next(&mut self.bytes, &self.limits)? {
            Part::Data(data) => Ok(Event::Data(data)),
            Part::End => {
                self.state.body_ended();
                Ok(Event::EndOfBody)
            }
            Part::NeedMore if self.ended => Ok(self.need_more(CloseReason::Incomplete)),
            Part::NeedMore if self.state.announce_continue() => Ok(Event::ExpectContinue),
            Part::NeedMore => Ok(Event::NeedMore),
        }
    }

    /// There is no more in what has come; `reason` is why the connection ends if nothing else will.
    fn need_more(&mut self, reason: CloseReason) -> Event {
        if !self.ended {
            return Event::NeedMore;
        }
        self.close(reason);
        Event::Closed(reason)
    }

    fn close(&mut self, reason: CloseReason) {
        self.state.close(reason);
        self.bytes = BytesMut::new();
    }

    /// Takes the memory of a head that is no longer needed, for the next one.
    pub fn recycle(&mut self, head: Head) {
        let Head {
            block, mut fields, ..
        } = head;
        if self.spare.block.capacity() == 0 {
            // Not where a piece of the body still shares it.
            if let Ok(mut block) = block.try_into_mut() {
                if block.capacity() <= LARGE {
                    block.clear();
                    self.spare.block = block;
                }
            }
        }
        if self.spare.fields.capacity() == 0 {
            fields.clear();
            self.spare.fields = fields;
        }
    }

    /// Gives away the memory that is kept for the next head, if there is any. Another connection can have
    /// it by [`recycle`](Self::recycle); it is no head to look at.
    pub fn release(&mut self) -> Option<Head> {
        let Spare { block, fields } = std::mem::take(&mut self.spare);
        let is_some = block.capacity() > 0 || fields.capacity() > 0;
        is_some.then(|| Head::memory(block.freeze(), fields))
    }

    /// How many bytes are received and not parsed yet. Between requests they may be the next one.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the connection is between requests and nothing of a next one has come.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state.client() == Client::Head && self.bytes.is_empty()
    }

    /// Writes `100 Continue` if the client still waits for it, and tells whether it did.
    pub fn send_continue(&mut self, out: &mut BytesMut) -> bool {
        let wanted = self.state.continued();
        if wanted {
            out.extend_from_slice(CONTINUE);
        }
        wanted
    }

    /// Makes the current response the connection's last, or the next one if none is due. If its head has
    /// gone already the client is not told beforehand.
    pub fn close_after(&mut self) {
        self.state.close_after();
    }

    /// Begins the response to the current request: its status line goes to `out`. An empty `reason` is the
    /// [standard one](super::reason_phrase).
    ///
    /// # Errors
    ///
    /// Where no response is due, or the status or the reason cannot be sent. Nothing is written then.
    pub fn begin<'c>(
        &'c mut self,
        out: &'c mut BytesMut,
        status: u16,
        reason: &[u8],
    ) -> Result<HeadEncoder<'c>, EncodeError> {
        HeadEncoder::begin(&mut self.state, out, status, reason)
    }

    /// What to send around the next `len` bytes of the response's body, and how many of them. For none it
    /// is empty. What exceeds the `Content-Length` is cut off, and the connection closes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NotBegun`] where no response's body is open.
    pub fn frame(&mut self, len: usize) -> Result<Frame, EncodeError> {
        self.state.frame(len)
    }

    /// Ends the response's body. Send what it returns after the last frame.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Incomplete`] where the `Content-Length` was not reached: the response is
    /// [aborted](Self::abort) then. [`EncodeError::NotBegun`] where no body is open.
    pub fn finish(&mut self) -> Result<&'static [u8], EncodeError> {
        Ok(match self.state.finished()? {
            Framing::Chunked => LAST_CHUNK,
            Framing::None | Framing::Sized(_) | Framing::UntilClose => b"",
        })
    }

    /// The response cannot be completed, or was given in another way: the connection must close.
    pub fn abort(&mut self) {
        self.state.abort();
        self.bytes = BytesMut::new();
    }

    /// Whether the connection closes after the current response, as far as is known.
    #[must_use]
    pub fn will_close(&self) -> bool {
        self.state.will_close()
    }
}
