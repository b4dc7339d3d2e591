//! The bodies of the fuzz targets: `fuzz/` gives them to libFuzzer, `tests/fuzz.rs` to a mutator of its own.
//!
//! Each takes any bytes. None of them may panic, and they assert what must hold.

mod oracle;
// Pure, and no part of the public interface.
#[path = "../../src/net/proxy.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the rest of it is for the reactor"
)]
mod proxy;

use std::collections::VecDeque;

use bytes::BytesMut;
use oracle::Verdict;
use oxicorn::h1::{BodyLength, Conn, ConnConfig, Event, Head, Names, ParseError, Underscores};
use proxy::{LONGEST, Parsed, ProxyProtocol, parse};

/// More than this is never buffered for a head, a chunk's line or a trailer section of these sizes.
const ROOM: usize = 64 * 1024;

/// What came of some bytes: the requests with their bodies, and what stopped them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    requests: Vec<Seen>,
    end: String,
    error: Option<ParseError>,
    /// Bytes that the last request's body left over.
    rest: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    line: String,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    length: BodyLength,
    body: Vec<u8>,
    complete: bool,
}

/// Serves what comes in these pieces, answering each request when its body is complete; only the first
/// `most` of them.
fn serve(config: &ConnConfig, pieces: &[&[u8]], most: usize) -> Outcome {
    let mut conn = Conn::server(config.clone());
    let mut pieces: VecDeque<&[u8]> = pieces.iter().copied().collect();
    let mut out = BytesMut::new();
    let mut outcome = Outcome::default();
    loop {
        match conn.next_event() {
            Ok(Event::NeedMore) => match pieces.pop_front() {
                Some(piece) => conn.receive(piece),
                None => conn.end_of_input(),
            },
            Ok(Event::Request(head)) => {
                outcome.requests.push(Seen::new(&head));
                conn.recycle(head);
            }
            Ok(Event::ExpectContinue) => assert!(conn.send_continue(&mut out)),
            Ok(Event::Data(data)) => {
                let request = outcome
                    .requests
                    .last_mut()
                    .expect("a head precedes its body");
                assert!(!request.complete && !data.is_empty());
                request.body.extend_from_slice(&data);
            }
            Ok(Event::EndOfBody) => {
                let request = outcome
                    .requests
                    .last_mut()
                    .expect("a head precedes its body");
                assert!(!std::mem::replace(&mut request.complete, true));
            }
            Ok(Event::Closed(reason)) => {
                outcome.end = reason.to_string();
                return outcome;
            }
            Err(error) => {
                assert!((400..=599).contains(&error.status()));
                assert!(matches!(conn.next_event(), Ok(Event::Closed(_))));
                outcome.end = error.to_string();
                outcome.error = Some(error);
                return outcome;
            }
        }
        let Some(last) = outcome.requests.last() else {
            continue;
        };
        if last.complete {
            if outcome.requests.len() == most {
                outcome.rest = conn.buffered() + pieces.iter().map(|p| p.len()).sum::<usize>();
                return outcome;
            }
            let Ok(head) = conn.begin(&mut out, 204, b"") else {
                continue;
            };
            head.finish(None).expect("nothing is wrong with it");
            conn.finish().expect("it has no body");
            out.clear();
        }
    }
}

impl Seen {
    fn new(head: &Head) -> Self {
        let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        Self {
            line: format!("{} {} {}", head.method(), head.target(), head.version()),
            fields: head.fields().map(owned).collect(),
            length: head.length(),
            body: Vec::new(),
            complete: head.length() == BodyLength::Empty,
        }
    }
}

/// `bytes` in two pieces.
fn cut(bytes: &[u8], at: u8) -> [&[u8]; 2] {
    let (left, right) = bytes.split_at(usize::from(at) % (bytes.len() + 1));
    [left, right]
}

/// A configuration from the bits of a byte.
fn config(bits: u8) -> ConnConfig {
    let mut config = ConnConfig::default();
    let leniency = &mut config.leniency;
    leniency.obsolete_folding = bits & 1 != 0;
    leniency.header_spaces = bits & 2 != 0;
    leniency.unconventional_method = bits & 4 != 0;
    leniency.unconventional_version = bits & 8 != 0;
    leniency.casefold_method = bits & 16 != 0;
    leniency.underscores = match bits >> 5 & 3 {
        0 => Underscores::Drop,
        1 => Underscores::Refuse,
        _ => Underscores::Dangerous,
    };
    if bits & 128 != 0 {
        leniency.forwarder_headers = Names::new("SCRIPT_NAME,PATH_INFO");
        config.limits.request_line = 64;
        config.limits.fields = 4;
        config.limits.field_size = 32;
    }
    config
}

/// Heads: alike however they are cut, and framed as the RFC's steps say.
pub(crate) fn head(data: &[u8]) {
    let [bits, at, bytes @ ..] = data else { return };
    let config = config(*bits);
    let whole = serve(&config, &[bytes], usize::MAX);
    assert_eq!(whole, serve(&config, &cut(bytes, *at), usize::MAX));
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(whole, serve(&config, &single, usize::MAX));

    let section = [b"Host: a\r\n", bytes].concat();
    let request = [b"POST / HTTP/1.1\r\n", &section[..]].concat();
    let mut loose = ConnConfig::default();
    loose.limits.fields = usize::MAX;
    loose.limits.field_size = usize::MAX;
    let found = serve(&loose, &[&request], 1);
    // The oracle knows of framing only.
    if let Some(ParseError::Expectation(_) | ParseError::Repeated("Content-Type")) = found.error {
        return;
    }
    let expected = oracle::framing(true, &section);
    let verdict = match found.requests.first().map(|request| request.length) {
        None => Verdict::Refused,
        Some(BodyLength::Empty) => Verdict::Empty,
        Some(BodyLength::Known(length)) => Verdict::Length(length),
        Some(BodyLength::Chunked) => Verdict::Chunked,
    };
    assert_eq!(verdict, expected, "{}", request.escape_ascii());
}

/// Chunked bodies: alike however they are cut, and decoded as by the oracle.
pub(crate) fn body(data: &[u8]) {
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let [bits, at, bytes @ ..] = data else { return };
    let config = config(*bits & 0b1110_0011);
    let mut small = config.clone();
    small.limits = config.limits.clone();
    small.limits.request_line = HEAD.len();
    small.limits.fields = 4;
    small.limits.field_size = 64;
    let request = [HEAD, bytes].concat();
    let whole = serve(&small, &[&request], 1);
    assert_eq!(whole, serve(&small, &cut(&request, *at), 1));
    let [left, right] = cut(bytes, *at);
    assert_eq!(whole, serve(&small, &[HEAD, left, right], 1));

    let mut loose = ConnConfig::default();
    loose.limits.fields = usize::MAX;
    loose.limits.field_size = usize::MAX;
    let found = serve(&loose, &[&request], 1);
    let seen = &found.requests[0];
    let complete = seen.complete.then_some((&seen.body[..], found.rest));
    let expected = oracle::chunked(bytes);
    let expected = expected
        .as_ref()
        .map(|(body, rest)| (&body[..], rest.len()));
    assert_eq!(complete, expected, "{}", bytes.escape_ascii());
}

/// PROXY headers: what is decided of the first bytes stays decided when more have come.
pub(crate) fn preface(data: &[u8]) {
    let [wanted, bytes @ ..] = data else { return };
    let wanted = match wanted % 4 {
        0 => ProxyProtocol::Off,
        1 => ProxyProtocol::V1,
        2 => ProxyProtocol::V2,
        _ => ProxyProtocol::Auto,
    };
    let whole = parse(bytes, wanted);
    for end in 0..bytes.len().min(512) {
        let some = parse(&bytes[..end], wanted);
        match some {
            Ok(Parsed::Undecided) => {}
            Ok(Parsed::Partial) => {
                assert_ne!(whole, Ok(Parsed::Absent), "{}", bytes.escape_ascii());
            }
            Ok(Parsed::Complete(_, length)) => assert!(length <= end && some == whole),
            Ok(Parsed::Absent) | Err(_) => assert_eq!(some, whole, "{}", bytes.escape_ascii()),
        }
    }
    match whole {
        Ok(Parsed::Undecided | Parsed::Partial) => assert!(bytes.len() < LONGEST),
        Ok(Parsed::Complete(_, length)) => assert!(length <= bytes.len().min(LONGEST)),
        Ok(Parsed::Absent) | Err(_) => {}
    }
}

/// A connection that is driven by a script: whatever its owner and its client do, the events keep to their
/// order and a closed connection stays closed.
pub(crate) fn conn(data: &[u8]) {
    const SNIPPETS: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"abc",
    ];
    let mut conn = Conn::server(ConnConfig::default());
    let mut out = BytesMut::new();
    let mut model = Model::default();
    let mut script = data.iter().copied();
    while let Some(op) = script.next() {
        let mut argument = || script.next().unwrap_or_default();
        match op % 16 {
            0..=3 => conn.receive(SNIPPETS[usize::from(argument()) % 8]),
            4 => conn.receive(&[argument()]),
            5..=8 => {
                if let Some(head) = model.event(conn.next_event()) {
                    conn.recycle(head);
                }
            }
            9 | 10 => {
                let status = [100, 103, 200, 204, 304, 500, 101, 99][usize::from(argument()) % 8];
                let length = Some(u64::from(argument() % 8)).filter(|&n| n < 6);
                if let Ok(mut head) = conn.begin(&mut out, status, b"") {
                    let field = if argument() % 8 == 0 {
                        &b"a\r\nb"[..]
                    } else {
                        b"b"
                    };
                    let split = head.field(b"A", field).is_err();
                    let finished = head.finish(length);
                    assert_eq!(split, finished.is_err(), "no field splits a response");
                }
            }
            11 => {
                if let Ok(frame) = conn.frame(usize::from(argument())) {
                    assert!(frame.take <= 255);
                }
            }
            12 => model.answered |= conn.finish().is_ok(),
            13 => {
                let before = out.len();
                assert_eq!(conn.send_continue(&mut out), out.len() > before);
            }
            14 => match argument() % 4 {
                0 => conn.abort(),
                1 => conn.close_after(),
                2 => conn.end_of_input(),
                _ => drop(conn.release()),
            },
            _ => assert!(!conn.is_idle() || conn.buffered() == 0),
        }
        assert!(conn.buffered() <= ROOM.max(data.len() * 64));
    }
}

/// What may come next.
#[derive(Debug)]
struct Model {
    within: bool,
    answered: bool,
    closed: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            within: false,
            answered: true,
            closed: false,
        }
    }
}

impl Model {
    fn event(&mut self, event: Result<Event, ParseError>) -> Option<Head> {
        assert!(
            !self.closed || matches!(event, Ok(Event::Closed(_))),
            "closed is for ever: {event:?}"
        );
        match event {
            Ok(Event::Request(head)) => {
                assert!(self.answered && !self.within, "one request at a time");
                self.answered = false;
                self.within = head.length() != BodyLength::Empty;
                return Some(head);
            }
            Ok(Event::Data(data)) => assert!(self.within && !data.is_empty()),
            Ok(Event::EndOfBody) => assert!(std::mem::take(&mut self.within)),
            Ok(Event::ExpectContinue) => assert!(self.within),
            Ok(Event::NeedMore) => {}
            Ok(Event::Closed(_)) | Err(_) => self.closed = true,
        }
        None
    }
}
