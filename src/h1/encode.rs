//! Responses as bytes: the head ([`HeadEncoder`]) and whole error answers.
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
    /// Where in `out` the head starts.
    mark: usize,
    status: u16,
    /// The service's own `Content-Length`.
    length: Option<u64>,
    /// Whether the service asked to close the connection.
    close: bool,
    /// Whether there is a field that tells of protocols to upgrade to.
    upgrade: bool,
    /// Why a field was refused.
    failure: Option<EncodeError>,
    finished: bool,
}

impl<'c> HeadEncoder<'c> {
    /// Writes the status line (RFC 9112 §4): in HTTP/1.0 to those who asked in it, as Gunicorn does.
    pub(super) fn begin(
        state: &'c mut State,
        out: &'c mut BytesMut,
        status: u16,
        reason: &[u8],
    ) -> Result<Self, EncodeError> {
        if !state.is_due() {
            return Err(EncodeError::NotDue);
        }
        match status {
            101 => return Err(EncodeError::Upgrade),
            100..=999 => {}
            _ => return Err(EncodeError::Status(status)),
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
    /// `Transfer-Encoding`, `Upgrade` (PEP 3333, "Other HTTP Features"), except that a 426 keeps its `Upgrade`
    /// (RFC 9110 §15.5.22). `Content-Length` is written by [`finish`](Self::finish), where the response may
    /// have one.
    ///
    /// # Errors
    ///
    /// Where the name is no token, the value holds a control character, or `Content-Length` is no number or
    /// comes twice. The head cannot be finished any more then.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
        let result = self.put(name, value);
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        result
    }

    fn put(&mut self, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
        if !is_token(name) {
            return Err(EncodeError::FieldName(quote(name)));
        }
        let value = trim(value);
        if !is_text(value) {
            return Err(EncodeError::FieldValue(quote(name)));
        }
        match Meaning::of(name) {
            Meaning::Plain => put_field(self.out, name, value),
            Meaning::Dropped => {}
            Meaning::Upgrade => {
                if self.status == 426 {
                    put_field(self.out, name, value);
                    self.upgrade = true;
                }
            }
            Meaning::Connection => {
                self.close |= members(value).any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            Meaning::Length => {
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
            self.finished = self.state.takes_interim();
            self.out.extend_from_slice(b"\r\n");
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

/// What a field of a service's means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Plain,
    Dropped,
    Connection,
    Upgrade,
    Length,
}

impl Meaning {
    fn of(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
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
            _ => Self::Plain,
        }
    }
}

/// How a head ends: with what it says of the connection, and an empty line.
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

/// Writes a whole answer that refuses a request, after which the connection must close: `preamble` holds
/// encoded lines, as for [`HeadEncoder::preamble`]. The version is HTTP/1.1, since there may be no request to
/// tell another. The page itself is left out where `head_only` tells that the request was HEAD (RFC 9110
/// §9.3.2).
///
/// # Errors
///
/// Where the page has a status that is no error's, or a reason or a content type that cannot be sent. Nothing
/// is written then.
pub fn refuse(
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
mod tests {
    use super::super::{Config, Conn, Event};
    use super::*;

    /// A connection whose request is to be answered.
    fn asked(request: &str) -> Conn {
        let mut conn = Conn::server(Config::default());
        conn.receive(request.as_bytes());
        let event = conn.next_event();
        assert!(matches!(event, Ok(Event::Request(_))), "{event:?}");
        conn
    }

    fn get() -> Conn {
        asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    /// The whole response of `conn` with these fields, this length and this body, or why there is none.
    fn respond(
        conn: &mut Conn,
        status: u16,
        fields: &[(&str, &str)],
        len: Option<u64>,
        body: &[&str],
    ) -> Result<String, EncodeError> {
        let mut out = BytesMut::new();
        let mut head = conn.begin(&mut out, status, b"")?;
        for (name, value) in fields {
            head.field(name.as_bytes(), value.as_bytes())?;
        }
        head.finish(len)?;
        for block in body {
            let frame = conn.frame(block.len())?;
            out.extend_from_slice(frame.prefix.as_ref());
            out.extend_from_slice(&block.as_bytes()[..frame.take]);
            out.extend_from_slice(frame.suffix);
        }
        out.extend_from_slice(conn.finish()?);
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked() {
        let mut conn = get();
        let body = "x".repeat(26);
        assert_eq!(
            respond(&mut conn, 200, &[("A", "b")], None, &["hello", "", &body]).unwrap(),
            format!(
                "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1A\r\n{body}\r\n0\r\n\r\n"
            )
        );
        assert!(conn.is_idle() && !conn.will_close());
    }

    #[test]
    fn http_10_gets_its_version_and_the_end_of_the_connection() {
        let mut conn = asked("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(
            respond(&mut conn, 200, &[], None, &["a"]).unwrap(),
            "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\na"
        );
        assert!(conn.will_close());
    }

    #[test]
    fn http_10_is_kept_where_it_asked_and_the_length_is_known() {
        let mut conn = asked("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(
            respond(&mut conn, 200, &[], Some(1), &["a"]).unwrap(),
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na"
        );
        assert!(conn.is_idle());
    }

    #[test]
    fn responses_without_a_body_have_none_whatever_is_written() {
        let no_content = respond(&mut get(), 204, &[("Content-Length", "3")], None, &["abc"]);
        assert_eq!(no_content.unwrap(), "HTTP/1.1 204 No Content\r\n\r\n");
        let not_modified = respond(
            &mut get(),
            304,
            &[("Content-Length", "3")],
            Some(0),
            &["abc"],
        );
        assert_eq!(
            not_modified.unwrap(),
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(
            respond(&mut get(), 304, &[], Some(3), &[]).unwrap(),
            "HTTP/1.1 304 Not Modified\r\n\r\n"
        );
        for (own, known, line) in [
            (Some("3"), Some(0), "Content-Length: 3\r\n"),
            (None, Some(3), "Content-Length: 3\r\n"),
            (None, Some(0), ""),
            (None, None, ""),
        ] {
            let mut conn = asked("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
            let own: Vec<_> = own.map(|n| ("content-length", n)).into_iter().collect();
            let response = respond(&mut conn, 200, &own, known, &["abc"]);
            assert_eq!(response.unwrap(), format!("HTTP/1.1 200 OK\r\n{line}\r\n"));
            assert!(conn.is_idle());
        }
    }

    #[test]
    fn a_reset_has_an_empty_body_and_says_so() {
        for (own, known) in [(Some("3"), None), (None, Some(3)), (None, None)] {
            let mut conn = get();
            let own: Vec<_> = own.map(|n| ("content-length", n)).into_iter().collect();
            let response = respond(&mut conn, 205, &own, known, &["abc"]);
            assert_eq!(
                response.unwrap(),
                "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"
            );
            assert!(conn.is_idle());
        }
    }

    #[test]
    fn a_426_keeps_its_upgrade_and_names_it_for_the_connection() {
        let fields = [("Upgrade", "TLS/1.3"), ("upgrade", "h2c")];
        let close = [fields[0], ("Connection", "Upgrade, close")];
        let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        let lines = "Upgrade: TLS/1.3\r\nupgrade: h2c\r\nContent-Length: 0\r\n";
        for (mut conn, fields, expected) in [
            (get(), &fields, format!("1.1 426 Upgrade Required\r\n{lines}Connection: upgrade")),
            (asked(old), &fields, format!("1.0 426 Upgrade Required\r\n{lines}Connection: keep-alive, upgrade")),
            (get(), &close, "1.1 426 Upgrade Required\r\nUpgrade: TLS/1.3\r\nContent-Length: 0\r\nConnection: close, upgrade".to_owned()),
        ] {
            let response = respond(&mut conn, 426, fields, Some(0), &[]).unwrap();
            assert_eq!(response, format!("HTTP/{expected}\r\n\r\n"));
        }
        let plain = respond(&mut get(), 426, &[], Some(0), &[]).unwrap();
        assert_eq!(
            plain,
            "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_body_longer_than_announced_is_cut_and_the_next_is_in_step() {
        let fields = [("Content-Length", "3")];
        let mut conn = get();
        let response = respond(&mut conn, 200, &fields, None, &["ab", "cde", "f"]).unwrap();
        assert_eq!(response, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        // Nobody was told before, and nobody need be.
        assert!(conn.is_idle() && !conn.will_close());
    }

    #[test]
    fn a_head_tells_of_a_body_that_is_known_to_exceed_its_length() {
        let fields = [("Content-Length", "3")];
        for (status, known, closes) in [
            (200, Some(4), true),
            (200, Some(3), false),
            (200, Some(2), false),
            (200, None, false),
            (304, Some(4), false),
        ] {
            let mut conn = get();
            let mut out = BytesMut::new();
            let mut head = conn.begin(&mut out, status, b"").unwrap();
            for (name, value) in fields {
                head.field(name.as_bytes(), value.as_bytes()).unwrap();
            }
            head.finish(known).unwrap();
            let said = out.ends_with(b"\r\nConnection: close\r\n\r\n");
            assert_eq!((said, conn.will_close()), (closes, closes), "{known:?}");
        }
    }

    #[test]
    fn an_unsent_head_closes_after_a_body_that_exceeds_its_length() {
        let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        for (request, status, fields) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, &[][..]),
            (old, 200, &[]),
            (last, 200, &[]),
            (
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                426,
                &[("Upgrade", "x")],
            ),
        ] {
            let (mut conn, mut out) = (asked(request), BytesMut::new());
            let mut head = conn.begin(&mut out, status, b"").unwrap();
            for (name, value) in fields {
                head.field(name.as_bytes(), value.as_bytes()).unwrap();
            }
            head.finish(Some(1)).unwrap();
            assert_eq!(conn.frame(2).unwrap().take, 1);
            conn.exceeded(&mut out);
            let text = String::from_utf8(out.to_vec()).unwrap();
            let closes = text.matches("Connection: ").count() == 1 && text.contains(": close");
            assert!(closes && text.ends_with("\r\n\r\n"), "{text}");
            assert!(conn.will_close());
        }
        // Where the head has gone, or there is to be no body at all, nothing changes.
        let mut conn = get();
        let mut out = BytesMut::new();
        conn.begin(&mut out, 200, b"")
            .unwrap()
            .finish(Some(1))
            .unwrap();
        conn.frame(2).unwrap();
        conn.exceeded(&mut BytesMut::new());
        assert!(!conn.will_close());
        let mut conn = asked("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        out.clear();
        conn.begin(&mut out, 200, b"")
            .unwrap()
            .finish(Some(1))
            .unwrap();
        assert_eq!(conn.frame(2).unwrap().take, 0);
        conn.exceeded(&mut out);
        assert!(!conn.will_close());
    }

    #[test]
    fn connect_opens_a_tunnel_only_with_success() {
        let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
        let fields = [("Content-Length", "1")];
        assert_eq!(
            respond(&mut asked(connect), 200, &fields, None, &["ab"]).unwrap(),
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab"
        );
        assert_eq!(
            respond(&mut asked(connect), 403, &fields, None, &["a"]).unwrap(),
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\nConnection: close\r\n\r\na"
        );
    }

    #[test]
    fn fields_of_the_connection_and_of_the_server_are_left_out() {
        let fields = [
            ("Connection", "x"),
            ("Keep-Alive", "x"),
            ("proxy-authenticate", "x"),
            ("Proxy-Authorization", "x"),
            ("TE", "x"),
            ("Trailers", "x"),
            ("Transfer-Encoding", "x"),
            ("Upgrade", "x"),
            ("SERVER", "x"),
            ("Date", "x"),
            ("X-Date", "\t x "),
        ];
        assert_eq!(
            respond(&mut get(), 200, &fields, Some(0), &[]).unwrap(),
            "HTTP/1.1 200 OK\r\nX-Date: x\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_service_can_close_the_connection() {
        let mut conn = get();
        let fields = [("connection", "x, Close")];
        let response = respond(&mut conn, 200, &fields, Some(0), &[]).unwrap();
        assert!(response.ends_with("Connection: close\r\n\r\n") && conn.will_close());
    }

    #[test]
    fn a_response_cannot_be_split() {
        for (name, value) in [
            ("a", "b\r\nc: d"),
            ("a", "b\nc"),
            ("a", "\0"),
            ("a", "\u{7f}"),
            ("a\r\nb", "c"),
            ("a:", "b"),
            ("a b", "c"),
            ("", "b"),
        ] {
            let error = respond(&mut get(), 200, &[(name, value)], None, &[]).unwrap_err();
            assert!(matches!(
                error,
                EncodeError::FieldName(_) | EncodeError::FieldValue(_)
            ));
        }
        let mut out = BytesMut::new();
        let error = get().begin(&mut out, 200, b"OK\r\na: b").unwrap_err();
        assert!(matches!(error, EncodeError::Reason(_)));
    }

    #[test]
    fn a_content_length_is_one_number() {
        for bad in ["", "-1", "1, 1", "1.0", "18446744073709551616"] {
            let error =
                respond(&mut get(), 200, &[("Content-Length", bad)], None, &[]).unwrap_err();
            assert!(matches!(error, EncodeError::ContentLength(_)), "{bad}");
        }
        let twice = [("Content-Length", "1"), ("content-length", "1")];
        assert_eq!(
            respond(&mut get(), 200, &twice, None, &[]),
            Err(EncodeError::RepeatedLength)
        );
    }

    #[test]
    fn a_head_that_failed_leaves_nothing_and_another_can_follow() {
        let mut conn = get();
        let mut out = BytesMut::from("before");
        let mut head = conn.begin(&mut out, 200, b"").unwrap();
        head.field(b"a", b"b").unwrap();
        head.field(b"c", b"\n").unwrap_err();
        assert!(matches!(head.finish(None), Err(EncodeError::FieldValue(_))));
        drop(conn.begin(&mut out, 200, b""));
        assert_eq!(out, "before");
        assert!(respond(&mut conn, 500, &[], Some(0), &[]).is_ok());
    }

    #[test]
    fn status_and_reason_are_checked() {
        let mut out = BytesMut::new();
        for bad in [0, 99, 1000, 65535] {
            assert_eq!(
                get().begin(&mut out, bad, b"").unwrap_err(),
                EncodeError::Status(bad)
            );
        }
        assert_eq!(
            get().begin(&mut out, 101, b"").unwrap_err(),
            EncodeError::Upgrade
        );
        let (mut first, mut second) = (get(), get());
        first
            .begin(&mut out, 299, "Caf\u{e9}".as_bytes())
            .unwrap()
            .finish(Some(0))
            .unwrap();
        second
            .begin(&mut out, 999, b"")
            .unwrap()
            .finish(Some(0))
            .unwrap();
        let expected = "HTTP/1.1 299 Caf\u{e9}\r\nContent-Length: 0\r\n\r\nHTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn interim_responses_leave_the_response_due() {
        let mut conn = get();
        let mut out = BytesMut::new();
        for _ in 0..2 {
            let mut hints = conn.begin(&mut out, 103, b"").unwrap();
            hints.field(b"Link", b"</a>").unwrap();
            hints.finish(None).unwrap();
        }
        assert_eq!(
            out,
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(2)
        );
        assert!(conn.frame(1).is_err());
        assert!(respond(&mut conn, 200, &[], Some(0), &[]).is_ok());
        for request in [
            "GET / HTTP/1.0\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let mut conn = asked(request);
            out.clear();
            conn.begin(&mut out, 103, b"")
                .unwrap()
                .finish(None)
                .unwrap();
            assert!(out.is_empty(), "{request}");
            assert!(respond(&mut conn, 200, &[], Some(0), &[]).is_ok());
        }
    }

    #[test]
    fn a_response_can_be_neither_repeated_nor_ended_early() {
        let mut conn = get();
        assert_eq!(conn.finish(), Err(EncodeError::NotBegun));
        respond(&mut conn, 200, &[], Some(0), &[]).unwrap();
        assert_eq!(
            respond(&mut conn, 200, &[], None, &[]),
            Err(EncodeError::NotDue)
        );
        assert_eq!(conn.finish(), Err(EncodeError::NotBegun));
    }

    #[test]
    fn a_refusal_is_whole() {
        let mut out = BytesMut::new();
        let head = "HTTP/1.1 414 URI Too Long\r\nServer: oxicorn\r\n\
                    Content-Type: text/html; charset=utf-8\r\nContent-Length: 3\r\n\
                    Connection: close\r\n\r\n";
        let page = Page::html(414, "<p>");
        refuse(&mut out, b"Server: oxicorn\r\n", &page, false).unwrap();
        assert_eq!(out, format!("{head}<p>"));
        out.clear();
        refuse(&mut out, b"Server: oxicorn\r\n", &page, true).unwrap();
        assert_eq!(out, head, "HEAD gets the head");
    }

    #[test]
    fn a_refusal_cannot_be_split_or_be_a_success() {
        let mut out = BytesMut::new();
        for page in [
            Page::html(200, ""),
            Page::html(399, ""),
            Page::html(600, ""),
            Page::html(400, "").with_reason("Bad\r\nX: y"),
            Page::new(400, "text/plain\r\nX: y", ""),
            Page::new(400, "text/plain\n", ""),
        ] {
            assert!(refuse(&mut out, b"", &page, false).is_err(), "{page:?}");
            assert_eq!(out, "");
        }
        let page = Page::new(400, "application/problem+json", "{}").with_reason("No");
        refuse(&mut out, b"", &page, false).unwrap();
        let text = String::from_utf8(out.to_vec()).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 No\r\nContent-Type: application/problem+json\r\n"));
    }
}
