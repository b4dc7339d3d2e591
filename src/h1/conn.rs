//! [`Conn`]: one connection's protocol, from bytes to events and from responses to bytes.
//!
//! It reads and writes nothing, and what state it is in only `state` decides.
//!
//! *Invariants*: what was not parsed yet is in `bytes` and nowhere else; when that is empty it owns no
//! memory, so an idle connection owns none once it was asked to [`release`](Conn::release) what it keeps
//! for its next request.

use bytes::{Buf, BytesMut};

use super::body::{Part, Reader};
use super::config::Config;
use super::encode::{CONTINUE, HeadEncoder, say_close};
use super::error::{EncodeError, ParseError};
use super::frame::{Frame, LAST_CHUNK};
use super::head::{BodyLength, Head, Span};
use super::parse::Scan;
use super::state::{Client, Framing, State};
use super::{CloseReason, Event};

/// The first memory for what a client sends, in bytes: most heads fit.
const FIRST: usize = 1024;
/// Memory larger than this is freed rather than kept for the next request.
const LARGE: usize = 16 * 1024;

/// The server's side of one HTTP/1.1 connection, without the connection: see the [module](super).
#[derive(Debug)]
pub struct Conn {
    config: Config,
    state: State,
    /// Received and not parsed.
    bytes: BytesMut,
    /// How far the next head has been looked through.
    scan: Scan,
    /// An empty line before the next head was dropped: a second is an error.
    skipped: bool,
    body: Reader,
    /// Whether the current body is handed out in one piece.
    whole: bool,
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
    pub fn server(config: Config) -> Self {
        Self {
            config,
            state: State::new(),
            bytes: BytesMut::new(),
            scan: Scan::default(),
            skipped: false,
            body: Reader::new(BodyLength::Empty),
            whole: false,
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

    /// How much memory it has for what is received and not parsed.
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

    /// How much has to be received before a body that is [gathered](Self::gather) is there; 0 where there is
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

    /// Takes the memory of a head that is no longer needed, for the next one. Gives it back where it is too large
    /// to be kept.
    pub fn recycle(&mut self, head: Head) -> Option<BytesMut> {
        let Head {
            block, mut fields, ..
        } = head;
        if self.spare.fields.capacity() == 0 {
            fields.clear();
            self.spare.fields = fields;
        }
        // Not where a piece of the body still shares it.
        let mut block = block.try_into_mut().ok()?;
        block.clear();
        if block.capacity() > LARGE {
            return Some(block);
        }
        if self.spare.block.capacity() == 0 {
            self.spare.block = block;
        }
        None
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

    /// What is left of the current request's body: of one with a length, the bytes that are missing.
    #[must_use]
    pub fn unread(&self) -> BodyLength {
        match self.state.client() {
            Client::Body => self.body.left(),
            Client::Head | Client::Done | Client::Closed(_) => BodyLength::Empty,
        }
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
    /// is empty. What exceeds the `Content-Length` is cut off: see [`exceeded`](Self::exceeded).
    ///
    /// # Errors
    ///
    /// [`EncodeError::NotBegun`] where no response's body is open.
    pub fn frame(&mut self, len: usize) -> Result<Frame, EncodeError> {
        self.state.frame(len)
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

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    const EXPECT: &[u8] =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";

    fn received(bytes: &[u8]) -> Conn {
        let mut conn = Conn::server(Config::default());
        conn.receive(bytes);
        conn
    }

    /// The next event, without what it carries.
    fn event(conn: &mut Conn) -> String {
        match conn.next_event() {
            Ok(Event::Request(head)) => format!("{} {}", head.method(), head.target()),
            Ok(Event::Data(data)) => format!("{data:?}"),
            Ok(event) => format!("{event:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// Answers with an empty 200, and gives back the head as it was sent.
    fn answer(conn: &mut Conn) -> BytesMut {
        let mut out = BytesMut::new();
        conn.begin(&mut out, 200, b"")
            .unwrap()
            .finish(Some(0))
            .unwrap();
        assert_eq!(conn.finish(), Ok(&b""[..]));
        out
    }

    #[test]
    fn a_pipelined_request_waits_for_the_response_before_it() {
        let mut conn = received(&[GET, POST, b"abc", GET].concat());
        assert_eq!(event(&mut conn), "GET /");
        assert_eq!(event(&mut conn), "NeedMore");
        assert_eq!(conn.buffered(), POST.len() + 3 + GET.len());
        answer(&mut conn);
        assert_eq!(event(&mut conn), "POST /");
        assert_eq!(event(&mut conn), "b\"abc\"");
        assert_eq!(event(&mut conn), "EndOfBody");
        assert_eq!(event(&mut conn), "NeedMore");
        answer(&mut conn);
        assert!(!conn.is_idle());
        assert_eq!(event(&mut conn), "GET /");
        answer(&mut conn);
        assert!(conn.is_idle());
        conn.end_of_input();
        assert_eq!(event(&mut conn), "Closed(EndOfInput)");
    }

    #[test]
    fn a_response_may_end_before_the_body_that_is_then_drained() {
        let mut conn = received(&[POST, b"a"].concat());
        assert_eq!(event(&mut conn), "POST /");
        answer(&mut conn);
        assert_eq!(event(&mut conn), "b\"a\"");
        assert_eq!(event(&mut conn), "NeedMore");
        conn.receive(&[b"bc", GET].concat());
        assert_eq!(event(&mut conn), "b\"bc\"");
        assert_eq!(event(&mut conn), "EndOfBody");
        assert_eq!(event(&mut conn), "GET /");
    }

    #[test]
    fn what_is_left_of_a_body_is_known_until_its_end() {
        let mut conn = received(&[POST, b"ab"].concat());
        assert_eq!(conn.unread(), BodyLength::Empty, "no request yet");
        event(&mut conn);
        assert_eq!(conn.unread(), BodyLength::Known(3));
        event(&mut conn);
        assert_eq!(conn.unread(), BodyLength::Known(1));
        conn.receive(b"c");
        event(&mut conn);
        assert_eq!(event(&mut conn), "EndOfBody");
        assert_eq!(conn.unread(), BodyLength::Empty);
        let mut conn =
            received(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
        event(&mut conn);
        assert_eq!(conn.unread(), BodyLength::Chunked);
        conn.receive(b"\r\n");
        assert_eq!(event(&mut conn), "EndOfBody");
        assert_eq!(conn.unread(), BodyLength::Empty);
    }

    #[test]
    fn a_gathered_body_comes_in_one_piece_however_it_is_cut() {
        let bytes = [POST, b"abc", GET].concat();
        for cut in POST.len()..=bytes.len() {
            let mut conn = received(&bytes[..POST.len()]);
            assert_eq!(event(&mut conn), "POST /");
            conn.gather();
            for piece in [&bytes[POST.len()..cut], &bytes[cut..]] {
                assert_eq!(event(&mut conn), "NeedMore");
                let there = conn.buffered();
                assert_eq!(conn.missing(), 3 - there);
                conn.receive(piece);
                if conn.missing() == 0 {
                    break;
                }
            }
            assert_eq!(event(&mut conn), "b\"abc\"");
            assert_eq!(event(&mut conn), "EndOfBody");
            assert_eq!(conn.missing(), 0);
        }
        let mut conn = received(&[POST, b"ab"].concat());
        event(&mut conn);
        conn.gather();
        conn.end_of_input();
        assert_eq!(event(&mut conn), "Closed(Incomplete)");
    }

    #[test]
    fn a_block_is_taken_with_its_room_and_not_copied() {
        let mut block = BytesMut::with_capacity(1000);
        let start = block.as_ptr();
        block.extend_from_slice(&[POST, b"a"].concat());
        let mut conn = Conn::server(Config::default());
        conn.receive_block(block);
        let Ok(Event::Request(head)) = conn.next_event() else {
            panic!("no request")
        };
        conn.gather();
        assert_eq!(event(&mut conn), "NeedMore");
        conn.room().expect("for two bytes").extend_from_slice(b"bc");
        assert!(conn.room().is_none(), "nothing is missing");
        let Ok(Event::Data(body)) = conn.next_event() else {
            panic!("no body")
        };
        assert_eq!(
            (&body[..], body.as_ptr()),
            (&b"abc"[..], start.wrapping_add(POST.len()))
        );
        assert_eq!(event(&mut conn), "EndOfBody");
        // The memory is whole again when nobody has a part of it.
        drop(body);
        answer(&mut conn);
        assert!(
            conn.recycle(head).is_none(),
            "it is small enough to be kept"
        );
        let spare = conn.release().expect("the block").block.try_into_mut();
        let spare = spare.expect("nobody else's");
        assert_eq!((spare.as_ptr(), spare.capacity()), (start, 1000));
    }

    #[test]
    fn continue_is_asked_for_once_and_sent_once() {
        let mut conn = received(EXPECT);
        let mut out = BytesMut::new();
        assert_eq!(event(&mut conn), "POST /");
        assert_eq!(event(&mut conn), "ExpectContinue");
        assert_eq!(event(&mut conn), "NeedMore");
        assert!(conn.send_continue(&mut out));
        assert!(!conn.send_continue(&mut out));
        assert_eq!(out, "HTTP/1.1 100 Continue\r\n\r\n");
        conn.receive(b"abc");
        assert_eq!(event(&mut conn), "b\"abc\"");
        assert_eq!(
            answer(&mut conn),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn continue_is_not_sent_to_those_who_have_begun() {
        let mut conn = received(&[EXPECT, b"a"].concat());
        assert_eq!(event(&mut conn), "POST /");
        assert_eq!(event(&mut conn), "b\"a\"");
        assert_eq!(event(&mut conn), "NeedMore");
        assert!(!conn.send_continue(&mut BytesMut::new()));
    }

    #[test]
    fn a_response_instead_of_continue_closes() {
        let mut conn = received(EXPECT);
        assert_eq!(event(&mut conn), "POST /");
        let head = answer(&mut conn);
        assert!(head.ends_with(b"Connection: close\r\n\r\n"));
        assert!(conn.will_close() && !conn.send_continue(&mut BytesMut::new()));
    }

    #[test]
    fn close_is_honoured_from_either_side() {
        let mut conn = received(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET");
        assert_eq!(event(&mut conn), "GET /");
        answer(&mut conn);
        assert_eq!(event(&mut conn), "Closed(Requested)");
        let mut conn = received(&[GET, GET].concat());
        assert_eq!(event(&mut conn), "GET /");
        conn.close_after();
        assert!(answer(&mut conn).ends_with(b"Connection: close\r\n\r\n"));
        assert_eq!(event(&mut conn), "Closed(Requested)");
    }

    #[test]
    fn one_empty_line_before_a_request_is_forgiven() {
        let mut conn = received(b"\r");
        assert_eq!(event(&mut conn), "NeedMore");
        assert!(!conn.is_idle());
        conn.receive(b"\n");
        assert_eq!(event(&mut conn), "NeedMore");
        assert!(conn.is_idle());
        conn.receive(GET);
        assert_eq!(event(&mut conn), "GET /");
        answer(&mut conn);
        conn.receive(b"\r\n\r\n");
        assert_eq!(event(&mut conn), "invalid request line \"\"");
    }

    #[test]
    fn a_client_that_leaves_is_told_from_one_that_is_cut() {
        for (bytes, events) in [
            (&b""[..], &["Closed(EndOfInput)"][..]),
            (b"\r\n", &["Closed(EndOfInput)"]),
            (b"GET", &["Closed(Incomplete)"]),
            (POST, &["POST /", "Closed(Incomplete)"]),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                &["POST /", "Closed(Incomplete)"],
            ),
        ] {
            let mut conn = received(bytes);
            conn.end_of_input();
            for expected in events {
                assert_eq!(event(&mut conn), *expected);
            }
            assert_eq!(event(&mut conn), *events.last().unwrap(), "for ever");
        }
    }

    #[test]
    fn after_an_error_nothing_is_taken_in() {
        let mut conn = received(b"get / HTTP/1.1\r\n");
        assert_eq!(event(&mut conn), "invalid method \"get\"");
        conn.receive(GET);
        assert_eq!((conn.buffered(), conn.will_close()), (0, true));
        assert_eq!(event(&mut conn), "Closed(Refused)");
        assert!(conn.begin(&mut BytesMut::new(), 400, b"").is_err());
    }

    #[test]
    fn a_method_can_be_made_upper_case() {
        let mut config = Config::default();
        config.leniency.casefold_method = true;
        let mut conn = Conn::server(config);
        conn.receive(b"head /a HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(event(&mut conn), "HEAD /a");
        let mut out = BytesMut::new();
        let head = conn.begin(&mut out, 200, b"").unwrap();
        head.finish(Some(5)).unwrap();
        assert_eq!(
            conn.finish(),
            Ok(&b""[..]),
            "the answer to HEAD has no body"
        );
    }

    #[test]
    fn a_bad_body_can_be_answered_but_not_survived() {
        let mut conn =
            received(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
        assert_eq!(event(&mut conn), "POST /");
        assert_eq!(event(&mut conn), "invalid chunk size \"x\"");
        assert!(answer(&mut conn).ends_with(b"Connection: close\r\n\r\n"));
        assert_eq!(event(&mut conn), "Closed(Refused)");
    }

    #[test]
    fn a_short_body_pretends_nothing() {
        let mut conn = received(GET);
        assert_eq!(event(&mut conn), "GET /");
        let mut out = BytesMut::new();
        conn.begin(&mut out, 200, b"")
            .unwrap()
            .finish(Some(5))
            .unwrap();
        assert_eq!(conn.frame(3).unwrap().take, 3);
        assert_eq!(conn.finish(), Err(EncodeError::Incomplete { missing: 2 }));
        assert!(conn.will_close());
        assert_eq!(event(&mut conn), "Closed(Aborted)");
    }

    #[test]
    fn a_long_body_is_cut_and_the_next_request_is_in_step() {
        let mut conn = received(&[GET, GET].concat());
        assert_eq!(event(&mut conn), "GET /");
        let mut out = BytesMut::new();
        conn.begin(&mut out, 200, b"")
            .unwrap()
            .finish(Some(5))
            .unwrap();
        assert_eq!(
            (conn.frame(4).unwrap().take, conn.frame(4).unwrap().take),
            (4, 1)
        );
        assert_eq!(conn.finish(), Ok(&b""[..]));
        assert_eq!(event(&mut conn), "GET /");
    }

    #[test]
    fn an_aborted_response_ends_the_connection() {
        let mut conn = received(&[GET, GET].concat());
        assert_eq!(event(&mut conn), "GET /");
        conn.abort();
        assert!(conn.will_close() && conn.frame(1).is_err());
        assert_eq!(event(&mut conn), "Closed(Aborted)");
    }

    #[test]
    fn large_memory_is_not_kept() {
        let fields = "a: b\r\n".repeat(90);
        let body = "x".repeat(64 * 1024);
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n{fields}\r\n{body}");
        let mut conn = received(request.as_bytes());
        let Ok(Event::Request(head)) = conn.next_event() else {
            panic!("no request")
        };
        while !matches!(conn.next_event(), Ok(Event::EndOfBody)) {}
        answer(&mut conn);
        let large = conn.recycle(head).expect("it is too large");
        assert!(large.is_empty() && large.capacity() > LARGE);
        let spare = conn.release().expect("the memory of the fields");
        assert!(spare.block.is_empty());
        assert!(conn.release().is_none());
    }
}
