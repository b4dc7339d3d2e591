//! Requests: one after the other, in pieces, malformed, of every form.

use std::time::Duration;

use oxicorn::reactor::Config;

use crate::{config, mirror, serve};

#[test]
fn a_request_is_answered_and_recorded() {
    let serving = serve(Config::default(), mirror);
    let answer = serving.ask("GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\nServer: oxicorn\r\nDate: "),
        "{answer}"
    );
    assert!(
        answer.contains("Connection: close\r\n") && answer.ends_with("\r\n\r\nGET /a "),
        "{answer}"
    );
    assert_eq!(serving.finish(), [(200, 7, true)]);
}

// Gunicorn: P42
#[test]
fn pipelined_requests_are_answered_in_order() {
    let serving = serve(Config::default(), mirror);
    let numbers: Vec<String> = (0..50).map(|n| format!("{n:02}")).collect();
    let mut requests = String::new();
    for n in &numbers {
        requests.push_str("POST /in-order HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n");
        requests.push_str(n);
    }
    let answer = serving.ask(requests);
    let mut rest = &answer[..];
    for n in &numbers {
        let body = format!("POST /in-order {n}");
        let at = rest
            .find(&body)
            .unwrap_or_else(|| panic!("{body} is missing"));
        rest = &rest[at + body.len()..];
    }
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 50);
}

#[test]
fn a_connection_serves_request_after_request() {
    let serving = serve(Config::default(), mirror);
    let mut stream = serving.connect();
    for n in 0..20 {
        stream.send(format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = stream.read_until(&format!("GET /{n} "));
        assert!(
            answer.starts_with("HTTP/1.1 200") && !answer.contains("Connection"),
            "{answer}"
        );
    }
}

#[test]
fn a_head_in_single_bytes_is_a_head() {
    let serving = serve(Config::default(), mirror);
    let mut stream = serving.connect();
    for byte in b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" {
        stream.send([*byte]);
    }
    assert!(stream.read_until("GET /slow ").starts_with("HTTP/1.1 200"));
}

#[test]
fn half_a_request_delays_no_other() {
    let serving = serve(Config::default(), mirror);
    let _silent = serving.connect();
    let mut half = serving.connect();
    half.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
    assert!(
        serving
            .ask("GET /other HTTP/1.0\r\n\r\n")
            .ends_with("GET /other ")
    );
    half.send(b"67890");
    assert!(half.read_until("1234567890").starts_with("HTTP/1.1 200"));
}

// Gunicorn: E62
#[test]
fn expect_continue_is_answered_when_the_body_is_wanted() {
    let serving = serve(Config::default(), mirror);
    let mut stream = serving.connect();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.send(head);
    assert_eq!(
        stream.read_until("\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.send(b"ok");
    assert!(stream.read_until("POST / ok").starts_with("HTTP/1.1 200"));
}

// Gunicorn: P30, P31, P44
#[test]
fn a_malformed_request_is_refused_recorded_and_closed() {
    let serving = serve(Config::default(), mirror);
    let answer =
        serving.ask("GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    let log = serving.finish();
    assert_eq!((log.len(), log[0].0, log[0].2), (1, 400, false));
}

// Gunicorn: E66, E67
#[test]
fn connect_and_asterisk_reach_the_service_connect_ends_it() {
    let serving = serve(Config::default(), mirror);
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let options = serving.ask(format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n{next}"));
    assert!(
        options.contains("OPTIONS * ") && options.contains("GET /next "),
        "{options}"
    );
    let connect = serving.ask(format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n{next}"));
    assert!(connect.ends_with("CONNECT  "), "{connect}");
}

#[test]
fn another_protocol_on_the_port_is_refused_at_its_first_byte() {
    let serving = serve(
        config(|config| config.settings.head_timeout = Duration::from_secs(60)),
        mirror,
    );
    // TLS, RDP, SMB, and the empty line that is forgiven before TLS: without a line's end, and whatever follows.
    for hello in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\x16",
        b"\x03\x00\x00\x13\x0e\xe0",
        b"\x00\x00\x00\x54\xffSMBr",
        b"\r\n\x16\x03\x01",
    ] {
        let mut stream = serving.connect();
        stream.send(hello);
        let answer = stream.read_all();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{hello:?}: {answer}");
    }
}
