//! Bodies that a service reads while they arrive.

use std::io::{Read, Write};

use oxicorn::reactor::Config;
use oxicorn::{Request, Responder};

use crate::{config, mirror, serve};

fn streaming(change: impl FnOnce(&mut Config)) -> Config {
    config(|config| {
        config.settings.stream_request_body = true;
        change(config);
    })
}

const SIZED: &str = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n";
const CHUNKED: &str = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_streamed_body_is_read_while_it_arrives() {
    let serving = serve(streaming(|_| ()), |request, reply| {
        let mut body = request.into_body();
        let mut writer = reply.stream(200, &[])?;
        let mut block = [0; 4];
        loop {
            match body.read(&mut block)? {
                0 => return writer.finish(),
                n => writer.write_all(&block[..n])?,
            }
        }
    });
    let mut stream = serving.connect();
    stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nping");
    stream.read_until("4\r\nping\r\n");
    stream.send(b"pong");
    stream.read_until("4\r\npong\r\n0\r\n\r\n");
    stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nping");
    stream.read_until("ping\r\n");
    stream.end_output();
    let rest = stream.read_all();
    assert!(
        !rest.contains("0\r\n\r\n"),
        "a cut body must not look complete: {rest}"
    );
}

// Gunicorn: P43
#[test]
fn an_unread_streamed_body_is_discarded_or_ends_the_connection() {
    let serving = serve(streaming(|_| ()), |_: Request<'_>, reply: Responder<'_>| {
        reply.text(200, "unread")
    });
    let mut stream = serving.connect();
    stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    stream.read_until("unread");
    stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.read_until("unread");
    stream.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    stream.read_until("unread");
    let _ = stream.try_send(vec![0; 1_000_000]);
    assert_eq!(stream.rest(), b"");
}

#[test]
fn a_streamed_body_keeps_to_the_bounds_of_one_that_is_collected() {
    type Change = fn(&mut Config);
    let cases: [(Change, String, u16); 4] = [
        (
            |config| config.settings.limit_request_body = 4,
            SIZED.to_owned(),
            413,
        ),
        (
            |config| config.settings.limit_request_body = 4,
            format!("{CHUNKED}3\r\nabc\r\n3\r\n"),
            413,
        ),
        (|_| (), format!("{CHUNKED}3\r\nabc\r\nx\r\n"), 400),
        (|_| (), format!("{CHUNKED}3\r\nabcdef"), 400),
    ];
    for (change, request, status) in cases {
        let serving = serve(streaming(change), mirror);
        let mut stream = serving.connect();
        stream.send(&request);
        if status == 413 {
            stream.send(b"def\r\n0\r\n\r\n");
        }
        let answer = stream.read_all();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        let statuses: Vec<_> = serving.finish().iter().map(|record| record.0).collect();
        assert_eq!(statuses, [status]);
    }
}

// Gunicorn: E68, E69, E70
#[test]
fn a_cut_streamed_body_is_a_lasting_error_not_of_the_service() {
    let serving = serve(streaming(|_| ()), |request, reply| {
        let mut body = request.into_body();
        let mut bytes = Vec::new();
        let first = body.read_to_end(&mut bytes).unwrap_err();
        let second = body.read(&mut [0]).unwrap_err();
        assert_eq!(first.to_string(), second.to_string());
        let error = oxicorn::Error::from(first);
        assert!(error.is_body(), "{error}");
        match &bytes[..] {
            b"ok" => reply.text(200, "forgiven"),
            _ => Err(error),
        }
    });
    for (body, status) in [("1234", "400"), ("ok", "200")] {
        let mut stream = serving.connect();
        stream.send(format!("{SIZED}{body}"));
        stream.end_output();
        let answer = stream.read_all();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
}

#[test]
fn a_streamed_body_may_be_read_again_at_its_end() {
    let serving = serve(streaming(|_| ()), |request, reply| {
        let mut body = request.into_body();
        let mut text = Vec::new();
        for _ in 0..3 {
            body.read_to_end(&mut text)?;
        }
        reply.text(200, text)
    });
    let answer = serving.ask(format!("{SIZED}12345678{CHUNKED}2\r\nab\r\n0\r\n\r\n"));
    assert!(answer.contains("\r\n\r\n12345678HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nab"), "{answer}");
}

// Gunicorn: P43
#[test]
fn an_answer_that_leaves_much_of_a_body_unread_says_close() {
    let serving = serve(streaming(|_| ()), |_: Request<'_>, reply: Responder<'_>| {
        reply.text(200, "unread")
    });
    for (head, said) in [
        ("Content-Length: 65537", true),
        ("Transfer-Encoding: chunked", true),
        ("Content-Length: 65536", false),
    ] {
        let mut stream = serving.connect();
        stream.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n"));
        let answer = stream.read_until("unread");
        let close = answer.contains("Connection: close\r\n");
        assert_eq!(close, said, "{head}: {answer}");
        if said {
            assert_eq!(stream.read_all(), "");
        } else {
            stream.send(vec![b'x'; 65536]);
            stream.send(NEXT);
            stream.read_until("unread");
        }
    }
}

// Gunicorn: P43, W23, E70
#[test]
fn what_follows_an_answer_gets_no_second_one() {
    let serving = serve(streaming(|_| ()), |_: Request<'_>, reply: Responder<'_>| {
        reply.text(200, "unread")
    });
    let answer = serving.ask(format!("{CHUNKED}nonsense\r\n{NEXT}"));
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}
