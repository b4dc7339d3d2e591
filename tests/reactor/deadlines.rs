//! What takes too long.

use std::time::Duration;

use crate::{config, mirror, serve};

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    let serving = serve(
        config(|config| config.keepalive = Duration::from_millis(50)),
        mirror,
    );
    let mut stream = serving.connect();
    stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(stream.read_all().ends_with("GET / "));
}

// Gunicorn: P41
#[test]
fn without_keepalive_every_response_closes() {
    let serving = serve(config(|config| config.keepalive = Duration::ZERO), mirror);
    let mut stream = serving.connect();
    stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(stream.read_all().contains("Connection: close\r\n"));
}

#[test]
fn a_silent_connection_is_closed_and_half_a_head_gets_408() {
    let serving = serve(
        config(|config| config.head_timeout = Duration::from_secs(1)),
        mirror,
    );
    assert_eq!(serving.connect().read_all(), "");
    let mut half = serving.connect();
    half.send(b"GET / HT");
    assert!(
        half.read_all()
            .starts_with("HTTP/1.1 408 Request Timeout\r\n")
    );
    assert_eq!(
        serving.finish(),
        [(408, 0, false)].map(|(status, _, head)| (status, page_len(408), head))
    );
}

/// The size of the page that the reactor sends with a status by itself.
fn page_len(status: u16) -> u64 {
    oxicorn::h1::error_page(status, "The request's head did not arrive in time")
        .body()
        .len() as u64
}

#[test]
fn a_second_head_that_stops_half_way_gets_408_too() {
    let serving = serve(
        config(|config| config.head_timeout = Duration::from_millis(50)),
        mirror,
    );
    let mut stream = serving.connect();
    stream.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HT");
    let answers = stream.read_all();
    assert!(
        answers.contains("GET /1 ") && answers.contains("HTTP/1.1 408"),
        "{answers}"
    );
}

#[test]
fn a_body_that_pauses_too_long_gets_408() {
    let serving = serve(
        config(|config| config.body_timeout = Duration::from_millis(50)),
        mirror,
    );
    let mut stream = serving.connect();
    stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12");
    assert!(stream.read_all().starts_with("HTTP/1.1 408"));
}

#[test]
fn a_body_that_drips_gets_408() {
    let serving = serve(
        config(|config| {
            config.body_rate = 1_000_000_000;
            config.body_grace = Duration::from_millis(50);
        }),
        mirror,
    );
    let mut stream = serving.connect();
    stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12");
    assert!(stream.read_all().starts_with("HTTP/1.1 408"));
}
