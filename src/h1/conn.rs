//! [`Conn`]: one connection's protocol, from bytes to events and from responses to bytes.
//!
//! It reads and writes nothing, and what state it is in only `state` decides.
//!
//! *Invariants*: what was not parsed yet is in `bytes` and nowhere else; when that is empty it owns no
//! memory, so an idle connection owns none once it was asked to [`release`](Conn::release) what it keeps
//! for its next request.

use bytes::{Buf, BytesMut};

use super::body::{Part, Reader};
use super::config::ConnConfig;
use super::encode::{CONTINUE, HeadEncoder, put_page, say_close};
use super::error::{EncodeError, ParseError};
use super::event::{CloseReason, Event};
use super::frame::{Frame, LAST_CHUNK};
use super::head::Head;
use super::head_memory::HeadMemory;
use super::parse::Scan;
use super::state::{Client, Framing, ResponseState, State};
use super::status::Page;
use super::types::BodyLength;

/// The first memory for what a client sends, in bytes: most heads fit.
const FIRST: usize = 1024;

/// The server's side of one HTTP/1.1 connection, without the connection: see the [module](super).
///
/// ```
/// use oxicorn::h1::{Conn, Event};
///
/// let mut conn = Conn::server(Default::default());
/// conn.receive(b"GET /tea?hot=1 HTTP/1.1\r\nhost: a\r\n\r\n");
/// let Ok(Event::Request(head)) = conn.next_event() else { panic!() };
/// assert_eq!((head.method(), head.path(), head.query()), ("GET", "/tea", "hot=1"));
/// ```
#[derive(Debug)]
pub struct Conn {
    config: ConnConfig,
    state: State,
    /// Received and not parsed.
    bytes: BytesMut,
    /// The progress of the search through the next head.
    scan: Scan,
    /// An empty line before the next head was dropped: a second is an error.
    skipped: bool,
    body: Reader,
    /// True if the current body is handed out in one piece.
    whole: bool,
    /// Bytes of bodies that were handed out.
    received: u64,
    /// No more will be received.
    ended: bool,
    spare: HeadMemory,
}

impl Conn {
    /// A connection on which nothing has been received.
    #[must_use]
    pub fn server(config: ConnConfig) -> Self {
        Self {
            config,
            state: State::new(),
            bytes: BytesMut::new(),
            scan: Scan::default(),
            skipped: false,
            body: Reader::new(BodyLength::Empty),
            whole: false,
            received: 0,
            ended: false,
            spare: HeadMemory::default(),
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

    /// Takes in a block of what the client has sent, as [`receive`](Self::receive) does, without a copy where
    /// nothing waits to be parsed. What comes next may be read into the room that is left of it.
    pub fn receive_block(&mut self, block: BytesMut) {
        if self.bytes.is_empty() && !matches!(self.state.client(), Client::Closed(_)) {
            self.bytes = block;
        } else {
            self.receive(&block);
        }
    }

    /// The memory of what was received and is not parsed, if what is missing of a body that is
    /// [gathered](Self::gather) fits in: to be added to, and not to be changed otherwise.
    pub(crate) fn room(&mut self) -> Option<&mut BytesMut> {
        let missing = self.missing();
        let fits = missing > 0 && self.bytes.capacity() - self.bytes.len() >= missing;
        fits.then_some(&mut self.bytes)
    }

    /// Tells how much memory it has for what is received and not parsed.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Has what was received and is not parsed go on in `block`, which should have more room.
    pub(crate) fn move_to(&mut self, mut block: BytesMut) {
        block.clear();
        block.extend_from_slice(&self.bytes);
        self.bytes = block;
    }

    /// Has the body that begins handed out in one piece, if its length is known: the caller wants to keep all of
    /// it.
    pub fn gather(&mut self) {
        self.whole = true;
    }

    /// Tells how much has to be received before a body that is [gathered](Self::gather) is there; 0 where there is
    /// none, or no known length.
    pub(crate) fn missing(&self) -> usize {
        match (self.unread(), self.whole) {
            (BodyLength::Known(left), true) => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                left.saturating_sub(self.bytes.len())
            }
            _ => 0,
        }
    }

    /// Returns the number that [`take_received`](Self::take_received) would return, and does not reset it.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Tells how many bytes of bodies were handed out since this was asked last.
    pub fn take_received(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }

    /// The client will send no more. What it has sent is still parsed.
    pub fn end_of_input(&mut self) {
        self.ended = true;
    }

    /// Returns the next event of the client's input.
    ///
    /// # Errors
    ///
    /// Fails if the input is not HTTP/1.1, or would be unsafe to take for it. [Refuse](Self::refuse) it, unless a
    /// response is under way, and close: the events that follow are [`Event::Closed`].
    #[inline]
    pub fn next_event(&mut self) -> Result<Event, ParseError> {
        // That is asked most often.
        if self.is_idle() && !self.ended {
            return Ok(Event::NeedMore);
        }
        self.read_on()
    }

    fn read_on(&mut self) -> Result<Event, ParseError> {
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

    #[inline]
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
        let Some(head) = self.scan.head(&mut self.bytes, memory, &self.config)? else {
            return Ok(self.need_more(CloseReason::Incomplete));
        };
        self.scan = Scan::default();
        self.skipped = false;
        self.body = Reader::new(head.length());
        self.whole = false;
        self.state.request(&head);
        Ok(Event::Request(head))
    }

    fn next_part(&mut self) -> Result<Event, ParseError> {
        if !self.bytes.is_empty() {
            self.state.body_arrived();
        }
        let part = if self.missing() > 0 {
            Part::NeedMore
        } else {
            self.body.next(&mut self.bytes, &self.config)?
        };
        match part {
            Part::Data(data) => {
                self.received += data.len() as u64;
                Ok(Event::Data(data))
            }
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

    /// Takes the memory of a head that is no longer needed, for the next one. Gives it back where it is too large
    /// to be kept.
    pub fn recycle(&mut self, head: Head) -> Option<BytesMut> {
        self.spare.take_from(head)
    }

    /// Gives away the memory that is kept for the next head, if there is any, so that another connection can
    /// [have it](Self::adopt): one that is idle needs none.
    pub fn release(&mut self) -> Option<HeadMemory> {
        let memory = std::mem::take(&mut self.spare);
        (!memory.is_empty()).then_some(memory)
    }

    /// Takes memory for its next head, as far as it has none.
    pub fn adopt(&mut self, memory: HeadMemory) {
        self.spare.fill(memory);
    }

    /// Tells how many bytes are received and not parsed yet. Between requests they may be the next one.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the unread rest of the current request's body: for a body with a length, the number of missing bytes.
    #[must_use]
    pub fn unread(&self) -> BodyLength {
        match self.state.client() {
            Client::Body => self.body.left(),
            Client::Head | Client::Done | Client::Closed(_) => BodyLength::Empty,
        }
    }

    /// Tells whether the connection is between requests and nothing of a next one has come.
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
    /// Fails if no response is due, or if the status or the reason cannot be sent. Nothing is written then.
    pub fn begin<'c>(
        &'c mut self,
        out: &'c mut BytesMut,
        status: u16,
        reason: &[u8],
    ) -> Result<HeadEncoder<'c>, EncodeError> {
        HeadEncoder::begin(&mut self.state, out, status, reason)
    }

    /// Begins the 101 with which the current request's wish for another protocol is granted (RFC 9110 §15.2.2): its
    /// status line goes to `out`. It keeps the field `Upgrade`, which is to name that protocol. Then
    /// [upgrade](Self::upgrade).
    ///
    /// # Errors
    ///
    /// Where no response is due. Nothing is written then.
    pub fn switch_protocols<'c>(
        &'c mut self,
        out: &'c mut BytesMut,
    ) -> Result<HeadEncoder<'c>, EncodeError> {
        HeadEncoder::switch(&mut self.state, out)
    }

    /// Ends HTTP on the connection, which goes on in another protocol, and hands out the part of it that was received
    /// already. The current request gets no other response.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NotDue`] where no response is due, or some of the request's body is still to come.
    pub fn upgrade(&mut self) -> Result<BytesMut, EncodeError> {
        if !self.state.upgraded() {
            return Err(EncodeError::NotDue);
        }
        Ok(std::mem::take(&mut self.bytes))
    }

    /// Returns the framing for the next `len` bytes of the response's body, and how many of them to send. For an empty
    /// block the frame is empty. Bytes beyond the `Content-Length` are cut off: see [`exceeded`](Self::exceeded).
    ///
    /// # Errors
    ///
    /// [`EncodeError::NotBegun`] where no response's body is open.
    pub fn frame(&mut self, len: usize) -> Result<Frame, EncodeError> {
        self.state.frame(len)
    }

    /// Tells whether frames were made for all bytes of a body whose length is known: only its end is missing.
    pub(crate) fn has_whole_body(&self) -> bool {
        self.state.has_whole_body()
    }

    /// Tells the client of a body that was longer than its `Content-Length`, as long as it can be told: `head`
    /// ends with the response's head, which was not sent yet. It says `Connection: close` then, and the
    /// connection ends with the response. Otherwise, and where the body was to be empty (HEAD, 204, 205, 304),
    /// nothing changes: what the client got is as long as it was told, so the next response is in step.
    pub fn exceeded(&mut self, head: &mut BytesMut) {
        if self.state.is_sized() && say_close(head, self.state.is_http10()) {
            self.state.close_after();
        }
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

    /// Writes a whole response of the server's own: the request is refused, or could not be answered. `preamble`
    /// holds encoded lines, as for [`HeadEncoder::preamble`]. The page itself is left out where the request was
    /// HEAD (RFC 9110 §9.3.2). The connection has to close after it: no further request comes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NotDue`] where a response has begun, or was given already; and where the page has a status
    /// that is no error's, or a reason or a content type that cannot be sent. Nothing is written then.
    pub fn refuse(
        &mut self,
        out: &mut BytesMut,
        preamble: &[u8],
        page: &Page,
    ) -> Result<(), EncodeError> {
        if !self.state.may_refuse() {
            return Err(EncodeError::NotDue);
        }
        let is_head = self.state.response() == ResponseState::Due && self.state.is_head();
        put_page(out, preamble, page, is_head)?;
        self.state.refused();
        self.bytes = BytesMut::new();
        Ok(())
    }

    /// Takes back a response's head that was encoded and has not left: the response is due again. Tells whether one
    /// was begun.
    pub fn retract(&mut self) -> bool {
        self.state.retract()
    }

    /// Returns the progress of the response to the current request; between two requests, of the response to the one
    /// before.
    #[must_use]
    pub fn response(&self) -> ResponseState {
        self.state.response()
    }

    /// The response cannot be completed, or was given in another way: the connection must close.
    pub fn abort(&mut self) {
        self.state.abort();
        self.bytes = BytesMut::new();
    }

    /// Tells whether the connection closes after the current response, as far as is known.
    #[must_use]
    pub fn will_close(&self) -> bool {
        self.state.will_close()
    }
}

#[cfg(test)]
mod tests;
