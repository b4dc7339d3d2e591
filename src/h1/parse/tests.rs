//! Tests of reading heads.

use super::super::config::Names;
use super::super::types::BodyLength;
use super::*;

/// The head at the start of `bytes`, which must come out alike byte by byte.
fn parse_within(config: &ConnConfig, bytes: &[u8]) -> Result<Option<Head>, ParseError> {
    let whole = Scan::default().head(&mut bytes.into(), &mut Vec::new(), config);
    let (mut scan, mut some) = (Scan::default(), BytesMut::new());
    let mut cut = Ok(None);
    for &byte in bytes {
        some.extend_from_slice(&[byte]);
        cut = scan.head(&mut some, &mut Vec::new(), config);
        if !matches!(cut, Ok(None)) {
            break;
        }
    }
    assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
    whole
}

fn parse(text: &str) -> Result<Head, ParseError> {
    parse_within(&ConnConfig::default(), text.as_bytes()).map(|head| head.expect("complete"))
}

fn fields(lines: &str) -> Result<Head, ParseError> {
    parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"))
}

// Gunicorn: P2
#[test]
fn a_line_that_ends_in_lf_alone_is_400() {
    for bad in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a \t\n\r\n",
        "GET / HTTP/1.1\r\nHost:\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\n\n",
    ] {
        assert_eq!(parse(bad).unwrap_err(), ParseError::BareLineFeed, "{bad:?}");
    }
}

// Gunicorn: P2, P11, P12, P13, P14
#[test]
fn malformed_fields_are_told_apart() {
    let name = |lines| matches!(fields(lines), Err(ParseError::FieldName(_)));
    assert!(name("a b: c") && name("a : b") && name(": b") && name("ab") && name("\u{e9}: a"));
    let value = |lines| matches!(fields(lines), Err(ParseError::FieldValue(_)));
    assert!(value("a: \0") && value("a: b\rc") && value("a: \u{7}") && value("a: \u{7f}"));
    assert_eq!(fields("a: b\r\n c").unwrap_err(), ParseError::Folded);
    assert_eq!(fields("a: b\r\n\tc: d").unwrap_err(), ParseError::Folded);
}

// Gunicorn: P13
#[test]
fn values_are_trimmed_and_may_be_empty_or_beyond_ascii() {
    let head = fields("a:\t b c \t\r\nd:\r\ne: \t\r\nf: \u{e9}").unwrap();
    let values: Vec<_> = head.fields().skip(1).map(|(_, value)| value).collect();
    assert_eq!(values, [&b"b c"[..], b"", b"", "\u{e9}".as_bytes()]);
}

// Gunicorn: E33, P16
#[test]
fn names_with_an_underscore_are_dropped_and_counted() {
    let head = fields("X_A: b\r\nContent_Length: 5\r\nX-B: c").unwrap();
    assert_eq!(head.fields().len(), 2);
    assert_eq!(head.length(), BodyLength::Empty);
    let mut config = ConnConfig::default();
    config.limits.fields = 3;
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\na_b: c\r\na_b: c\r\na_b: c\r\n\r\n";
    let error = parse_within(&config, bytes).unwrap_err();
    assert_eq!(
        (error.status(), error),
        (431, ParseError::TooManyFields { limit: 3 })
    );
}

/// A head whose fields are these, within a leniency.
fn tolerated(lines: &str, tolerate: impl FnOnce(&mut Leniency)) -> Result<Head, ParseError> {
    let mut config = ConnConfig::default();
    tolerate(&mut config.leniency);
    let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    parse_within(&config, text.as_bytes()).map(|head| head.expect("complete"))
}

#[test]
fn an_underscore_is_dropped_refused_or_taken() {
    let lines = "X_A: b\r\nContent_Length: 5";
    let dropped = fields(lines).unwrap();
    assert_eq!((dropped.fields().len(), dropped.dropped()), (1, 2));
    let refused = tolerated(lines, |t| t.underscores = Underscores::Refuse);
    assert!(matches!(refused, Err(ParseError::Underscore(_))));
    let taken = tolerated(lines, |t| t.underscores = Underscores::Dangerous).unwrap();
    assert_eq!((taken.fields().len(), taken.dropped()), (3, 0));
    assert_eq!(taken.length(), BodyLength::Empty, "no length");
}

#[test]
fn a_forwarders_underscore_is_taken_all_the_same() {
    for policy in [Underscores::Drop, Underscores::Refuse] {
        let head = tolerated("script_name: /a", |t| {
            t.underscores = policy;
            t.forwarder_headers = Names::new("SCRIPT_NAME,PATH_INFO");
        });
        assert_eq!(head.unwrap().get("SCRIPT_NAME"), Some(&b"/a"[..]));
    }
}

// Gunicorn: P14
#[test]
fn folded_fields_can_be_taken_as_one() {
    let fold = |t: &mut Leniency| t.obsolete_folding = true;
    let head = tolerated("A: b\r\n \tc\r\n\td\r\nE: f", fold).unwrap();
    assert_eq!(head.get("a"), Some(&b"b c d"[..]));
    assert_eq!(head.get("e"), Some(&b"f"[..]));
    let hidden = tolerated("A: b\r\n Content-Length: 5", fold).unwrap();
    assert_eq!(hidden.length(), BodyLength::Empty);
    let length = tolerated("Content-Length:\r\n 5", fold).unwrap();
    assert_eq!(length.length(), BodyLength::Known(5));
    for bad in ["A: b\r\n c\rd", "A: b\r\n \0", "A\r\n : b"] {
        assert_eq!(tolerated(bad, fold).unwrap_err().status(), 400, "{bad:?}");
    }
    let first = b"GET / HTTP/1.0\r\n a: b\r\n\r\n";
    let mut config = ConnConfig::default();
    fold(&mut config.leniency);
    assert_eq!(
        parse_within(&config, first).unwrap_err(),
        ParseError::Folded
    );
}

// Gunicorn: P14
#[test]
fn a_field_is_measured_with_its_folds() {
    let fold = |t: &mut Leniency| t.obsolete_folding = true;
    let folded = |n: usize| tolerated(&format!("a: b\r\n {}", "c".repeat(n - 9)), fold);
    assert!(folded(8190).is_ok());
    assert_eq!(folded(8191).unwrap_err().status(), 431);
    let many = format!("a: b{}", "\r\n c".repeat(3000));
    assert_eq!(tolerated(&many, fold).unwrap_err().status(), 431);
    let few = format!("a: b{}", "\r\n c".repeat(1000));
    assert!(tolerated(&few, fold).is_ok(), "one field");
}

// Gunicorn: P11
#[test]
fn blanks_before_a_colon_can_be_dropped() {
    let strip = |t: &mut Leniency| t.header_spaces = true;
    let head = tolerated("Content-Length \t: 5", strip).unwrap();
    assert_eq!(head.length(), BodyLength::Known(5));
    for bad in ["a b: c", " a: b", " : b", "a: b\r\n c : d"] {
        assert!(tolerated(bad, strip).is_err(), "{bad:?}");
    }
    let repeated = tolerated("host : b", strip).unwrap_err();
    assert_eq!(repeated, ParseError::Repeated("Host"));
}

// Gunicorn: P18
#[test]
fn the_targets_host_replaces_the_fields() {
    let host = |target: &str, host: &str| {
        let text = format!("GET {target} HTTP/1.1\r\nA: b\r\nHost: {host}\r\n\r\n");
        parse(&text).map(|head| String::from_utf8_lossy(head.get("host").unwrap()).into_owned())
    };
    for (target, field, expected) in [
        ("http://b:80/x", "a", "b:80"),
        ("http://u:p@[::1]:8/", "a", "[::1]:8"),
        ("http://b", "", "b"),
        ("/http://b/", "a", "a"),
    ] {
        assert_eq!(host(target, field).unwrap(), expected, "{target}");
    }
    let error = host("http://b/", "a/c").unwrap_err();
    assert!(matches!(error, ParseError::Host(_)), "invalid all the same");
    let error = parse("GET http://b/ HTTP/1.1\r\n\r\n").unwrap_err();
    assert_eq!(error, ParseError::NoHost);
}

// Gunicorn: P17, P18
#[test]
fn host_is_there_once_and_well_formed() {
    assert_eq!(
        parse("GET / HTTP/1.1\r\n\r\n").unwrap_err(),
        ParseError::NoHost
    );
    assert!(parse("GET / HTTP/1.0\r\n\r\n").is_ok());
    assert!(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n").is_ok());
    assert_eq!(fields("host: a").unwrap_err(), ParseError::Repeated("Host"));
    for bad in ["a b", "a/b", "a@b", "a, b", "[::1"] {
        let error = parse(&format!("GET / HTTP/1.0\r\nHost: {bad}\r\n\r\n")).unwrap_err();
        assert!(matches!(error, ParseError::Host(_)), "{bad}: {error}");
    }
}

// Gunicorn: P17
#[test]
fn fields_that_may_come_once_are_refused_twice() {
    for name in ["Content-Type", "Content-Length"] {
        let error = fields(&format!("{name}: 1\r\n{name}: 1")).unwrap_err();
        assert_eq!(error, ParseError::Repeated(name));
    }
}

// Gunicorn: P40, E72
#[test]
fn connection_is_a_list_over_several_fields() {
    for (version, lines, kept) in [
        ("1.1", "", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.1", "Connection: keep-alive, CLOSE\r\n", false),
        ("1.0", "Connection: close, keep-alive\r\n", false),
        ("1.1", "Connection: , ,close,\r\n", false),
        ("1.1", "Connection: x\r\nConnection: y ,\tclose\r\n", false),
        (
            "1.0",
            "Connection: close\r\nConnection: keep-alive\r\n",
            false,
        ),
        ("1.1", "Connection: closed\r\n", true),
    ] {
        let head = parse(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n")).unwrap();
        assert_eq!(head.keep_alive(), kept, "{version} {lines:?}");
    }
    assert!(
        !parse("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
            .unwrap()
            .keep_alive()
    );
    assert!(
        !fields("Transfer-Encoding: gzip, chunked")
            .unwrap()
            .keep_alive()
    );
}

// Gunicorn: E62, E63, P19, P34
#[test]
fn expectations_other_than_100_continue_are_417() {
    let head = fields("Expect: 100-Continue\r\nContent-Length: 1").unwrap();
    assert!(head.expects_continue());
    assert!(
        !fields("Expect: 100-continue").unwrap().expects_continue(),
        "no body"
    );
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert!(!parse(old).unwrap().expects_continue());
    for bad in ["Expect: 200-ok", "Expect: 100-continue, x", "Expect:"] {
        assert_eq!(fields(bad).unwrap_err().status(), 417, "{bad}");
    }
}

// Gunicorn: P3, P15, P32, P33
#[test]
fn limits_are_exact() {
    let line = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(n - 14));
    assert!(parse(&line(4094)).is_ok());
    assert_eq!(parse(&line(4095)).unwrap_err().status(), 414);
    let field = |n: usize| fields(&format!("a: {}", "b".repeat(n - 5)));
    assert!(field(8190).is_ok());
    assert_eq!(
        field(8191).unwrap_err(),
        ParseError::FieldTooLong { limit: 8190 }
    );
    let blanks = fields(&format!("a: b{}", " ".repeat(8190)));
    assert_eq!(blanks.unwrap_err().status(), 431);
    let many = |n: usize| fields(&vec!["a: b"; n - 1].join("\r\n"));
    assert_eq!(many(100).unwrap().fields().len(), 100);
    assert_eq!(
        many(101).unwrap_err(),
        ParseError::TooManyFields { limit: 100 }
    );
}

// Gunicorn: P3, P15
#[test]
fn what_has_no_end_is_refused_when_it_is_too_long() {
    let limits = ConnConfig::default();
    let endless = vec![b'a'; 4095];
    assert_eq!(parse_within(&limits, &endless).unwrap_err().status(), 414);
    let endless = [&b"GET / HTTP/1.1\r\n"[..], &vec![b'a'; 8189]].concat();
    assert_eq!(parse_within(&limits, &endless).unwrap_err().status(), 431);
}
