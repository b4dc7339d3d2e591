use super::*;
use crate::access::{Recorded, RequestTimes};
use crate::h1::{Head, Version};
use crate::service::{Address, ConnectionInfo, RequestInfo};
use crate::time::MonoTime;
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::time::Duration;

const TIME: &str = "[05/Mar/2026:14:07:09 +0100]";

fn head(fields: &[(&str, &[u8])]) -> Head {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), *value));
    Head::new("GET", "/a?x=1", Version::HTTP_10, fields).unwrap()
}

fn connection(peer: Address) -> ConnectionInfo {
    let local = Address::Ip("127.0.0.1:8000".parse().unwrap());
    ConnectionInfo::new(peer, 0, local)
}

fn tcp() -> ConnectionInfo {
    connection(Address::Ip("192.0.2.7:4711".parse().unwrap()))
}

fn access<'a>(connection: &'a ConnectionInfo, head: Option<&'a Head>) -> Access<'a> {
    Access {
        pid: 1,
        worker: 1,
        connection,
        request: RequestInfo::NONE,
        head,
        status: 200,
        refusal: None,
        received: 0,
        sent: 5,
        started: MonoTime::ZERO,
        finished: MonoTime::ZERO,
        times: RequestTimes::default(),
        recorded: Recorded::NONE,
    }
}

fn text(access: &Access<'_>) -> String {
    let mut out = Vec::new();
    let line = LogRecord { access, time: TIME };
    AccessFormat::default().write(&mut out, &line);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_is_gunicorns_default_line() {
    let head = head(&[
        ("User-Agent", b"curl/8.9"),
        ("referer", b"http://a/"),
        ("Authorization", b"Basic YW5uOnNlY3JldA=="),
    ]);
    assert_eq!(
        text(&access(&tcp(), Some(&head))),
        format!(
            "192.0.2.7 - ann {TIME} \"GET /a?x=1 HTTP/1.0\" 200 5 \"http://a/\" \"curl/8.9\"\n"
        )
    );
}

/// The line of a request with every kind of value, in that format.
fn line_in(format: &str) -> String {
    let head = head(&[
        ("X-Id", b"1"),
        ("x-id", b"2\" \t3"),
        ("X-Request-Id", b"r-1"),
    ]);
    let recorded = Recorded {
        response_fields: vec![(b"Content-Type".to_vec(), b"text/plain".to_vec())],
        variables: vec![(b"user.id".to_vec(), b"ann\r\n".to_vec())],
    };
    let connection = tcp();
    let mut access = access(&connection, Some(&head));
    let at = |micros| MonoTime::ZERO + Duration::from_micros(micros);
    access.started = at(1_000_000);
    access.times = RequestTimes {
        complete: Some(at(1_000_010)),
        called: Some(at(1_000_250)),
        begun: Some(at(1_500_000)),
    };
    access.finished = at(3_000_500);
    access.recorded = &recorded;
    let mut out = Vec::new();
    let line = LogRecord {
        access: &access,
        time: TIME,
    };
    format
        .parse::<AccessFormat>()
        .unwrap()
        .write(&mut out, &line);
    String::from_utf8(out).unwrap()
}

#[test]
fn each_atom_has_its_value() {
    for (format, wanted) in [
        ("%(h)s|%(l)s|%(t)s|%(s)s", format!("192.0.2.7|-|{TIME}|200")),
        ("%(m)s %(U)s?%(q)s %(H)s", "GET /a?x=1 HTTP/1.0".to_owned()),
        (
            "%(b)s %(B)d %(T)s %(M)s %(D)s",
            "5 5 2 2000 2000500".to_owned(),
        ),
        ("%(L)s %(p)s", "2.000500 <1>".to_owned()),
        ("%({X-ID}i)s", "2\\\" \\x093".to_owned()),
        (
            "%({content-type}o)s %({Server}o)s",
            "text/plain -".to_owned(),
        ),
        ("%({USER.ID}e)s %({other}e)s", "ann\\x0d\\x0a -".to_owned()),
        (
            "%(request_id)s %(first_byte)s %(queue)s",
            "r-1 0.500000 0.000240".to_owned(),
        ),
        ("100%% %(nothing)s", "100% -".to_owned()),
        (
            "%(s)5s|%(s)-5s|%(s)05d|%(m).2s|%(s)s",
            "  200|200  |00200|GE|200".to_owned(),
        ),
        ("", String::new()),
    ] {
        assert_eq!(line_in(format), format!("{wanted}\n"), "{format}");
    }
}

#[test]
fn a_format_that_is_wrong_is_an_error_that_names_the_place() {
    for (format, place) in [
        ("%(h", 1),
        ("a %h", 3),
        ("%(h)", 1),
        ("%(h)x", 1),
        ("%", 1),
        ("%(a)99999s", 1),
    ] {
        let error = format.parse::<AccessFormat>().unwrap_err();
        let wanted = format!("at character {place}");
        assert!(
            error.is_config() && error.to_string().contains(&wanted),
            "{error}"
        );
    }
}

#[test]
fn a_path_is_decoded_and_still_cannot_end_the_line() {
    let connection = tcp();
    for (target, path) in [
        ("/a%20b%0Ac%", r"/a b\x0ac%"),
        ("/%e2%82%ac%2", r"/\xe2\x82\xac%2"),
        ("/%22", r#"/\""#),
    ] {
        let head = Head::new("GET", target, Version::HTTP_10, []).unwrap();
        let access = access(&connection, Some(&head));
        let mut out = Vec::new();
        let line = LogRecord {
            access: &access,
            time: TIME,
        };
        let format: AccessFormat = "%(U)s".parse().unwrap();
        format.write(&mut out, &line);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{path}\n"));
    }
}

#[test]
fn requests_that_are_filtered_have_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let filter = AccessFilter::default().path("/health").path("/static/*");
    let filter = filter.status("304").unwrap();
    let format: AccessFormat = "%(U)s %(s)s".parse().unwrap();
    let mut log = AccessLog::file(&path)
        .unwrap()
        .format(format)
        .filter(filter);
    let connection = tcp();
    for (target, status) in [
        ("/health?x", 200),
        ("/health", 503),
        ("/healthy", 200),
        ("/static/a", 200),
        ("/", 304),
    ] {
        let head = Head::new("GET", target, Version::HTTP_10, []).unwrap();
        let mut access = access(&connection, Some(&head));
        access.status = status;
        log.record(&access);
    }
    log.flush();
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        "/health 503\n/healthy 200\n"
    );
}

#[test]
fn a_line_of_json_is_an_object_with_what_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = AccessLog::file(&path).unwrap().json().utc(true);
    let head = head(&[
        ("User-Agent", b"a\"b\xff"),
        ("Authorization", b"Basic YW5uOng="),
    ]);
    let connection = tcp();
    let unix = self::connection(Address::Unix(None));
    log.record(&access(&connection, Some(&head)));
    log.record(&access(&unix, None));
    log.flush();
    let lines = fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = &lines[0];
    for (key, wanted) in [
        ("client", "192.0.2.7"),
        ("user", "ann"),
        ("method", "GET"),
        ("target", "/a?x=1"),
        ("protocol", "HTTP/1.0"),
        ("user_agent", "a\"b\u{ff}"),
    ] {
        assert_eq!(first[key], wanted);
    }
    assert!(first["time"].as_str().unwrap().ends_with("+00:00"));
    assert_eq!(
        (&first["status"], &first["bytes_sent"]),
        (&200.into(), &5.into())
    );
    assert_eq!(first["duration"], 0.0);
    for key in ["client", "method", "referer", "queue"] {
        assert!(lines[1].get(key).is_none(), "{key}");
    }
}

#[test]
fn what_is_not_known_is_a_dash() {
    let unix = connection(Address::Unix(None));
    let mut refused = access(&unix, None);
    refused.status = 0;
    refused.sent = 0;
    assert_eq!(
        text(&refused),
        format!("- - - {TIME} \"-\" - 0 \"-\" \"-\"\n")
    );
}

// Gunicorn: L2
#[test]
fn a_client_cannot_end_a_field_or_a_line() {
    let head = head(&[
        ("User-Agent", b"a\" 200 \\"),
        ("Referer", b"\x80\tx"),
        // "a b\nc:"
        ("Authorization", b"basic YSBiCmM6"),
    ]);
    assert_eq!(
        text(&access(&tcp(), Some(&head))),
        format!(
            "192.0.2.7 - a\\x20b\\x0ac {TIME} \"GET /a?x=1 HTTP/1.0\" 200 5 \"\\x80\\x09x\" \"a\\\" 200 \\\\\"\n"
        )
    );
}

#[test]
fn an_ipv6_peer_has_no_brackets() {
    let peer = connection(Address::Ip("[2001:db8::1]:9".parse().unwrap()));
    assert!(text(&access(&peer, None)).starts_with("2001:db8::1 - - "));
}

#[test]
fn lines_are_appended_when_flushed_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    fs::write(&path, "before\n").unwrap();
    let connection = tcp();
    let mut log = AccessLog::open(&path).unwrap();
    log.record(&access(&connection, None));
    log.record(&access(&connection, None));
    assert_eq!(fs::read_to_string(&path).unwrap(), "before\n");
    log.flush();
    log.flush();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    log.record(&access(&connection, None));
    drop(log);
    let lines = fs::read_to_string(&path).unwrap();
    assert_eq!(lines.lines().count(), 4);
    assert!(lines.starts_with("before\n192.0.2.7 - - ["), "{lines}");
}

#[test]
fn more_lines_than_the_buffer_holds_are_written_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let connection = tcp();
    let mut log = AccessLog::file(&path).unwrap();
    while fs::metadata(&path).unwrap().len() == 0 {
        assert!(log.lines.len() < BUFFER);
        log.record(&access(&connection, None));
    }
    assert!(log.lines.is_empty());
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let error = AccessLog::open("/no/such/folder/access.log").unwrap_err();
    assert!(error.is_config());
    let text = error.to_string();
    assert!(text.contains("/no/such/folder/access.log"), "{text}");
}

#[test]
fn a_write_holds_whole_lines() {
    assert_eq!(whole_lines(b"a\nb\n", usize::MAX), 4);
    assert_eq!(whole_lines(b"aa\nbb\ncc\n", 7), 6);
    assert_eq!(whole_lines(b"aaaaaaaa\nb\n", 4), 9);
}

#[test]
fn what_is_no_file_gets_every_line() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut log = AccessLog::file(path).unwrap();
    drop(writer);
    assert_eq!(log.most, ATOMIC);
    let connection = tcp();
    for _ in 0..100 {
        log.record(&access(&connection, None));
    }
    assert!(log.lines.len() > ATOMIC);
    drop(log);
    let mut lines = String::new();
    std::fs::File::from(reader)
        .read_to_string(&mut lines)
        .unwrap();
    assert_eq!(lines.lines().count(), 100);
}

#[test]
fn a_log_that_fails_loses_lines_and_nothing_else() {
    let mut log = AccessLog::file("/dev/full").unwrap();
    let connection = tcp();
    log.record(&access(&connection, None));
    log.flush();
    assert!(log.failing);
    assert!(log.lines.is_empty());
}
