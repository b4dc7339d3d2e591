//! `h1` held against a second reader of heads on heads of what smuggling is made of, however they are cut.
//!
//! Both must agree on where a body ends, and what follows it must be the next request.

use bytes::BytesMut;
use oxicorn::h1::{BodyLength, CloseReason, Conn, ConnConfig, Event};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[path = "fuzzing/oracle.rs"]
#[expect(dead_code, reason = "the chunked coding is for the fuzzing of bodies")]
mod oracle;

use oracle::{Verdict, framing};

/// What `h1` makes of it: its verdict, and whether what follows the body is the next request.
fn h1(pieces: &[&[u8]]) -> (Verdict, bool) {
    let mut conn = Conn::server(ConnConfig::default());
    let mut pieces = pieces.iter();
    let mut out = BytesMut::new();
    let mut verdict = None;
    loop {
        let mut complete = false;
        match conn.next_event() {
            Ok(Event::NeedMore) => match pieces.next() {
                Some(piece) => conn.receive(piece),
                None => conn.end_of_input(),
            },
            Ok(Event::Request(head)) => match verdict {
                None => {
                    verdict = Some(match head.length() {
                        BodyLength::Empty => Verdict::Empty,
                        BodyLength::Known(length) => Verdict::Length(length),
                        BodyLength::Chunked => Verdict::Chunked,
                    });
                    complete = head.length() == BodyLength::Empty;
                }
                Some(verdict) => return (verdict, head.target() == "/next"),
            },
            Ok(Event::EndOfBody) => complete = true,
            Ok(Event::Data(_) | Event::ExpectContinue) => {}
            Ok(Event::Closed(reason)) => {
                let verdict = verdict.expect("the head was complete");
                return (verdict, reason == CloseReason::Requested);
            }
            Err(error) => {
                assert!(matches!(error.status(), 400 | 501), "{error}");
                return (Verdict::Refused, verdict.is_none());
            }
        }
        if complete {
            let head = conn.begin(&mut out, 204, b"").expect("it is due");
            head.finish(None).expect("nothing is wrong with it");
            conn.finish().expect("it has no body");
        }
    }
}

/// A line of a head: mostly well formed, and of what smuggling is made of.
fn any_line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => select(vec!["Content-Length", "content-length", "Transfer-Encoding", "TRANSFER-ENCODING"]),
        3 => select(vec!["X-A", "Connection-", "Content_Length", "Transfer_Encoding", "TE", "Host"]),
        1 => select(vec![
            "Transfer-Encoding ", " Transfer-Encoding", "Transfer-Encoding\t", "Content-Length\u{b}",
            "Content Length", "", "Content-Length\0", "\u{ff}", "(", "X\rTransfer-Encoding",
        ]),
    ];
    let value = prop_oneof![
        4 => select(vec!["chunked", "Chunked", "identity, chunked", "gzip,chunked", "5", "0", "007"]),
        3 => select(vec![
            "chunked, chunked", "chunked, identity", "chunked, x", "x, chunked", "identity", "gzip",
            "xchunked", "chunked;a=b", ", chunked", "chunked,", "", "\"chunked\"", "chunked chunked",
            "5, 5", "5,", "+5", "-1", "0x5", "5 5", "5_0", "5.0", "99999999999999999999", "cow",
        ]),
        1 => select(vec![
            "\u{b}chunked", "chunked\u{b}", "\0chunked", "chu\rnked", "chunked\r", "\u{7f}5", "5\0", "\u{a0}5",
        ]),
    ];
    let blank = || select(vec!["", " ", "\t", " \t "]);
    let end = prop_oneof![
        30 => Just("\r\n"),
        1 => select(vec!["\n", "\r\r\n", "\r\n ", "\r\n\t", "\r", " \n"]),
    ];
    (name, blank(), value, blank(), end)
        .prop_map(|(name, before, value, after, end)| format!("{name}:{before}{value}{after}{end}"))
}

/// `bytes`, cut at these places.
fn pieces<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut points: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    points.extend([0, bytes.len()]);
    points.sort_unstable();
    let ranges = points.windows(2);
    ranges.map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Characters as the octets that they stand for.
fn latin_1(text: &str) -> Vec<u8> {
    let octet = |c| u8::try_from(c).expect("the text is latin-1");
    text.chars().map(octet).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096, failure_persistence: None, ..ProptestConfig::default()
    })]

    // Gunicorn: P21
    #[test]
    fn the_framing_is_what_the_rfcs_steps_say(
        lines in vec(any_line(), 0..4),
        place in any::<Index>(),
        http_11 in prop::bool::weighted(0.85),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let mut lines = lines;
        lines.insert(place.index(lines.len() + 1), "Host: a\r\n".to_owned());
        let section = latin_1(&format!("{}\r\n", lines.concat()));
        let expected = framing(http_11, &section);
        let version = if http_11 { "HTTP/1.1" } else { "HTTP/1.0" };
        let mut bytes = format!("POST / {version}\r\n").into_bytes();
        bytes.extend_from_slice(&section);
        match expected {
            Verdict::Length(length) => {
                prop_assume!(length < 1000);
                bytes.resize(bytes.len() + usize::try_from(length).unwrap(), b'x');
            }
            Verdict::Chunked => bytes.extend_from_slice(b"3;a=b\r\nabc\r\n0\r\n\r\n"),
            Verdict::Empty | Verdict::Refused => {}
        }
        bytes.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = bytes.escape_ascii().to_string();
        for pieces in [vec![&bytes[..]], pieces(&bytes, &cuts)] {
            let (found, in_step) = h1(&pieces);
            prop_assert_eq!(found, expected, "{}", &text);
            prop_assert!(in_step, "out of step after {}", &text);
        }
    }
}

#[test]
fn the_oracle_knows_the_well_known_attacks() {
    let verdict = |lines: &str| framing(true, format!("Host: a\r\n{lines}\r\n\r\n").as_bytes());
    assert_eq!(verdict("A: b"), Verdict::Empty);
    assert_eq!(verdict("Content-Length: 5"), Verdict::Length(5));
    assert_eq!(verdict("Transfer-Encoding: chunked"), Verdict::Chunked);
    for attack in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length : 5",
        "A: b\r\n Content-Length: 5",
        "A: b\nContent-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: xchunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(verdict(attack), Verdict::Refused, "{attack:?}");
    }
    let old = b"Transfer-Encoding: chunked\r\n\r\n";
    assert_eq!(framing(false, old), Verdict::Refused);
}
