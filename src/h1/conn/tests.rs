//! Tests of [`Conn`].

use super::super::head_memory::LARGE;
use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
const EXPECT: &[u8] =
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";

fn received(bytes: &[u8]) -> Conn {
    let mut conn = Conn::server(ConnConfig::default());
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
    let mut conn = Conn::server(ConnConfig::default());
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
    // The block can be used again when its last part is dropped.
    drop(body);
    answer(&mut conn);
    assert!(
        conn.recycle(head).is_none(),
        "it is small enough to be kept"
    );
    let spare = conn.release().expect("the block").block;
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

// Gunicorn: E62
#[test]
fn continue_is_not_sent_once_a_body_has_begun() {
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

// Gunicorn: P1
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

// Gunicorn: P39
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

// Gunicorn: P5
#[test]
fn a_method_can_be_made_upper_case() {
    let mut config = ConnConfig::default();
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

#[test]
fn each_request_has_one_response_and_a_refusal_is_one() {
    let page = super::super::error_page(400, "no");
    let mut out = BytesMut::new();
    let mut conn = received(&[GET, b"nonsense\r\n\r\n"].concat());
    assert_eq!(conn.response(), ResponseState::Idle);
    assert_eq!(event(&mut conn), "GET /");
    assert_eq!(conn.response(), ResponseState::Due);
    conn.begin(&mut out, 200, b"")
        .unwrap()
        .finish(Some(0))
        .unwrap();
    assert_eq!(conn.response(), ResponseState::Started);
    assert_eq!(conn.refuse(&mut out, b"", &page), Err(EncodeError::NotDue));
    conn.finish().unwrap();
    assert_eq!(conn.response(), ResponseState::Complete);
    assert!(conn.next_event().is_err());
    conn.refuse(&mut out, b"", &page).unwrap();
    assert_eq!(conn.refuse(&mut out, b"", &page), Err(EncodeError::NotDue));
    assert_eq!(event(&mut conn), "Closed(Refused)");
}

#[test]
fn a_head_that_has_not_left_can_be_taken_back() {
    let page = super::super::error_page(500, "");
    let mut out = BytesMut::new();
    let mut conn = received(&[GET, GET].concat());
    assert!(!conn.retract());
    event(&mut conn);
    conn.begin(&mut out, 200, b"")
        .unwrap()
        .finish(None)
        .unwrap();
    out.clear();
    assert!(conn.retract());
    conn.refuse(&mut out, b"", &page).unwrap();
    assert!(out.starts_with(b"HTTP/1.1 500 ") && conn.will_close());
    assert!(!conn.retract());
    assert_eq!(event(&mut conn), "Closed(Refused)");
}

#[test]
fn a_connection_leaves_http_after_its_request_and_once() {
    let asked = |fields: &str, body: &str| {
        let mut conn = Conn::server(ConnConfig::default());
        conn.receive(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").as_bytes());
        let Ok(Event::Request(head)) = conn.next_event() else {
            panic!("{fields}");
        };
        (conn, head.upgrades())
    };
    for (fields, upgrades) in [
        ("Upgrade: x\r\nConnection: keep-alive, Upgrade\r\n", true),
        (
            "Connection: upgrade\r\nConnection: close\r\nUpgrade: x\r\n",
            true,
        ),
        ("Upgrade: x\r\n", false),
        ("Connection: upgrade\r\n", false),
    ] {
        assert_eq!(asked(fields, "").1, upgrades, "{fields}");
    }
    let (mut conn, _) = asked("Upgrade: x\r\nConnection: upgrade\r\n", "early");
    let mut out = BytesMut::new();
    let mut head = conn.switch_protocols(&mut out).unwrap();
    head.field(b"Upgrade", b"x").unwrap();
    head.field(b"Connection", b"close").unwrap();
    head.field(b"Content-Length", b"5").unwrap();
    head.finish(None).unwrap();
    assert_eq!(
        out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    );
    assert_eq!(conn.response(), ResponseState::Due);
    assert_eq!(conn.upgrade().unwrap(), "early");
    assert_eq!(conn.response(), ResponseState::Upgraded);
    assert_eq!(event(&mut conn), "Closed(Upgraded)");
    assert_eq!(conn.upgrade(), Err(EncodeError::NotDue));
    assert!(conn.begin(&mut out, 200, b"").is_err());
    // A body that is still to come is no other protocol.
    let (mut conn, _) = asked("Content-Length: 5\r\n", "a");
    assert_eq!(conn.upgrade(), Err(EncodeError::NotDue));
}
