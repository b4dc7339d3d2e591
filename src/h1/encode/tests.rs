//! Tests of encoding responses.

use super::super::{Conn, ConnConfig, Event};
use super::*;

/// A connection whose request is to be answered.
fn asked(request: &str) -> Conn {
    let mut conn = Conn::server(ConnConfig::default());
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

// Gunicorn: E48
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

// Gunicorn: E45
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

// Gunicorn: E51
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

// Gunicorn: E51
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

// Gunicorn: E65
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
    // The connection was not announced as closing, and need not close.
    assert!(conn.is_idle() && !conn.will_close());
}

// Gunicorn: E50
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

// Gunicorn: E50
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

// Gunicorn: E43
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

// Gunicorn: E44
#[test]
fn a_service_can_close_the_connection() {
    let mut conn = get();
    let fields = [("connection", "x, Close")];
    let response = respond(&mut conn, 200, &fields, Some(0), &[]).unwrap();
    assert!(response.ends_with("Connection: close\r\n\r\n") && conn.will_close());
}

// Gunicorn: E41
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

// Gunicorn: E42
#[test]
fn a_content_length_is_one_number() {
    for bad in ["", "-1", "1, 1", "1.0", "18446744073709551616"] {
        let error = respond(&mut get(), 200, &[("Content-Length", bad)], None, &[]).unwrap_err();
        assert!(matches!(error, EncodeError::ContentLength(_)), "{bad}");
    }
    let twice = [("Content-Length", "1"), ("content-length", "1")];
    assert_eq!(
        respond(&mut get(), 200, &twice, None, &[]),
        Err(EncodeError::RepeatedLength)
    );
}

// Gunicorn: P38
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

// Gunicorn: E40
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
    put_page(&mut out, b"Server: oxicorn\r\n", &page, false).unwrap();
    assert_eq!(out, format!("{head}<p>"));
    out.clear();
    put_page(&mut out, b"Server: oxicorn\r\n", &page, true).unwrap();
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
        assert!(put_page(&mut out, b"", &page, false).is_err(), "{page:?}");
        assert_eq!(out, "");
    }
    let page = Page::new(400, "application/problem+json", "{}").with_reason("No");
    put_page(&mut out, b"", &page, false).unwrap();
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 No\r\nContent-Type: application/problem+json\r\n"));
}
