//! A second reader of heads, written from the steps of RFC 9112 and sharing nothing with `h1`, held against it.
//!
//! It knows what matters to framing only: where a head ends, whether it may be served, and where the body
//! ends. Whoever disagrees with it on that can be made to disagree with a proxy: request smuggling.

use bytes::BytesMut;
use oxicorn::h1::{BodyLength, CloseReason, Config, Conn, Event};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Where a body ends, or why its request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Empty,
    Length(u64),
    Chunked,
    /// With 400, or with 501 for a coding that is not known. Where more than one thing is wrong either will
    /// do, so the oracle does not tell them apart.
    Refused,
}

/// The framing of a request of this version with these raw lines after its request line.
fn oracle(http_11: bool, section: &[u8]) -> Verdict {
    let Some(fields) = fields_of(section) else {
        return Verdict::Refused;
    };
    let values = |name: &str| -> Vec<String> {
        let same = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.clone()).collect()
    };
    // RFC 9112 §3.2: one Host, and in HTTP/1.1 no fewer.
    let hosts = values("host").len();
    if hosts > 1 || (http_11 && hosts == 0) {
        return Verdict::Refused;
    }
    let lengths = values("content-length");
    let codings: Vec<String> = values("transfer-encoding")
        .iter()
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim_matches([' ', '\t']).to_ascii_lowercase())
        .collect();
    if !codings.is_empty() {
        return coded(http_11, &lengths, &codings);
    }
    // §6.3, step 5: invalid is an error; equal repetitions may be refused, and are.
    match &lengths[..] {
        // Step 7.
        [] => Verdict::Empty,
        [length] if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            match length.parse() {
                Ok(0) => Verdict::Empty,
                // Step 6.
                Ok(length) => Verdict::Length(length),
                // §6.2: beware of overflows.
                Err(_) => Verdict::Refused,
            }
        }
        _ => Verdict::Refused,
    }
}

/// The framing where there is a `Transfer-Encoding`.
fn coded(http_11: bool, lengths: &[String], codings: &[String]) -> Verdict {
    // §6.1: what is not understood is refused.
    let known = ["chunked", "identity", "gzip", "deflate", "compress"];
    let understood = codings.iter().all(|coding| known.contains(&&coding[..]));
    // §6.3, step 4: `chunked` last; §7.1: and once.
    let position = codings.iter().position(|coding| coding == "chunked");
    let framed = position == Some(codings.len() - 1);
    // §6.1: in HTTP/1.0 the framing is faulty; §6.3, step 3: with a length it is an attack.
    if understood && framed && http_11 && lengths.is_empty() {
        Verdict::Chunked
    } else {
        Verdict::Refused
    }
}

/// The fields of a section that ends in an empty line, if RFC 9112 §2.2 and §5 have them taken.
fn fields_of(section: &[u8]) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    for line in section.split_inclusive(|&b| b == b'\n') {
        // §2.2: a line ends in CRLF, and CR is nowhere else.
        let line = line.strip_suffix(b"\r\n")?;
        if line.is_empty() {
            return Some(fields);
        }
        let text: String = line.iter().copied().map(char::from).collect();
        // §5.2: no folds. §5.1: no blank before the colon.
        let (name, value) = text.split_once(':')?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return None;
        }
        // RFC 9110 §5.5: neither CR, LF nor NUL, nor other controls.
        let is_content = |c: char| c == '\t' || (c >= ' ' && c != '\u{7f}');
        if !value.chars().all(is_content) {
            return None;
        }
        // Not the RFC's but a gateway's rule: an underscore makes it another field, which is dropped.
        if !name.contains('_') {
            let value = value.trim_matches([' ', '\t']);
            fields.push((name.to_owned(), value.to_owned()));
        }
    }
    None
}

/// What `h1` makes of it: its verdict, and whether what follows the body is the next request.
fn h1(pieces: &[&[u8]]) -> (Verdict, bool) {
    let mut conn = Conn::server(Config::default());
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
        let expected = oracle(http_11, &section);
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
    let verdict = |lines: &str| oracle(true, format!("Host: a\r\n{lines}\r\n\r\n").as_bytes());
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
    assert_eq!(oracle(false, old), Verdict::Refused);
}
