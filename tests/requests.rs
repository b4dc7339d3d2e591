//! Gunicorn's request cases against `h1`: whole, cut at every point, and byte by byte.

use std::iter;

use oxicorn::h1::{BodyLength, CloseReason, Conn, ConnConfig, Event, ParseError};

#[path = "requests/corpus.rs"]
mod corpus;

use corpus::{Case, Request, cases, latin1};

/// Cases that are not met, each with its reason.
const UNMET: [(&str, &str); 2] = [
    (
        "invalid/019",
        "whose X-Forwarded-* is believed is not the protocol's business (RFC 9110 §3.7)",
    ),
    (
        "valid/099",
        "its body is cut, and RFC 9112 §8 has it taken for incomplete",
    ),
];

/// The bytes with a `Host` in each HTTP/1.1 head that lacks one, where there is such a head.
///
/// Gunicorn takes HTTP/1.1 without `Host`; RFC 9112 §3.2 has it refused.
fn with_hosts(bytes: &[u8], lines: impl Iterator<Item = Vec<u8>>) -> Option<Vec<u8>> {
    let mut changed = bytes.to_vec();
    for line in lines {
        // A method may be told in another case than it was sent in.
        let start = find(&changed.to_ascii_lowercase(), &line.to_ascii_lowercase())? + line.len();
        let end = find(&changed[start - 2..], b"\r\n\r\n").map_or(changed.len(), |n| start + n);
        if find(&changed[start - 2..end].to_ascii_lowercase(), b"\r\nhost:").is_none() {
            changed.splice(start..start, *b"Host: a\r\n");
        }
    }
    (changed != bytes).then_some(changed)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A request as it came out.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    head: [String; 3],
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

impl PartialEq<Request> for Seen {
    /// In Gunicorn's terms: names in upper case, text in latin-1.
    fn eq(&self, other: &Request) -> bool {
        let fields = self.fields.iter();
        self.head.each_ref() == [&other.method, &other.target, &other.version]
            && self.body == other.body
            && fields.len() == other.headers.len()
            && fields.zip(&other.headers).all(|((name, value), header)| {
                latin1(name).to_ascii_uppercase() == header.0 && latin1(value) == header.1
            })
    }
}

/// What came of some input.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    requests: Vec<Seen>,
    end: Result<CloseReason, ParseError>,
}

impl Outcome {
    /// These requests, whole, and nothing wrong after them.
    fn yields(&self, requests: &[Request]) -> bool {
        let ends = [Ok(CloseReason::EndOfInput), Ok(CloseReason::Requested)];
        self.requests == requests && ends.contains(&self.end)
    }
}

/// Serves what arrives in these pieces, answering each request when it is complete.
fn serve<'p>(config: &ConnConfig, mut pieces: impl Iterator<Item = &'p [u8]>) -> Outcome {
    let mut conn = Conn::server(config.clone());
    let mut out = bytes::BytesMut::new();
    let mut requests: Vec<Seen> = Vec::new();
    let end = loop {
        let mut complete = false;
        match conn.next_event() {
            Ok(Event::NeedMore) => match pieces.next() {
                Some(piece) => conn.receive(piece),
                None => conn.end_of_input(),
            },
            Ok(Event::Request(head)) => {
                let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
                let version = head.version().to_string();
                requests.push(Seen {
                    head: [head.method().into(), head.target().into(), version],
                    fields: head.fields().map(owned).collect(),
                    body: Vec::new(),
                });
                complete = head.length() == BodyLength::Empty;
                conn.recycle(head);
            }
            Ok(Event::ExpectContinue) => assert!(conn.send_continue(&mut out)),
            Ok(Event::Data(data)) => {
                let request = requests.last_mut().unwrap();
                request.body.extend_from_slice(&data);
            }
            Ok(Event::EndOfBody) => complete = true,
            Ok(Event::Closed(reason)) => break Ok(reason),
            Err(error) => {
                assert!(matches!(
                    conn.next_event(),
                    Ok(Event::Closed(CloseReason::Refused))
                ));
                break Err(error);
            }
        }
        if complete {
            conn.begin(&mut out, 204, b"")
                .unwrap()
                .finish(None)
                .unwrap();
            assert_eq!(conn.finish().unwrap(), b"");
        }
    };
    Outcome { requests, end }
}

/// Serves it cut in every way: nothing of the outcome may depend on that.
fn serve_in_all_ways(name: &str, config: &ConnConfig, bytes: &[u8]) -> Outcome {
    let whole = serve(config, iter::once(bytes));
    for point in 1..bytes.len() {
        let (left, right) = bytes.split_at(point);
        let cut = serve(config, [left, right].into_iter());
        assert!(cut == whole, "{name}, cut at {point}: {cut:?}");
    }
    let cut = serve(config, bytes.chunks(1));
    assert!(cut == whole, "{name}, byte by byte: {cut:?}");
    whole
}

impl Case {
    fn is_met(&self) -> bool {
        UNMET.iter().all(|(name, _)| *name != self.name)
    }

    /// What is served and what must come of it, after a `Host` was put in where there was none; and whether
    /// that was so.
    fn with_hosts(&self) -> (Vec<u8>, Vec<Request>, bool) {
        let (bytes, mut requests) = (self.bytes(), self.requests.clone());
        let line =
            |r: &Request| format!("{} {} {}\r\n", r.method, r.target, r.version).into_bytes();
        let new = requests.iter().filter(|r| r.version == "HTTP/1.1");
        let Some(changed) = with_hosts(&bytes, new.map(line)) else {
            return (bytes, requests, false);
        };
        for request in requests.iter_mut().filter(|r| r.version == "HTTP/1.1") {
            if request.headers.iter().all(|(name, _)| name != "HOST") {
                request.headers.insert(0, ("HOST".into(), "a".into()));
            }
        }
        (changed, requests, true)
    }
}

#[test]
fn valid_cases_yield_their_requests() {
    for case in cases("valid").iter().filter(|case| case.is_met()) {
        let (name, config) = (&case.name, case.config());
        let (bytes, requests, changed) = case.with_hosts();
        let outcome = serve_in_all_ways(name, &config, &bytes);
        assert!(outcome.yields(&requests), "{name}: {outcome:?}");
        if changed {
            let refused = serve_in_all_ways(name, &config, &case.bytes());
            assert_eq!(refused.end, Err(ParseError::NoHost), "{name}");
        }
    }
}

#[test]
fn invalid_cases_are_refused_with_a_host_too() {
    for case in cases("invalid").iter().filter(|case| case.is_met()) {
        let bytes = case.bytes();
        let line = find(&bytes, b" HTTP/1.1\r\n").map(|end| bytes[..end + 11].to_vec());
        let changed = with_hosts(&bytes, line.into_iter());
        for bytes in iter::once(bytes).chain(changed) {
            match serve_in_all_ways(&case.name, &case.config(), &bytes).end {
                Err(error) => assert!((400..=599).contains(&error.status())),
                Ok(reason) => assert_eq!(reason, CloseReason::Incomplete, "{}", case.name),
            }
        }
    }
}

#[test]
fn a_case_that_is_listed_as_unmet_is_not_met() {
    let (valid, invalid) = (cases("valid"), cases("invalid"));
    assert!(UNMET.len() <= 5);
    for (name, reason) in UNMET {
        let met = if let Some(case) = valid.iter().find(|case| case.name == name) {
            let (bytes, requests, _) = case.with_hosts();
            serve(&case.config(), iter::once(&bytes[..])).yields(&requests)
        } else {
            let case = invalid.iter().find(|case| case.name == name).unwrap();
            let bytes = case.bytes();
            let line = find(&bytes, b" HTTP/1.1\r\n").map(|end| bytes[..end + 11].to_vec());
            let bytes = with_hosts(&bytes, line.into_iter()).unwrap_or(bytes);
            serve(&case.config(), iter::once(&bytes[..])).end.is_err()
        };
        assert!(!met, "{name} is met although {reason}");
    }
}

// Gunicorn: P9
#[test]
fn later_minor_versions_are_served() {
    let outcome = serve(
        &ConnConfig::default(),
        iter::once(&b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"[..]),
    );
    assert_eq!(outcome.requests[0].head[2], "HTTP/1.2");
}
