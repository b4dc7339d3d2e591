//! Answers of the reactor's own, with pages of somebody else's.

use oxicorn::h1::Page;
use oxicorn::net::ProxyProtocol;
use oxicorn::reactor::{Config, ErrorPage};
use oxicorn::{Error, Request, Responder};

use crate::desk::Desk;
use crate::{config, mirror, serve};

/// Pages that show all that a callback is told.
fn telling() -> ErrorPage {
    ErrorPage::new(|refusal| {
        let target = refusal.head.map_or("?", |head| head.target());
        let peer = refusal
            .connection
            .is_some_and(|connection| connection.peer.ip().is_some());
        let text = format!("{} {target} {peer} {}\n", refusal.status, refusal.text);
        Page::text(refusal.status, text)
    })
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

// Gunicorn: P35
#[test]
fn every_error_response_gets_the_page_of_the_callback() {
    let strict = config(|config| {
        config.error_page = telling();
        config.settings.limit_request_line = 100;
        config.settings.limit_request_field_size = 100;
        config.settings.limit_request_body = 4;
        config.settings.body_buffer = 0;
        config.settings.spool_total = 4;
        config.settings.proxy_protocol = ProxyProtocol::Auto;
        config.settings.proxy_allow_ips = "10.0.0.0/8".parse().unwrap();
    });
    let serving = serve(strict, |_: Request<'_>, _: Responder<'_>| {
        Err(Error::new("a secret"))
    });
    let long = "x".repeat(200);
    // One that has all the room there is for bodies in files, and has been read when another one is answered.
    let mut greedy = serving.connect();
    greedy.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n123");
    let missing = serving.ask("GET / HTTP/1.0\r\n\r\n");
    assert!(missing.starts_with("HTTP/1.1 500 "), "{missing}");
    for (request, line) in [
        ("GET\r\n\r\n".to_owned(), "400 ? true "),
        ("PROXY UNKNOWN\r\n".to_owned(), "403 ? true "),
        (
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".to_owned(),
            "413 /a true ",
        ),
        (
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n".to_owned(),
            "503 /a true ",
        ),
        (format!("GET /{long} HTTP/1.1\r\n"), "414 ? true "),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n".to_owned(),
            "417 ? true ",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n"),
            "431 ? true ",
        ),
        (
            "GET /b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "500 /b true \n",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x, chunked\r\n\r\n".to_owned(),
            "501 ? true ",
        ),
    ] {
        let mut stream = serving.connect();
        stream.send(request);
        let answer = stream.read_all();
        let status = &line[..3];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        for field in [
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Connection: close\r\n",
            "Server: oxicorn\r\n",
        ] {
            assert!(answer.contains(field), "{answer}");
        }
        assert!(body(&answer).starts_with(line), "{answer}");
    }
}

#[test]
fn a_late_head_gets_the_page_of_the_callback() {
    let telling = config(|config| config.error_page = telling());
    let mut desk = Desk::open(telling, |_, request, reply| mirror(request, reply));
    let mut client = desk.sending("GET / HT");
    desk.turn();
    desk.pass(3600);
    let answer = client.read_all();
    assert!(body(&answer).starts_with("408 ? true "), "{answer}");
}

#[test]
fn a_page_that_cannot_be_sent_is_replaced_by_the_built_in_one() {
    type Make = fn(u16) -> Page;
    let pages: [Make; 5] = [
        |status| Page::new(status, "text/plain\r\nSet-Cookie: a=b", "mine"),
        |status| Page::text(status, "mine").with_reason("No\r\nSet-Cookie: a=b"),
        |_| Page::text(200, "mine"),
        |_| Page::text(999, "mine"),
        |_| panic!("on purpose"),
    ];
    for make in pages {
        let serving = serve(
            config(|config| config.error_page = ErrorPage::new(move |r| make(r.status))),
            mirror,
        );
        let answer = serving.ask("GET\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n")
                && answer.contains("<title>Bad Request</title>")
                && !answer.contains("Set-Cookie")
                && !answer.contains("mine"),
            "{answer}"
        );
        let (status, _, _) = serving.finish()[0];
        assert_eq!(status, 400);
    }
}

#[test]
fn an_error_page_may_set_status_and_reason_and_is_logged_so() {
    let teapot = config(|config| {
        config.error_page = ErrorPage::new(|_| {
            Page::new(418, "application/problem+json", "{}").with_reason("I'm a teapot")
        });
    });
    let serving = serve(teapot, mirror);
    let answer = serving.ask("GET\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 418 I'm a teapot\r\n")
            && answer.contains("Content-Type: application/problem+json\r\nContent-Length: 2\r\n")
            && answer.ends_with("\r\n\r\n{}"),
        "{answer}"
    );
    assert_eq!(serving.finish(), [(418, 2, false)]);
}

#[test]
fn head_gets_no_page() {
    let serving = serve(Config::default(), |_: Request<'_>, _: Responder<'_>| {
        Err(Error::new("fails"))
    });
    let answer = serving.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 500 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("Content-Length: 0\r\n"), "{answer}");
    assert_eq!(serving.finish(), [(500, 0, true)]);
}

#[test]
fn a_server_line_that_could_be_split_is_refused_at_the_start() {
    let config = config(|config| config.settings.server_header = "a\r\nX-Split: b".to_owned());
    let none = oxicorn::net::Listeners::from(Vec::new());
    let error = oxicorn::reactor::Reactor::new(&none, config).unwrap_err();
    assert!(error.is_config(), "{error}");
}
