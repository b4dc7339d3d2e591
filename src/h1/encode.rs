//! Responses as bytes: the head ([`HeadEncoder`]) and whole error responses.
//!
//! No field reaches the wire unchecked, and no byte of a body passes through here (`frame`).
//!
//! *Invariants*: what framing says (`Connection`, `Transfer-Encoding`, one `Content-Length`) is written here
//! alone; a head that was not finished leaves neither a byte nor a change of state behind.

use std::fmt;

use bytes::BytesMut;

use super::error::{EncodeError, quote};
use super::state::{Framing, State};
use super::status::{Page, reason_phrase};
use super::syntax::{decimal, is_text, is_token, members, trim};

/// The interim answer to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes a response's head. Made by [`Conn::begin`](super::Conn::begin).
///
/// Dropped before [`finish`](Self::finish) has succeeded it takes back what it wrote, and the response is
/// due as before: so another can be sent instead.
#[must_use = "a head is complete only when it is finished"]
pub struct HeadEncoder<'c> {
    state: &'c mut State,
    out: &'c mut BytesMut,
    /// The position in `out` at which the head starts.
    mark: usize,
    status: u16,
    /// The service's own `Content-Length`.
    length: Option<u64>,
    /// True if the service asked to close the connection.
    close: bool,
    /// True if there is a field that tells of protocols to upgrade to.
    upgrade: bool,
    /// The reason that a field was refused.
    failure: Option<EncodeError>,
    finished: bool,
}

impl<'c> HeadEncoder<'c> {
    /// Writes the status line (RFC 9112 §4): in HTTP/1.0 where the request was, as Gunicorn does.
    pub(super) fn begin(
        state: &'c mut State,
        out: &'c mut BytesMut,
        status: u16,
        reason: &[u8],
    ) -> Result<Self, EncodeError> {
        match status {
            101 => Err(EncodeError::Upgrade),
            100..=999 => Self::put_first(state, out, status, reason),
            _ => Err(EncodeError::Status(status)),
        }
    }

    /// Writes the status line of a 101 (RFC 9110 §15.2.2).
    pub(super) fn switch(state: &'c mut State, out: &'c mut BytesMut) -> Result<Self, EncodeError> {
        Self::put_first(state, out, 101, b"")
    }

    fn put_first(
        state: &'c mut State,
        out: &'c mut BytesMut,
        status: u16,
        reason: &[u8],
    ) -> Result<Self, EncodeError> {
        if !state.is_due() {
            return Err(EncodeError::NotDue);
        }
        if !is_text(reason) {
            return Err(EncodeError::Reason(quote(reason)));
        }
        let mark = out.len();
        put_status_line(out, state.is_http10(), status, reason);
        Ok(Self {
            state,
            out,
            mark,
            status,
            length: None,
            close: false,
            upgrade: false,
            failure: None,
            finished: false,
        })
    }

    /// Puts in lines that are encoded already, each with its CRLF: the server's own `Server` and `Date`.
    /// They are not looked at.
    pub fn preamble(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// Puts in a field of the service's, without the blanks around its value.
    ///
    /// Left out are those of the server and of the connection: `Server`, `Date`, `Connection` (its option
    /// `close` is honoured), `Keep-Alive`, `Proxy-Authenticate`, `Proxy-Authorization`, `TE`, `Trailers`,
    /// `Transfer-Encoding`, `Upgrade` (PEP 3333, "Other HTTP Features"), except that a 101 and a 426 keep their
    /// `Upgrade` (RFC 9110 §7.8, §15.5.22). `Content-Length` is written by [`finish`](Self::finish), where the response may
    /// have one.
    ///
    /// # Errors
    ///
    /// Fails if the name is no token, if the value holds a control character, or if `Content-Length` is no number or
    /// comes twice. The head cannot be finished any more then.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
        let result = self.put(name, value);
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        result
    }

    fn put(&mut self, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
        let Some(role) = FieldRole::of(name) else {
            return Err(EncodeError::FieldName(quote(name)));
        };
        let value = trim(value);
        if !is_text(value) {
            return Err(EncodeError::FieldValue(quote(name)));
        }
        match role {
            FieldRole::Plain => put_field(self.out, name, value),
            FieldRole::Dropped => {}
            FieldRole::Upgrade => {
                if matches!(self.status, 101 | 426) {
                    put_field(self.out, name, value);
                    self.upgrade = true;
                }
            }
            FieldRole::Connection => {
                self.close |= members(value).any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            FieldRole::Length => {
                let length =
                    decimal(value).ok_or_else(|| EncodeError::ContentLength(quote(value)))?;
                if self.length.replace(length).is_some() {
                    return Err(EncodeError::RepeatedLength);
                }
            }
        }
        Ok(())
    }

    /// Writes the lines that frame the response, and ends the head.
    ///
    /// `len` is the body's length where the caller knows it; a `Content-Length` among the fields has
    /// precedence. Without either the body is chunked, or ends with the connection for HTTP/1.0.
    ///
    /// An interim response (1xx) has no body, and the response remains due. To HTTP/1.0 it is not sent (RFC 9110
    /// §15.2), nor to HEAD: a client that takes it for the answer to that is at the end of it, and out of step.
    ///
    /// # Errors
    ///
    /// That of the last field that was refused.
    pub fn finish(mut self, len: Option<u64>) -> Result<(), EncodeError> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if self.status < 200 {
            self.finished = self.status == 101 || self.state.takes_interim();
            let end: &[u8] = match self.status {
                101 => b"Connection: upgrade\r\n\r\n",
                _ => b"\r\n",
            };
            self.out.extend_from_slice(end);
            return Ok(());
        }
        let plan = self.state.plan(self.status, self.length, len, self.close);
        if let Some(length) = plan.length {
            put_field(
                self.out,
                b"Content-Length",
                itoa::Buffer::new().format(length).as_bytes(),
            );
        }
        if plan.framing == Framing::Chunked {
            self.out
                .extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        let end = Ending {
            close: plan.close,
            is_http10: self.state.is_http10(),
            upgrade: self.upgrade,
        };
        self.out.extend_from_slice(end.bytes());
        self.state.responded(plan);
        self.finished = true;
        Ok(())
    }
}

impl Drop for HeadEncoder<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.mark);
        }
    }
}

impl fmt::Debug for HeadEncoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadEncoder")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The meaning of a service's field for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldRole {
    Plain,
    Dropped,
    Connection,
    Upgrade,
    Length,
}

impl FieldRole {
    /// That of a name; `None` for what is no token.
    fn of(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        Some(match name.len() {
            // Nearly each response has these two, as they are written here.
            12 if name == b"Content-Type" => Self::Plain,
            14 if name == b"Content-Length" => Self::Length,
            10 if is("connection") => Self::Connection,
            14 if is("content-length") => Self::Length,
            2 if is("te") => Self::Dropped,
            4 if is("date") => Self::Dropped,
            6 if is("server") => Self::Dropped,
            7 if is("upgrade") => Self::Upgrade,
            8 if is("trailers") => Self::Dropped,
            10 if is("keep-alive") => Self::Dropped,
            17 if is("transfer-encoding") => Self::Dropped,
            18 if is("proxy-authenticate") => Self::Dropped,
            19 if is("proxy-authorization") => Self::Dropped,
            _ if is_token(name) => Self::Plain,
            _ => return None,
        })
    }
}

/// The end of a head: the fields that concern the connection, and an empty line.
#[derive(Clone, Copy)]
struct Ending {
    close: bool,
    is_http10: bool,
    /// `Upgrade` is about this connection alone, and must be named as such (RFC 9110 §7.8).
    upgrade: bool,
}

impl Ending {
    fn bytes(self) -> &'static [u8] {
        match (self.close, self.is_http10, self.upgrade) {
            (true, _, false) => b"Connection: close\r\n\r\n",
            (true, _, true) => b"Connection: close, upgrade\r\n\r\n",
            (false, true, false) => b"Connection: keep-alive\r\n\r\n",
            (false, true, true) => b"Connection: keep-alive, upgrade\r\n\r\n",
            (false, false, true) => b"Connection: upgrade\r\n\r\n",
            (false, false, false) => b"\r\n",
        }
    }
}

/// Has a head that is finished, and was not sent, say that the connection closes. Tells whether there is one.
pub(super) fn say_close(head: &mut BytesMut, is_http10: bool) -> bool {
    for upgrade in [true, false] {
        let end = |close| Ending {
            close,
            is_http10,
            upgrade,
        };
        let (kept, closed) = (end(false).bytes(), end(true).bytes());
        if head.ends_with(closed) {
            return true;
        }
        if head.ends_with(kept) {
            head.truncate(head.len() - kept.len());
            head.extend_from_slice(closed);
            return true;
        }
    }
    false
}

fn put_status_line(out: &mut BytesMut, is_http10: bool, status: u16, reason: &[u8]) {
    let mut start = *b"HTTP/1.1 200 ";
    if is_http10 {
        start[7] = b'0';
    }
    for (digit, power) in start[9..12].iter_mut().zip([100, 10, 1]) {
        *digit = b'0' + (status / power % 10) as u8;
    }
    let reason = if reason.is_empty() {
        reason_phrase(status).as_bytes()
    } else {
        reason
    };
    out.reserve(256);
    out.extend_from_slice(&start);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn put_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole response of the server's own, after which the connection must close. The version is HTTP/1.1,
/// since there may be no request to tell another.
///
/// # Errors
///
/// Fails if the page has a status that is no error's, or a reason or a content type that cannot be sent. Nothing is
/// written then.
pub(super) fn put_page(
    out: &mut BytesMut,
    preamble: &[u8],
    page: &Page,
    head_only: bool,
) -> Result<(), EncodeError> {
    let (reason, content_type) = (page.reason.as_bytes(), page.content_type.as_bytes());
    if !(400..600).contains(&page.status) {
        return Err(EncodeError::Status(page.status));
    }
    if !is_text(reason) {
        return Err(EncodeError::Reason(quote(reason)));
    }
    if !is_text(content_type) {
        return Err(EncodeError::FieldValue(quote(b"Content-Type")));
    }
    put_status_line(out, false, page.status, reason);
    out.extend_from_slice(preamble);
    put_field(out, b"Content-Type", trim(content_type));
    put_field(
        out,
        b"Content-Length",
        itoa::Buffer::new().format(page.body.len()).as_bytes(),
    );
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    if !head_only {
        out.extend_from_slice(&page.body);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
